"""The 15 corruptions of ImageNet-C and its 4 extra ones (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261).

They are made by ``imagecorruptions``, a re-implementation of the official generator that is not faithful everywhere
(its elastic transform and its frost differ); every report names it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from RobustART.errors import ConfigError
from RobustART.imaging import Array
from RobustART.noise import backends
from RobustART.registry import Registry

Corruption = Callable[[Array, int, np.random.Generator], Array]
"""(image uint8 (H, W, 3), severity 1 to 5, rng) -> image of the same shape, new."""

GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""Names by group, in the order of the original's ``corruption_number`` 0 to 18."""

CORRUPTIONS: Registry[Corruption] = Registry("corruption")
"""Names to functions."""

for _names in GROUPS.values():
    for _name in _names:
        CORRUPTIONS.add(_name, functools.partial(backends.imagecorruptions, _name))


def corrupt(image: Array, name: str, severity: int = 1, rng: np.random.Generator | None = None) -> Array:
    """Returns a corrupted copy of an image.

    Args:
        image: uint8 (H, W, 3), H and W at least 32; not changed.
        name: a name in :data:`CORRUPTIONS`.
        severity: 1 (weakest) to 5; 0 returns a copy.
        rng: generator of the noise; None starts one at seed 0.

    Raises:
        UnknownNameError: there is no such corruption.
        ConfigError: the image or the severity cannot be.
    """
    function = CORRUPTIONS[name]
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ConfigError(f"a corruption takes a uint8 array (H, W, 3), got {got}")
    if isinstance(severity, bool) or not isinstance(severity, (int, np.integer)) or not 0 <= severity <= 5:
        raise ConfigError(f"severity must be a whole number from 0 (clean) to 5, got {severity!r}")
    if severity == 0:
        return image.copy()
    return function(image, int(severity), np.random.default_rng(0) if rng is None else rng)
