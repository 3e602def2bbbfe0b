"""The 15 corruptions of ImageNet-C and its 4 extra ones (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261).

They do what the official generator does (``imagenet_c/corruptions.py`` of github.com/hendrycks/robustness), its quirks
included; each function's docstring names them. The library ``imagecorruptions`` can be asked instead, by ``backend``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from RobustART.errors import ConfigError
from RobustART.imaging import Array
from RobustART.noise import backends
from RobustART.noise.corruptions import blur, digital, noise, weather
from RobustART.registry import Registry

Corruption = Callable[[Array, int, np.random.Generator], Array]
"""(image uint8 (H, W, 3), severity 1 to 5, rng) -> image of the same shape, new."""

GROUPS: dict[str, tuple[Corruption, ...]] = {
    "noise": (noise.gaussian_noise, noise.shot_noise, noise.impulse_noise),
    "blur": (blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur),
    "weather": (weather.snow, weather.frost, weather.fog, weather.brightness),
    "digital": (digital.contrast, digital.elastic_transform, digital.pixelate, digital.jpeg_compression),
    "extra": (noise.speckle_noise, blur.gaussian_blur, weather.spatter, digital.saturate),
}
"""Functions by group, in the order of the original's ``corruption_number`` 0 to 18."""

CORRUPTIONS: Registry[Corruption] = Registry("corruption")
"""Names to functions."""

for _functions in GROUPS.values():
    for _function in _functions:
        CORRUPTIONS.add(_function.__name__, _function)

OFFICIAL = tuple(CORRUPTIONS)
"""The names of ImageNet-C's own 19."""

BACKENDS = ("robustart", "imagecorruptions")
"""Who makes the noise: this package, or the library."""


def group_of(name: str) -> str | None:
    """Returns the official group of a corruption, such as ``weather`` of ``fog``; None for one of a user's own."""
    return next((group for group, functions in GROUPS.items() if name in [f.__name__ for f in functions]), None)


def check_backend(backend: str, names: Sequence[str] = (), option: str = "backend") -> None:
    """Raises a ConfigError if there is no such backend or it does not have the corruptions ``names``."""
    if backend not in BACKENDS:
        raise ConfigError(f"{option} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    for name in names:
        if backend == "imagecorruptions" and name not in OFFICIAL:
            raise ConfigError(f"the backend imagecorruptions has ImageNet-C's 19 corruptions only, not {name!r}")


def corrupt(
    image: Array,
    name: str,
    severity: int = 1,
    rng: np.random.Generator | None = None,
    *,
    backend: str = "robustart",
) -> Array:
    """Returns a corrupted copy of an image.

    Args:
        image: uint8 (H, W, 3), H and W at least 32; not changed. A grey picture has three equal channels.
        name: a name in :data:`CORRUPTIONS`.
        severity: 1 (weakest) to 5; 0 returns a copy.
        rng: generator of the noise; None starts one at seed 0.
        backend: ``robustart``, or ``imagecorruptions`` for the library of that name.

    Raises:
        UnknownNameError: there is no such corruption.
        ConfigError: the image, the severity or the backend cannot be.
    """
    function = CORRUPTIONS[name]
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ConfigError(f"a corruption takes a uint8 array (H, W, 3), got {got}")
    if isinstance(severity, bool) or not isinstance(severity, (int, np.integer)) or not 0 <= severity <= 5:
        raise ConfigError(f"severity must be a whole number from 0 (clean) to 5, got {severity!r}")
    check_backend(backend, [name])
    if severity == 0:
        return image.copy()
    if name in OFFICIAL and min(image.shape[:2]) < 32:
        raise ConfigError(f"{name} needs 32 x 32 pixels or more, got {image.shape[0]} x {image.shape[1]}")
    rng = np.random.default_rng(0) if rng is None else rng
    if backend == "imagecorruptions":
        return backends.imagecorruptions(name, image, int(severity), rng)
    return function(np.ascontiguousarray(image), int(severity), rng)
