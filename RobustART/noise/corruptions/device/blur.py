"""ImageNet-C's blurs in batches, except glass blur, which moves pixels one after another."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from RobustART.noise.corruptions import blur
from RobustART.noise.corruptions.device import arrays
from RobustART.noise.corruptions.device.arrays import Generators, filtered, stretched, to_images, to_planes, to_uint8
from RobustART.noise.corruptions.pixels import NUDGE, zoom_positions


def defocus_blur(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`blur.defocus_blur` of each image."""
    kernel, nudge = blur.disk_kernel(severity)
    return to_images(to_uint8(filtered(to_planes(images), kernel, "reflect"), nudge))


def motion_blur(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`blur.motion_blur` of each image."""
    radius, sigma = blur.MOTION[severity - 1]
    return arrays.motion_blur(images, radius, sigma, [rng.uniform(-45, 45) for rng in rngs])


def zoom_blur(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`blur.zoom_blur` of each image."""
    height, width = images.shape[1:3]
    picture = images.float()
    total = picture.clone()
    end, step = blur.ZOOM[severity - 1]
    factors = [float(factor) for factor in np.arange(1, end, step)]
    for factor in factors:
        tall = stretched(picture, 1, factor, zoom_positions(height, factor)[0], height)
        total += stretched(tall, 2, factor, zoom_positions(width, factor)[0], width)
    return to_uint8(total.div_(len(factors) + 1), NUDGE)


def gaussian_blur(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`blur.gaussian_blur` of each image."""
    blurred: Tensor = arrays.gaussian_blur(to_planes(images), blur.GAUSSIAN[severity - 1])
    return to_images(to_uint8(blurred, NUDGE))
