"""Resizes and crops of uint8 arrays (H, W, 3)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image

from RobustART.core.imaging.pillow import Array
from RobustART.core.optional import require
from RobustART.errors import ConfigError
from RobustART.registry import Registry

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
"""Pillow's filters by name."""


def resize(image: Array, size: tuple[int, int], interpolation: str) -> Array:
    """Returns the image resized by pillow to ``size`` = (height, width) with one of :data:`FILTERS`."""
    if interpolation not in FILTERS:
        raise ConfigError(f"interpolation must be one of {', '.join(FILTERS)}, got {interpolation!r}")
    if image.shape[:2] == size:
        return image.copy()
    return np.array(Image.fromarray(image).resize(size[::-1], FILTERS[interpolation]))


def resize_opencv(image: Array, size: tuple[int, int], interpolation: str) -> Array:
    """Returns the image resized by OpenCV to ``size`` = (height, width).

    Unlike pillow's filters, OpenCV's do not widen when the image shrinks (``INTER_AREA`` apart), so they alias.
    """
    cv2 = require("cv2")
    return cv2.resize(image, size[::-1], interpolation=getattr(cv2, f"INTER_{interpolation}"))


RESIZES: Registry[Callable[[Array, tuple[int, int]], Array]] = Registry("resize")
"""The 11 resizes of ImageNet-S: names to functions (image, (height, width)) -> image, new."""

for _name, _filter in (
    ("bilinear", "bilinear"),
    ("nearest", "nearest"),
    ("box", "box"),
    ("hamming", "hamming"),
    ("cubic", "bicubic"),
    ("lanczos", "lanczos"),
):
    RESIZES.add(f"pil-{_name}", functools.partial(resize, interpolation=_filter))
for _name, _filter in (
    ("nearest", "NEAREST"),
    ("bilinear", "LINEAR"),
    ("area", "AREA"),
    ("cubic", "CUBIC"),
    ("lanczos", "LANCZOS4"),
):
    RESIZES.add(f"opencv-{_name}", functools.partial(resize_opencv, interpolation=_filter))


REFERENCE = ("pil", "pil-bilinear")
"""Decoder and resize that ImageNet-S compares the others with."""


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
