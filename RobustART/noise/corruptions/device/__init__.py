"""The corruptions for batches, in torch, on any device: the same draws and the same pictures as image by image on the CPU.

What is drawn is drawn on the CPU from each image's own generator, in the same order; the arithmetic happens on the device.
Results differ from :func:`RobustART.noise.corrupt` by at most one grey level on 99.9 % of values, mostly not at all.

Not here, because their work is one after another or a library's: ``glass_blur``, ``jpeg_compression`` and ``spatter``.
``elastic_transform`` makes its affine map on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from RobustART.core.determinism import exact_arithmetic
from RobustART.errors import ConfigError
from RobustART.noise.corruptions import CORRUPTIONS, SMALLEST, check_severity
from RobustART.noise.corruptions.device import blur, digital, noise, weather
from RobustART.noise.corruptions.device.arrays import Generators
from RobustART.noise.pictures import kind_of
from RobustART.registry import Registry

BATCHED: Registry[Callable[[Tensor, int, Generators], Tensor]] = Registry("batched corruption")
"""Names to functions (images uint8 (N, H, W, 3), severity, rngs) -> images, new, on the same device."""

for _function in (
    noise.gaussian_noise, noise.shot_noise, noise.impulse_noise, blur.defocus_blur, blur.motion_blur, blur.zoom_blur,
    weather.snow, weather.frost, weather.fog, weather.brightness, digital.contrast, digital.elastic_transform,
    digital.pixelate, noise.speckle_noise, blur.gaussian_blur, digital.saturate,
):  # fmt: skip
    BATCHED.add(_function.__name__, _function)


def corrupt_batch(
    images: Tensor,
    corruption: str,
    severity: int = 1,
    *,
    rngs: Sequence[np.random.Generator],
    device: torch.device | str | None = None,
) -> Tensor:
    """Returns corrupted copies of images, uint8 (N, H, W, 3), on the device.

    Args:
        images: uint8 (N, H, W, 3), H and W at least 32, on any device; not changed.
        corruption: a name in :data:`BATCHED`.
        severity: 1 (weakest) to 5; 0 returns a copy.
        rngs: a generator for each image; each gives the draws that :func:`RobustART.noise.corrupt` takes from it.
        device: where to work; None is where the images are.

    Raises:
        UnknownNameError: there is no such corruption.
        ConfigError: it is not one of the batched ones, or the images, the severity, the generators or the device cannot be.
    """
    if corruption not in BATCHED:
        CORRUPTIONS[corruption]
        raise ConfigError(
            f"the corruption {corruption!r} is made on the CPU, image by image, by corrupt(); batched are "
            f"{', '.join(BATCHED)}"
        )
    severity = check_severity(severity)
    shape = images.shape if isinstance(images, Tensor) else ()
    if (
        not isinstance(images, Tensor)
        or images.dtype != torch.uint8
        or len(shape) != 4
        or shape[3] != 3
        or not shape[0]
    ):
        raise ConfigError(f"corrupt_batch takes a uint8 tensor (N, H, W, 3), N at least 1, got {kind_of(images)}")
    if min(shape[1:3]) < SMALLEST:
        raise ConfigError(f"{corruption} needs {SMALLEST} x {SMALLEST} pixels or more, got {shape[1]} x {shape[2]}")
    fits = isinstance(rngs, (list, tuple)) and len(rngs) == len(images)
    if not fits or not all(isinstance(rng, np.random.Generator) for rng in rngs):
        raise ConfigError(
            f"rngs must be {len(images)} numpy.random.Generators, one for each image, got {kind_of(rngs)}"
        )
    try:
        here = images.to(device=images.device if device is None else device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"device must be one of torch's that is here, got {device!r}: {error}") from None
    if severity == 0:
        return here.clone()
    with torch.no_grad(), exact_arithmetic():
        return BATCHED[corruption](here.contiguous(), int(severity), rngs)
