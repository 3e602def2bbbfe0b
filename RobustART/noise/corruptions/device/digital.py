"""ImageNet-C's digital corruptions in batches, except JPEG, which needs its encoder."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from RobustART.noise.corruptions import digital
from RobustART.noise.corruptions.device.arrays import (
    Generators,
    looked_up,
    on_device,
    to_images,
    to_planes,
    to_uint8,
)


def contrast(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`digital.contrast` of each image."""
    factor, (height, width) = digital.CONTRAST[severity - 1], images.shape[1:3]
    means = images.sum((1, 2), dtype=torch.int64).double() / (255 * height * width)
    grey = torch.arange(256, device=images.device, dtype=torch.float64)[:, None] / 255.0
    tables = to_uint8(((grey - means[:, None]) * factor + means[:, None]) * 255)
    return tables.gather(1, images.flatten(1, 2).long()).view_as(images)


@functools.lru_cache(maxsize=32)
def _smoothing(length: int, sigma: float) -> NDArray[np.float32]:
    """Returns the matrix (length, length) of the Gaussian filter whose response is :func:`digital.gaussian_response`."""
    from scipy.fft import dct, idct

    spectrum = dct(np.eye(length), axis=0, norm="ortho") * digital.gaussian_response(length, sigma)[:, None]
    return idct(spectrum, axis=0, norm="ortho").astype(np.float32)


def _smooth_fields(draws: NDArray[np.float32], sigma: float, strength: float, images: Tensor) -> Tensor:
    """Returns uniform draws from 0 to 1, (N, H, W), as smooth fields from -1 to 1 times ``strength``, on the device."""
    height, width = draws.shape[1:]
    down, across = _smoothing(height, sigma), _smoothing(width, sigma)
    fields = on_device(down, images) @ (on_device(draws, images) * 2 - 1) @ on_device(across, images).T
    return fields * strength


def _mirrored(index: Tensor, length: int) -> Tensor:
    """Returns indices outside of 0 to length - 1 mirrored at the edges, edge pixels included."""
    index = index.remainder(2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


def elastic_transform(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`digital.elastic_transform` of each image; its affine map is made on the CPU, by OpenCV."""
    height, width = images.shape[1:3]
    strength, sigma, _ = digital.elastic_lengths(height, width, severity)
    affine, draws = [], []
    for image, rng in zip(images.cpu().numpy(), rngs, strict=True):
        affine.append(digital.affinely_bent(image, severity, rng))
        draws.append([rng.random((height, width), dtype=np.float32) for _ in range(2)])
    bent = on_device(np.stack(affine), images)
    both = np.array(draws).swapaxes(0, 1).reshape(-1, height, width)
    right, down = _smooth_fields(both, sigma, strength, images).chunk(2)
    y = down + torch.arange(height, device=images.device)[:, None]
    x = right + torch.arange(width, device=images.device)
    low_y, low_x = y.floor(), x.floor()
    number = torch.arange(len(images), device=images.device)[:, None, None]
    rows = [_mirrored(low_y.long() + i, height) for i in range(2)]
    columns = [_mirrored(low_x.long() + i, width) for i in range(2)]
    part = (x - low_x)[..., None]
    upper, lower = (torch.lerp(bent[number, row, columns[0]], bent[number, row, columns[1]], part) for row in rows)
    return to_uint8(torch.lerp(upper, lower, (y - low_y)[..., None]))


@functools.lru_cache(maxsize=64)
def _boxes(length: int, resized: int) -> NDArray[Any]:
    """Returns the matrix (length, resized) of pillow's box filter, as pillow itself applies it to unit vectors."""
    unit = Image.fromarray(np.eye(length, dtype=np.float32))
    return np.array(unit.resize((resized, length), Image.Resampling.BOX))


def _resized(planes: Tensor, height: int, width: int) -> Tensor:
    """Returns planes resized by pillow's box filter: first the rows, then the columns, each rounded to grey levels."""
    wide = (planes @ on_device(_boxes(planes.shape[3], width), planes)).add_(0.5).floor_()
    return (on_device(_boxes(planes.shape[2], height).T, planes) @ wide).add_(0.5).floor_()


def pixelate(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`digital.pixelate` of each image."""
    (height, width), part = images.shape[1:3], digital.PIXELATE[severity - 1]
    small = _resized(to_planes(images), int(height * part), int(width * part))
    return to_images(to_uint8(_resized(small, height, width)))


def saturate(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`digital.saturate` of each image."""
    ratio_table, red_table = digital.saturation_tables(severity)
    value, least = images.amax(3, keepdim=True), images.amin(3, keepdim=True)
    ratio = looked_up(ratio_table, value.long() * 256 + least)
    vivid = to_uint8(value - (value - images) * ratio)
    if digital.SATURATE[severity - 1][1]:
        red = looked_up(red_table, value).expand_as(vivid).clone()
        red[..., 0] = vivid[..., 0]
        vivid = torch.where(value == least, red, vivid)
    return vivid
