"""Pillow, the reference decoder, under settings that no other module can change."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin

from RobustART.core.imaging.formats import check_pixels, image_format
from RobustART.errors import DataError

Array = NDArray[np.uint8]

READING = (
    OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, RuntimeError, MemoryError, OverflowError,
    Image.DecompressionBombError,
)  # fmt: skip
"""What the libraries raise for files that they cannot read."""

GREY_MODES = ("1", "L", "LA", "La")
"""Modes of PIL images without colour, beside those of 16 bits."""

_SETTINGS = (
    (ImageFile, "LOAD_TRUNCATED_IMAGES", False),
    (Image, "MAX_IMAGE_PIXELS", None),  # MAX_PIXELS is checked instead
    (PngImagePlugin, "MAX_TEXT_CHUNK", 2**20),
    (PngImagePlugin, "MAX_TEXT_MEMORY", 2**26),
    (GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_AFTER_FIRST),
)
"""Variables of Pillow that decide what it reads, with the values that are used here."""
_EIGHT_BITS = ((np.arange(2**16) + 128) // 257).astype(np.uint8)
"""For each grey value of 16 bits, ``round(value / 257)``."""
_lock = threading.Lock()
_inside = 0
_restore = contextlib.ExitStack()
if hasattr(os, "register_at_fork"):  # a lock that another thread holds would never be free in the new process
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Runs a block with Pillow's global settings and Python's warnings as this package needs them.

    Any module can set them, and then the same file would be read, refused or completed with grey. Threads share the
    settings: the first one in sets them, and the last one out restores what was there.
    """
    global _inside
    with _lock:
        if not _inside:
            _restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # of damaged EXIF data and the like, which may be errors elsewhere
            for module, name, value in _SETTINGS:
                _restore.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, value)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _restore.close()


def open_image(data: bytes) -> Image.Image:
    """Returns a file as a PIL image whose header alone is read.

    Raises:
        DataError: it has too many pixels.
        OSError: it is of another format than :data:`~RobustART.core.imaging.formats.FORMATS`, or damaged.
    """
    picture = Image.open(io.BytesIO(data), formats=(image_format(data),))
    check_pixels(picture.height, picture.width)
    return picture


def orientation(picture: Image.Image) -> int:
    """Returns the EXIF orientation of an image that is not loaded yet, 1 to 8; without a tag it is 1, as stored."""
    value = picture.getexif().get(0x0112, 1)
    return int(value) if value in range(1, 9) else 1


def turn(image: Array, value: int) -> Array:
    """Returns the image as its EXIF orientation says: 3 is half a turn, 6 a quarter clockwise, even ones mirror."""
    if value in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if value in (2, 3, 6, 7):
        image = image[:, ::-1]
    if value in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def load_rgb(data: bytes) -> Image.Image:
    """Returns the image in a file as 8-bit RGB, as it is stored.

    Raises:
        DataError: its mode has no agreed range, or it has too many pixels.
        OSError: it is damaged or cut off. Pillow checks what PNG says of its pixels only if asked.
    """
    if image_format(data) == "PNG":
        with open_image(data) as picture:
            picture.verify()
    with open_image(data) as picture:
        turned = orientation(picture) if picture.format == "TIFF" else 1
        picture.load()
        rgb = to_rgb(picture)
    if turned == 1:
        return rgb
    back = {6: 8, 8: 6}.get(turned, turned)  # Pillow turns TIFF alone when it loads it
    return Image.fromarray(turn(np.asarray(rgb), back))


def to_rgb(picture: Image.Image) -> Image.Image:
    """Returns an image as 8-bit RGB by the rule of :func:`~RobustART.core.imaging.decode`.

    Raises:
        DataError: its mode has no agreed range (32-bit floats and integers).
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        picture = Image.fromarray(_EIGHT_BITS.take(np.asarray(picture), mode="clip"))
    elif picture.mode in ("I", "F"):
        raise DataError(
            f"an image of mode {picture.mode!r} (32 bits a pixel) has no agreed range; save it with 8 or 16"
        )
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def picture_pixels(picture: Image.Image) -> Array:
    """Returns the pixels of a PIL image by the rule of :func:`to_rgb`: uint8 (H, W) if it is grey, else (H, W, 3).

    Raises:
        DataError: it cannot be loaded, or its mode has no agreed range.
    """
    try:
        with own_settings():
            picture.load()
            pixels = np.array(to_rgb(picture))
    except DataError:
        raise
    except READING as error:
        raise DataError(f"the PIL image of mode {picture.mode!r} cannot be read: {error}") from None
    return pixels[..., 0].copy() if picture.mode in GREY_MODES or picture.mode.startswith("I") else pixels
