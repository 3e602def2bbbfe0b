"""From the bytes of a picture to an ``image``, a uint8 array (H, W, 3), and its resize and crop.

The rule for pictures that are not plain RGB, the same as that of the loaders published numbers were made with
(torchvision, timm), so that a number can be compared with theirs:

* greyscale becomes three equal channels; an alpha channel is dropped; palettes and CMYK are converted by pillow;
* grey pictures of 16 bits are scaled to 8, ``round(value / 257)`` (pillow alone would clip them to white); colour
  pictures of 16 bits a channel keep their upper 8, which is what pillow reads;
* the EXIF orientation is **not** applied unless asked for, because those loaders do not apply it;
* a truncated file is an error, never a picture with a grey rest.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from RobustART.errors import ConfigError, DataError

Array = NDArray[np.uint8]

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
"""Pillow's filters by name."""


def to_rgb(picture: Image.Image) -> Image.Image:
    """Returns a picture as 8-bit RGB by the rule of this module.

    Raises:
        DataError: its mode has no agreed range (32-bit floats and whole numbers).
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        values = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray(((values + 128) // 257).clip(0, 255).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise DataError(
            f"a picture of mode {picture.mode!r} (32 bits a pixel) has no agreed range; save it with 8 or 16"
        )
    with warnings.catch_warnings():
        # Pillow advises to keep the transparency of palettes; it is dropped on purpose.
        warnings.filterwarnings("ignore", message="Palette images with Transparency", category=UserWarning)
        return picture if picture.mode == "RGB" else picture.convert("RGB")


def decode(data: bytes, *, exif_orientation: bool = False, name: str = "the image") -> Array:
    """Returns the picture in ``data`` as uint8 (H, W, 3).

    Args:
        data: a file of any format pillow reads.
        exif_orientation: turn the picture as its EXIF tag says.
        name: what to call it in errors, such as its file name.

    Raises:
        DataError: it cannot be decoded, or only in part.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture) if exif_orientation else picture
            upright.format = picture.format
            return np.array(to_rgb(upright))
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} cannot be decoded ({len(data)} bytes): {error}") from None


def read_bytes(path: str | Path) -> bytes:
    """Returns a file's bytes; a missing or unreadable file is a DataError that names it."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"the image {path} cannot be read: {error.strerror or error}") from None


def resize(image: Array, size: tuple[int, int], interpolation: str) -> Array:
    """Returns the image resized by pillow to ``size`` = (height, width) with one of :data:`FILTERS`."""
    if interpolation not in FILTERS:
        raise ConfigError(f"interpolation must be one of {', '.join(FILTERS)}, got {interpolation!r}")
    if image.shape[:2] == size:
        return image.copy()
    return np.array(Image.fromarray(image).resize(size[::-1], FILTERS[interpolation]))


def resize_shorter(image: Array, length: int, interpolation: str) -> Array:
    """Returns the image with its shorter side at ``length`` pixels and its aspect kept, as torchvision's ``Resize``."""
    height, width = image.shape[:2]
    if height <= width:
        size = (length, int(length * width / height))
    else:
        size = (int(length * height / width), length)
    return resize(image, size, interpolation)


def center_crop(image: Array, size: int) -> Array:
    """Returns the central square of ``size`` pixels; a smaller image is padded with black, as torchvision's."""
    height, width = image.shape[:2]
    if height < size or width < size:
        pad_y, pad_x = max(size - height, 0), max(size - width, 0)
        pad = ((pad_y // 2, pad_y - pad_y // 2), (pad_x // 2, pad_x - pad_x // 2), (0, 0))
        image = np.pad(image, pad)
        height, width = image.shape[:2]
    top, left = round((height - size) / 2.0), round((width - size) / 2.0)
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def encode_jpeg(image: Array, quality: int) -> bytes:
    """Returns the image as JPEG bytes by pillow's encoder with its default chroma subsampling, 4:2:0."""
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ConfigError(f"jpeg_quality must be a whole number from 1 to 100, got {quality!r}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
