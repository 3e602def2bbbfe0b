"""What the batched corruptions share: the way to the device and back to uint8, filters, motion, enlarging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from RobustART.noise.corruptions import pixels

Generators = Sequence[np.random.Generator]
"""One for each image."""


def on_device(array: NDArray[Any], like: Tensor) -> Tensor:
    """Returns a numpy array as a tensor on the device of ``like``."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)


def to_uint8(values: Tensor, nudge: float = 0) -> Tensor:
    """Returns grey levels clipped to [0, 255] and cut off below, see :func:`pixels.to_uint8`; ``values`` is overwritten."""
    if nudge:
        values += nudge
    return values.clamp_(0, 255).to(torch.uint8)


def looked_up(table: NDArray[Any], index: Tensor) -> Tensor:
    """Returns the entries of a flat table at integer positions of any shape."""
    return on_device(table, index)[index.long()]


def to_planes(images: Tensor) -> Tensor:
    """Returns images (N, H, W, 3) as float32 planes (N, 3, H, W)."""
    return images.permute(0, 3, 1, 2).float().contiguous()


def to_pictures(planes: Tensor) -> Tensor:
    """Returns planes (N, 3, H, W) as images (N, H, W, 3)."""
    return planes.permute(0, 2, 3, 1).contiguous()


def filtered(planes: Tensor, kernel: NDArray[Any], mode: str) -> Tensor:
    """Returns planes (N, C, H, W) filtered by a kernel (h, w) of odd sizes.

    Args:
        planes: float32.
        kernel: float32.
        mode: of the border, ``reflect`` (without the edge pixel) or ``replicate``.
    """
    height, width = kernel.shape
    padded = functional.pad(planes, (width // 2, width // 2, height // 2, height // 2), mode=mode)
    weight = on_device(kernel, planes)[None, None]
    return functional.conv2d(padded.flatten(0, 1)[:, None], weight)[:, 0].unflatten(0, planes.shape[:2])


def gaussian_blur(planes: Tensor, sigma: float) -> Tensor:
    """Returns planes (N, C, H, W) blurred, see :func:`pixels.gaussian_blur`."""
    kernel = pixels.gaussian_kernel(sigma)
    return filtered(filtered(planes, kernel[None], "replicate"), kernel[:, None], "replicate")


def motion_blur(images: Tensor, radius: int, sigma: float, angles: Sequence[float]) -> Tensor:
    """Returns images blurred along lines, each at its own angle, see :func:`pixels.motion_blur`.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        radius: of the kernel, in pixels.
        sigma: of the half-Gaussian, in pixels.
        angles: in degrees, one for each image.
    """
    height, width = images.shape[1:3]
    kernel = pixels.motion_kernel(radius, sigma)
    offsets = on_device(np.array([pixels.motion_offsets(len(kernel), angle) for angle in angles]), images)
    number = torch.arange(len(images), device=images.device)[:, None, None]
    down, right = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    total = torch.full(images.shape, 0.5, device=images.device)
    for i, tap in enumerate(kernel):
        rows = (down + offsets[:, i, 1, None]).clamp_(0, height - 1)
        columns = (right + offsets[:, i, 0, None]).clamp_(0, width - 1)
        total += images[number, rows[:, :, None], columns[:, None, :]] * tap
    return to_uint8(total)


def stretched(values: Tensor, axis: int, zoom: float, start: int, length: int) -> Tensor:
    """Returns one axis enlarged to ``length`` pixels, linearly, see :func:`pixels.zoom_positions`.

    Args:
        values: float32, the whole axis or the crop that is enlarged.
        axis: which one.
        zoom: the factor.
        start: where the crop begins.
        length: of the result.
    """
    _, _, lower, exact = pixels.zoom_positions(length, zoom)
    low = on_device(lower + start, values)
    shape = [1] * values.ndim
    shape[axis] = length
    fraction = on_device(exact.astype(np.float32), values).view(shape)
    first = values.index_select(axis, low)
    return first + (values.index_select(axis, low + 1) - first) * fraction
