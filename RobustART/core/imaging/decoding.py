"""From a file's bytes to an ``image``, a uint8 array (H, W, 3), by one of the decoders, and back to JPEG."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from PIL import Image

from RobustART.core.imaging.decoders import DECODERS, LIBRARIES, decode_pil
from RobustART.core.imaging.exact import JPEG_END, decode_jpeg
from RobustART.core.imaging.formats import check_pixels, find_format, image_format, jpeg_frame
from RobustART.core.imaging.pillow import READING, Array, load_rgb, open_image, orientation, own_settings, turn
from RobustART.core.optional import require
from RobustART.core.options import convert
from RobustART.core.ranges import Range
from RobustART.errors import ConfigError, DataError


def decode(data: bytes, *, exif_orientation: bool = False, name: str = "the image", decoder: str = "pil") -> Array:
    """Returns the image in ``data`` as uint8 (H, W, 3).

    The rule is that of the loaders that published numbers were made with (torchvision, timm), which use Pillow, so that
    a number can be compared with theirs. It is the same for all decoders:

    * The file begins as one of ``formats.FORMATS`` does, and has at most ``formats.MAX_PIXELS`` pixels.
    * Greyscale becomes three equal channels. An alpha channel, or a transparent colour, is dropped. Pillow converts
      palettes, CMYK and other colour spaces.
    * Grey images of 16 bits are scaled to 8, ``round(value / 257)`` (Pillow alone would clip them to white). Colour
      images of 16 bits a channel are reduced to 8 by Pillow. 32 bits have no agreed range and are refused.
    * Of several frames or pages it is the first.
    * The EXIF orientation is applied if ``exif_orientation`` is true, in every format, and otherwise in none. (Pillow and
      OpenCV apply it to TIFF files in any case, which is undone here.)
    * A truncated file is an error, never an image with a grey rest; so is a PNG whose checksums are wrong. Damage inside
      other formats, which have no checksums, is an error where the decoder notices it.

    Decoders differ where decoding is lossy, which is what ImageNet-S measures: a library decodes JPEG and WebP files of 8
    bits, grey or RGB, by its own inverse DCT, upsampling and colour conversion. In other files the pixels follow from the
    rule, and Pillow reads them whatever the decoder. A decoder that a user adds gets every file as it is, of any format.

    Args:
        data: the bytes of a file.
        exif_orientation: rotate and mirror the image as its EXIF tag says.
        name: what to call it in errors, such as its file name.
        decoder: one of :data:`DECODERS`.

    Raises:
        DataError: it cannot be decoded, or only in part, or is of a format that the decoder does not accept.
        ConfigError: the decoder's library is not installed.
    """
    function = DECODERS[decoder]
    with _named(data, name, decoder):
        value = _orientation(data) if exif_orientation else 1
        if decoder == "pil":
            image = function(data)
        elif decoder in LIBRARIES:
            size = _library_size(data, decoder)
            image = _checked(function(data), decoder, size) if size else decode_pil(data)
        else:
            if find_format(data):
                _load_whole(data)
            image = function(data)
        return turn(_checked(image, decoder), value)


def decode_picture(
    data: bytes, *, exif_orientation: bool = False, name: str = "the image", decoder: str = "pil"
) -> Image.Image:
    """Returns what :func:`decode` does as a PIL image, with fewer copies of the pixels."""
    if decoder != "pil" or exif_orientation:
        return Image.fromarray(decode(data, exif_orientation=exif_orientation, name=name, decoder=decoder))
    with _named(data, name, decoder):
        image = decode_jpeg(data)
        return load_rgb(data) if image is None else Image.fromarray(image)


def _orientation(data: bytes) -> int:
    with open_image(data) as picture:
        return orientation(picture)


def _library_size(data: bytes, decoder: str) -> tuple[int, int] | None:
    """Returns height and width of a file that a library decodes by itself; None if Pillow decodes it.

    Raises what Pillow raises if the file is cut off: the other libraries fill the rest with grey. A JPEG that has its end
    marker is whole.
    """
    module, formats = LIBRARIES[decoder]
    require(module)
    form = image_format(data)
    if form not in formats:
        raise OSError(f"it reads {', '.join(formats)} files only, and this is {form}")
    if form == "JPEG" and JPEG_END in data[-64:]:
        frame = jpeg_frame(data)
        if frame is not None:
            check_pixels(*frame[:2])
            return frame[:2] if frame[2] in (1, 3) else None
    if form not in ("JPEG", "WEBP"):
        return None
    picture = _load_whole(data)
    return (picture.height, picture.width) if picture.mode in ("L", "RGB", "RGBA") else None


def _load_whole(data: bytes) -> Image.Image:
    with open_image(data) as picture:
        picture.load()
    return picture


def _checked(image: Array, decoder: str, size: tuple[int, int] | None = None) -> Array:
    """Returns what a decoder returned, or raises a DataError if it is not uint8 (H, W, 3), or not of the file's size."""
    fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    if not fits or not image.size:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"the decoder {decoder!r} must return a uint8 array (H, W, 3), got {kind}")
    height, width = image.shape[:2]
    if size not in (None, (height, width)):
        raise DataError(f"the decoder {decoder!r} returned {(height, width)} pixels, but the file has {size}")
    check_pixels(height, width)
    return image


@contextlib.contextmanager
def _named(data: bytes, name: str, decoder: str) -> Iterator[None]:
    """Decodes with this package's settings of Pillow within the block; errors of libraries become errors that name the
    image."""
    if not data:
        raise DataError(f"{name} cannot be decoded: the file is empty")
    try:
        with own_settings():
            yield
    except ConfigError:
        raise
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except READING as error:
        by = "" if decoder == "pil" else f" by {decoder}"
        reason = "there is not enough memory" if isinstance(error, MemoryError) else error
        raise DataError(f"{name} cannot be decoded{by} ({len(data)} bytes): {reason}") from None


JpegQuality = Annotated[int, Range(1, 100)]
"""A quality of pillow's JPEG encoder."""


def check_jpeg_quality(quality: object) -> int:
    """Returns a quality of JPEG; a ConfigError if it is not from 1 to 100."""
    return int(convert(quality, JpegQuality, "jpeg_quality"))


def encode_jpeg(image: Array, quality: int) -> bytes:
    """Returns the image as JPEG bytes by pillow's encoder with its default chroma subsampling, 4:2:0.

    Args:
        image: uint8 (H, W, 3), or (H, W) for a file without colour.
        quality: 1 to 100.
    """
    quality = check_jpeg_quality(quality)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
