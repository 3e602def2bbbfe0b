"""The 15 corruptions of ImageNet-C and its 4 extra ones (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261).

They do what the official generator does (``imagenet_c/corruptions.py`` of github.com/hendrycks/robustness), its quirks
included; each function's docstring names them. The library ``imagecorruptions`` can be asked instead, by ``backend``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np

from RobustART.core.imaging import Array
from RobustART.core.options import convert
from RobustART.core.ranges import Range
from RobustART.errors import ConfigError
from RobustART.noise import backends
from RobustART.noise.corruptions import blur, digital, noise, weather
from RobustART.noise.pictures import check_array, check_generator, on_picture, to_colour, to_grey
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

SMALLEST = 32
"""Pixels that the sides of a picture have at least for these."""

CHANNELWISE = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
"""Corruptions whose noise falls on each channel for itself; they take (H, W) too."""

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


def check_severity(severity: object) -> int:
    """Returns a severity; a ConfigError if it is not from 0 to 5."""
    return int(convert(severity, Annotated[int, Range(0, 5, text="from 0 (clean) to 5")], "severity"))


def corrupt(
    image: Any,
    name: str,
    severity: int = 1,
    rng: np.random.Generator | None = None,
    *,
    backend: str = "robustart",
) -> Any:
    """Returns a corrupted copy of a picture, in the kind that came.

    Args:
        image: uint8 (H, W, 3) or, greyscale, (H, W), H and W at least 32; a PIL image, a path or the bytes of a file, see
            :mod:`RobustART.noise.pictures`; not changed. Noise is drawn for the one channel of a grey picture. The other
            corruptions see it as the official generator does, with three equal channels, and the result is the luminance
            of theirs: where they colour it, as ``saturate`` does, the colour is lost.
        name: a name in :data:`CORRUPTIONS`.
        severity: 1 (weakest) to 5; 0 returns a copy.
        rng: generator of the noise; None starts one at seed 0.
        backend: ``robustart``, or ``imagecorruptions`` for the library of that name.

    Raises:
        UnknownNameError: there is no such corruption.
        ConfigError: the image, the severity or the backend cannot be.
        DataError: the file cannot be read.
    """
    function = CORRUPTIONS[name]
    severity = check_severity(severity)
    check_backend(backend, [name])
    rng = check_generator(rng)
    if backend == "imagecorruptions":
        function = functools.partial(backends.imagecorruptions, name)

    def change(pixels: Array) -> Array:
        check_array(pixels, name, grey=True, smallest=SMALLEST if name in OFFICIAL and severity else 1)
        if severity == 0:
            return pixels.copy()
        if pixels.ndim == 3 or (name in CHANNELWISE and backend == "robustart"):
            return function(np.ascontiguousarray(pixels), int(severity), rng)
        noisy = function(to_colour(pixels), int(severity), rng)
        return noisy[..., 0].copy() if name in CHANNELWISE else to_grey(noisy)

    return on_picture(image, change, "a corruption")
