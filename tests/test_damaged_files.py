"""Files that are cut off or damaged: an error in every decoder and format, never a picture with a grey rest, never a crash."""

import contextlib
import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from RobustART.core.imaging import DECODERS, decode
from RobustART.core.imaging.video import read_video, write_video
from RobustART.errors import DataError
from tests.conftest import make_picture

FORMATS = {
    "JPEG": ("JPEG", {}),
    "progressive JPEG": ("JPEG", {"progressive": True}),
    "PNG": ("PNG", {}),
    "GIF": ("GIF", {}),
    "WebP": ("WEBP", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "BMP": ("BMP", {}),
    "PPM": ("PPM", {}),
    "TIFF": ("TIFF", {}),
    "TIFF with LZW": ("TIFF", {"compression": "tiff_lzw"}),
}
READS = {
    "simplejpeg-fast": ("JPEG", "progressive JPEG"),
    "torchvision": ("JPEG", "progressive JPEG", "PNG"),  # and others, which its version decides
}
"""What the decoders read that do not read all of them."""
TEXTURED = (make_picture(2, 90, 70).astype(int) // 2 + np.random.default_rng(1).integers(0, 128, (90, 70, 3))).astype(
    np.uint8
)


@pytest.fixture(scope="module")
def files():
    made = {}
    for name, (kind, options) in FORMATS.items():
        buffer = io.BytesIO()
        Image.fromarray(TEXTURED).save(buffer, kind, **options)
        made[name] = buffer.getvalue()
    return made


@pytest.fixture(params=DECODERS)
def decoder(request):
    if request.param == "simplejpeg-fast":
        pytest.importorskip("simplejpeg")
    return request.param


def attempt(data, decoder):
    """Returns the picture, or None for a DataError that names the file; any other error is a failure."""
    try:
        return decode(data, decoder=decoder, name="some.file")
    except DataError as error:
        if "some.file" not in str(error):
            raise
        return None


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_cut_off_is_refused(kind, decoder, files):
    data = files[kind]
    whole = attempt(data, decoder)
    if kind in READS.get(decoder, FORMATS):
        assert whole.shape == TEXTURED.shape
    for kept in (*(int(len(data) * part) for part in (0.01, 0.05, 0.3, 0.6, 0.9, 0.97)), len(data) - 1):
        found = attempt(data[:kept], decoder)
        # The last byte may be a mark of the end or padding, so that all pixels are there.
        assert found is None or (kept == len(data) - 1 and np.array_equal(found, whole)), kept


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_damaged_is_refused_or_has_its_size(kind, decoder, files):
    for seed in range(12):
        rng, data = np.random.default_rng(seed), bytearray(files[kind])
        start, length = rng.integers(40, len(data) - 40), int(rng.integers(1, len(data) // 4))
        if seed % 3 == 0:
            data[start : start + length] = bytes(len(data[start : start + length]))
        elif seed % 3 == 1:
            del data[start : start + length]
        else:
            for place in rng.integers(0, len(data), 4):
                data[place] = rng.integers(256)
        found = attempt(bytes(data), decoder)
        assert found is None or (found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3)
        assert found is None or kind != "PNG" or np.array_equal(found, TEXTURED)  # its checksums tell


def test_errors_of_the_libraries_without_a_common_base_are_caught(monkeypatch, files):
    import av
    import cv2

    def fails(error):
        def function(*_, **__):
            raise error

        return function

    monkeypatch.setattr(av, "open", fails(av.error.PatchWelcomeError(1163346256, "patches welcome")))
    monkeypatch.setattr(cv2, "imdecode", fails(cv2.error("too large")))
    for decoder in ("ffmpeg", "opencv"):
        with pytest.raises(DataError, match=rf"x\.jpg cannot be decoded by {decoder} \("):
            decode(files["JPEG"], decoder=decoder, name="x.jpg")


def test_videos_that_are_cut_off_or_damaged_are_refused(monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    data = write_video(frames)
    assert read_video(data).shape == frames.shape
    for kept in (0.05, 0.5, 0.99):
        with pytest.raises(DataError, match=r"x\.mp4 cannot be decoded"):
            read_video(data[: int(len(data) * kept)], "x.mp4")
    import av

    class Short:
        """A file that ends after four frames without a word from its decoder."""

        FFmpegError = av.FFmpegError

        @staticmethod
        @contextlib.contextmanager
        def open(source, **options):
            with av.open(source, **options) as container:
                four = itertools.islice(container.decode(video=0), 4)
                yield SimpleNamespace(streams=container.streams, decode=lambda video: four)

    monkeypatch.setattr("RobustART.core.imaging.video.require", lambda name: Short)
    with pytest.raises(DataError, match=r"x\.mp4 is cut off or damaged: 4 of its 6 frames"):
        read_video(data, "x.mp4")
