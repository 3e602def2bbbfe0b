"""ImageNet-C's weather in batches, except the extra spatter, which needs OpenCV."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from RobustART.noise.corruptions import pixels, weather
from RobustART.noise.corruptions.device.arrays import (
    Generators,
    looked_up,
    motion_blur,
    on_device,
    stretched,
    to_uint8,
)


def snow(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`weather.snow` of each image."""
    _, _, zoom, threshold, radius, sigma, weight = weather.SNOW[severity - 1]
    height, width = images.shape[1:3]
    draws = on_device(np.stack([weather.snow_draws(height, width, severity, rng) for rng in rngs]), images)
    angles = [rng.uniform(-135, -45) for rng in rngs]
    layer = stretched(stretched(draws, 2, zoom, 0, width), 1, zoom, 0, height)
    layer = layer.masked_fill_(layer < threshold, 0).mul_(255)
    flakes = motion_blur(to_uint8(layer), int(radius), sigma, angles).float()
    picture = images.float()
    red, green, blue = picture.unbind(3)
    grey = (red * 0.299 + green * 0.587 + blue * 0.114) * 1.5 + 0.5 * 255
    snowy = picture * weight + torch.maximum(picture, grey[..., None]) * (1 - weight)
    return to_uint8(snowy + (flakes + flakes.flip(1, 2))[..., None])


def frost(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`weather.frost` of each image."""
    height, width = images.shape[1:3]
    texture = on_device(np.stack([weather.frost_crop(height, width, rng) for rng in rngs]), images)
    return looked_up(weather.frost_table(severity), images.long() * 256 + texture)


def _plasma(draws: Tensor, size: int, decay: float) -> Tensor:
    """Returns plasma fractals (N, size, size) of draws (N, size**2 - 1), see :func:`weather.plasma`."""
    corner, wibble, used = draws.new_zeros(len(draws), 1, 1), 100.0, 0
    while corner.shape[1] < size:
        side, count = corner.shape[1], corner[0].numel()
        noise = draws[:, used : used + 3 * count].view(-1, 3, side, side) * (wibble**2 * 4)
        right, below = corner.roll(-1, 2), corner.roll(-1, 1)
        centre = (noise[:, 0] + (corner + right + below + right.roll(-1, 1))) * 0.25
        above = (noise[:, 1] + (centre + centre.roll(1, 1) + corner + right)) * 0.25
        beside = (noise[:, 2] + (centre + centre.roll(1, 2) + corner + below)) * 0.25
        upper, lower = torch.stack((corner, above), 3), torch.stack((beside, centre), 3)
        corner = torch.stack((upper, lower), 2).view(-1, 2 * side, 2 * side)
        wibble, used = wibble / decay, used + 3 * count
    corner = corner - corner.amin((1, 2), keepdim=True)
    return corner / corner.amax((1, 2), keepdim=True)


def fog(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`weather.fog` of each image."""
    strength, decay = weather.FOG[severity - 1]
    height, width = images.shape[1:3]
    size = weather.plasma_size(height, width)
    draws = on_device(np.stack([rng.random(size * size - 1, dtype=np.float32) for rng in rngs]), images)
    layer = _plasma(draws * 2 - 1, size, decay)[:, :height, :width]
    top = images.flatten(1).amax(1).double() / 255
    scale = (top / (top + strength)).view(-1, 1, 1, 1)
    return to_uint8(images * scale.float() + layer[..., None] * (255 * strength * scale).float())


def brightness(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`weather.brightness` of each image."""
    table = pixels.value_table(weather.BRIGHTNESS[severity - 1], 0)
    return looked_up(table, images.amax(3, keepdim=True).long() * 256 + images)
