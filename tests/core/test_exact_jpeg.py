"""JPEG by simplejpeg: Pillow's pixels or Pillow itself, and Pillow's errors."""

import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from RobustART.core.imaging import decode, decode_picture, exact
from RobustART.errors import DataError

SAMPLES = sorted(exact.SAMPLES.glob("*.jpg"))


@pytest.fixture(autouse=True)
def fresh():
    exact._equals_pillow.cache_clear()
    yield
    exact._equals_pillow.cache_clear()


@pytest.fixture
def simplejpeg():
    return pytest.importorskip("simplejpeg")


def by_pillow(data):
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def test_the_samples_are_of_each_kind_and_small():
    assert [path.stem for path in SAMPLES] == [
        "411", "420", "422", "440", "444", "cmyk", "grey", "progressive", "restart",
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in SAMPLES) < 10_000
    heads = {path.stem: path.read_bytes() for path in SAMPLES}
    assert b"\xff\xc2" in heads["progressive"]
    assert b"\xff\xdd" in heads["restart"]
    assert Image.open(io.BytesIO(heads["cmyk"])).mode == "CMYK"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_pixels_are_those_of_pillow(simplejpeg, path):
    data = path.read_bytes()
    assert exact._equals_pillow()
    image = exact.decode_jpeg(data)
    assert (image is None) == (path.stem == "cmyk")
    for pixels in (decode(data), np.asarray(decode_picture(data))):
        assert np.array_equal(pixels, by_pillow(data))
    assert decode(data).flags.writeable


def test_another_version_of_the_library_is_not_used(simplejpeg, monkeypatch):
    other = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda data, **options: other(data, colorspace="RGB") ^ 1)
    assert not exact._equals_pillow()
    data = SAMPLES[0].read_bytes()
    assert exact.decode_jpeg(data) is None
    assert np.array_equal(decode(data), by_pillow(data))


def test_without_the_library_pillow_decodes(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    data = SAMPLES[0].read_bytes()
    assert exact.decode_jpeg(data) is None
    assert np.array_equal(decode(data), by_pillow(data))


def odd_files():
    whole = jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)), quality=90)
    yield "cut", whole[: len(whole) // 2]
    yield "cut before its end", whole[:-2]
    yield "cut, with an end", whole[: len(whole) // 2] + exact.JPEG_END
    yield "bytes after its end", whole + b"\0" * 20
    yield "damaged inside", whole[:900] + b"\xff\x00\xd0\x11" * 8 + whole[932:]
    yield "a table that is missing", whole.replace(b"\xff\xdb", b"\xff\xfe", 1)
    yield "no frame", whole.replace(b"\xff\xc0", b"\xff\xfe", 1)
    yield "a size of zero", whole.replace(b"\xff\xc0\x00\x11\x08\x00\x28", b"\xff\xc0\x00\x11\x08\x00\x00")
    yield "a larger size", whole.replace(b"\xff\xc0\x00\x11\x08\x00\x28", b"\xff\xc0\x00\x11\x08\x00\x78")
    yield (
        "too many pixels",
        whole.replace(b"\xff\xc0\x00\x11\x08\x00\x28\x00\x32", b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff"),
    )
    yield "a start alone", whole[:3]
    yield "garbage between markers", whole[:2] + b"\xff\xe0\x00\x10JFIF\0" + b"\x07" * 40 + whole[20:]


@pytest.mark.parametrize(("name", "data"), list(odd_files()), ids=lambda value: value if isinstance(value, str) else "")
def test_odd_files_have_pillows_pixels_or_its_error(simplejpeg, monkeypatch, name, data):
    def outcome():
        try:
            return decode(data).tobytes()
        except DataError as error:
            return re.sub(" at 0x[0-9a-f]+", "", str(error))

    found = outcome()
    monkeypatch.setattr(exact, "_equals_pillow", lambda: False)
    assert found == outcome()
