"""Pillow's pixels of a JPEG file in less time, decoded by the package ``simplejpeg`` where it is installed.

Both use libjpeg-turbo. With the accurate DCT and the smooth upsampling, which are Pillow's settings, the pixels are equal
unless the packages carry versions that differ; so the samples are decoded by both first, once in a process.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from RobustART.core.imaging.formats import image_format
from RobustART.core.imaging.pillow import Array, load_rgb, open_image
from RobustART.core.optional import require
from RobustART.errors import ConfigError

SAMPLES = Path(__file__).parent / "samples"
"""Small files of every subsampling, grey, progressive, with restart markers, and CMYK, which is left to Pillow."""
JPEG_END = b"\xff\xd9"


def decode_jpeg(data: bytes) -> Array | None:
    """Returns the pixels of a file as Pillow decodes it, uint8 (H, W, 3); None if Pillow has to decode it.

    Those are files of other formats, JPEGs that are not grey or RGB, and all for which libjpeg-turbo has a warning.

    Raises:
        OSError, DataError: as Pillow does for a damaged header or too many pixels.
    """
    if image_format(data) != "JPEG" or JPEG_END not in data[-64:] or not _equals_pillow():
        return None
    with open_image(data) as picture:
        mode, size = picture.mode, (picture.height, picture.width, 3)
    image = _decoded(data) if mode in ("L", "RGB") else None
    return image if image is not None and image.shape == size else None


@functools.cache
def _equals_pillow() -> bool:
    """Returns whether simplejpeg is installed and has Pillow's pixels on all samples."""
    try:
        require("simplejpeg")
    except ConfigError:
        return False
    files = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg")) if path.stem != "cmyk"]
    return bool(files) and all(np.array_equal(_decoded(data), np.asarray(load_rgb(data))) for data in files)


def _decoded(data: bytes) -> Any:
    """Returns simplejpeg's pixels; None if it raises an error or has a warning."""
    try:
        return require("simplejpeg").decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False, strict=True)
    except (ValueError, OSError, RuntimeError, MemoryError):
        return None
