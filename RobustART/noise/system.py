"""System noise, ImageNet-S: the same file, decoded and resized by other libraries (Tang et al. 2021, section 3).

A deployed classifier rarely sees its pictures through the library it was trained with. The two procedures are those of
the benchmark's generator; both end in a square of ``size`` pixels:

* ``val``: the picture, *without* keeping its aspect, is resized to a square of 8/7 of ``size`` (256 for 224), then the
  middle is cropped;
* ``train``: a random crop of 8 to 100 % of the area with an aspect of 3/4 to 4/3, then resized to the square.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from RobustART.core.imaging import DECODERS, RESIZES, Array, center_crop, decode, read_bytes
from RobustART.core.options import convert
from RobustART.core.ranges import Count
from RobustART.errors import ConfigError, DataError
from RobustART.noise.pictures import check_array, check_generator, kind_of

REFERENCE = ("pil", "pil-bilinear")
"""Decoder and resize of the training side."""
PROCEDURES = ("val", "train")
"""Values of ``transform``."""


def system_noise(
    source: bytes | str | Path | Array,
    *,
    decoder: str = REFERENCE[0],
    resize: str = REFERENCE[1],
    transform: str = "val",
    size: int = 224,
    rng: np.random.Generator | None = None,
    exif_orientation: bool = False,
) -> Array:
    """Returns a picture as a system with this decoder and this resize sees it, uint8 (size, size, 3).

    Args:
        source: a path, the bytes of a file, or an image uint8 (H, W, 3), which only the decoder ``pil`` leaves alone.
        decoder: one of ``DECODERS``.
        resize: one of ``RESIZES``.
        transform: ``val`` or ``train``.
        size: side of the result in pixels.
        rng: generator of the crop of ``train``; None starts one at seed 0.
        exif_orientation: turn the picture as its EXIF tag says, whatever the decoder.

    Raises:
        UnknownNameError: there is no such decoder or resize.
        ConfigError: the procedure or the source cannot be, or a library is not installed.
        DataError: the picture cannot be decoded.
    """
    size = convert(size, Count, "size")
    DECODERS[decoder]
    RESIZES[resize]
    rng = check_generator(rng)
    if transform not in PROCEDURES:
        raise ConfigError(f"transform must be 'val' or 'train', got {transform!r}")
    if isinstance(source, np.ndarray):
        if decoder != "pil":
            raise DataError(f"the decoder {decoder!r} needs a file; an array of pixels is decoded already")
        check_array(source, "system noise")
        image = source
    elif not isinstance(source, (bytes, str, Path)):
        raise ConfigError(
            f"system noise takes a path, the bytes of a file or a uint8 array (H, W, 3), got {kind_of(source)}"
        )
    else:
        name = "the image" if isinstance(source, bytes) else str(source)
        data = source if isinstance(source, bytes) else read_bytes(source)
        image = decode(data, decoder=decoder, exif_orientation=exif_orientation, name=name)
    if transform == "val":
        return resize_and_crop(image, resize, size)
    return random_resized_crop(image, resize, size, rng)


def resized_side(size: int) -> int:
    """Returns the side before the crop of ``val``: 8/7 of the input size, 256 for 224."""
    return round(size * 8 / 7)


def resize_and_crop(image: Array, resize: str, size: int) -> Array:
    """The procedure ``val`` on a decoded image, uint8 (H, W, 3) to (size, size, 3)."""
    side = resized_side(size)
    return center_crop(RESIZES[resize](image, (side, side)), size)


def random_resized_crop(image: Array, resize: str, size: int, rng: np.random.Generator) -> Array:
    """The procedure ``train`` on a decoded image, uint8 (H, W, 3) to (size, size, 3).

    Ten crops are tried; if none fits, it is the largest central one whose aspect is from 3/4 to 4/3 (Szegedy et al.
    2015, https://arxiv.org/abs/1409.4842).
    """
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            break
    else:
        aspect = min(max(width / height, 3 / 4), 4 / 3)
        w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
        top, left = (height - h) // 2, (width - w) // 2
    return RESIZES[resize](np.ascontiguousarray(image[top : top + h, left : left + w]), (size, size))
