"""Decoding: the stated rule for every kind of picture, and resize and crop equal to torchvision's."""

import io

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from RobustART.core.imaging import center_crop, decode, encode_jpeg, read_bytes, resize, resize_shorter
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ConfigError, DataError
from tests.conftest import make_picture


def packed(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = make_picture(0)


def test_plain_png_and_jpeg():
    assert np.array_equal(decode(packed(Image.fromarray(RGB), "PNG")), RGB)
    data = packed(Image.fromarray(RGB), "JPEG", quality=90)
    assert np.array_equal(decode(data), np.array(Image.open(io.BytesIO(data)).convert("RGB")))


def test_greyscale_becomes_three_equal_channels():
    grey = RGB[..., 0]
    assert np.array_equal(decode(packed(Image.fromarray(grey), "PNG")), np.stack([grey] * 3, axis=-1))


def test_alpha_is_dropped_and_palettes_are_converted():
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 7, np.uint8)])
    assert np.array_equal(decode(packed(Image.fromarray(rgba), "PNG")), RGB)
    palette = Image.fromarray(RGB).quantize(16)
    assert np.array_equal(decode(packed(palette, "PNG")), np.array(palette.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    got = decode(packed(Image.fromarray(values), "PNG"))
    assert np.array_equal(got[..., 0], np.round(values / 257).astype(np.uint8))
    assert np.array_equal(got[..., 0], got[..., 2])


def test_sixteen_bit_colour_keeps_its_upper_byte():
    import struct
    import zlib

    values = np.arange(4 * 4 * 3, dtype=np.uint16).reshape(4, 4, 3) * 1000 + 255
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(decode(png), (values >> 8).astype(np.uint8))


def test_cmyk_jpeg_as_pillow_converts_it():
    data = packed(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
    assert np.array_equal(decode(data), np.array(Image.open(io.BytesIO(data)).convert("RGB")))


def test_exif_orientation_is_ignored_unless_asked_for():
    picture = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    data = packed(picture, "PNG", exif=exif)
    assert decode(data).shape == RGB.shape
    assert np.array_equal(decode(data, exif_orientation=True), np.rot90(RGB, -1))


def test_float_pictures_are_refused():
    data = packed(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF")
    with pytest.raises(DataError, match=r"x\.tif: an image of mode 'F'"):
        decode(data, name="x.tif")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_file_is_an_error(kept):
    data = packed(Image.fromarray(make_picture(0, 200, 200)), "JPEG")
    with pytest.raises(DataError, match=r"half\.jpg cannot be decoded"):
        decode(data[: int(len(data) * kept)], name="half.jpg")
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(b"not a picture")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jpg cannot be read: No such file"):
        read_bytes(tmp_path / "nothing.jpg")


@pytest.mark.parametrize("size", [(40, 52), (52, 40), (33, 100), (20, 20), (64, 64)])
@pytest.mark.parametrize(("length", "crop"), [(36, 32), (37, 32), (32, 32), (30, 32)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_preprocessing_equals_torchvision(size, length, crop, interpolation):
    picture = make_picture(1, *size)
    mode = transforms.InterpolationMode(interpolation)
    reference = transforms.Compose([transforms.Resize(length, interpolation=mode), transforms.CenterCrop(crop)])
    ours = Preprocessing(input_size=crop, resize=length, interpolation=interpolation).apply(picture)
    assert np.array_equal(ours, np.array(reference(Image.fromarray(picture))))


def test_squash_ignores_the_aspect():
    got = Preprocessing(input_size=32, resize=32, crop_mode="squash").apply(RGB)
    assert np.array_equal(got, resize(RGB, (32, 32), "bilinear"))


def test_nothing_is_changed_in_place_or_shared():
    picture = RGB.copy()
    for result in (
        resize(picture, picture.shape[:2], "box"),
        resize_shorter(picture, 20, "box"),
        center_crop(picture, 20),
    ):
        result[:] = 0
        assert np.array_equal(picture, RGB)


def test_bad_options_are_named():
    with pytest.raises(ConfigError, match="interpolation must be one of .* got 'cubic'"):
        resize(RGB, (3, 3), "cubic")
    with pytest.raises(ConfigError, match=r"preprocessing\.std\[1\] must be a number above 0"):
        Preprocessing(std=(1, 0, 1))
    with pytest.raises(ConfigError, match=r"preprocessing\.input_size must be"):
        Preprocessing(input_size=0)
    for quality in (0, 101, 85.0, True):
        with pytest.raises(ConfigError, match="jpeg_quality must be"):
            encode_jpeg(RGB, quality)
