"""Helpers of corruptions and perturbations: conversion to uint8, Gaussian and motion blur, zooms, brightness."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.core.imaging import Array
from RobustART.core.optional import require

Floats = NDArray[np.float32]


NUDGE = 1e-3
"""Grey levels added before a blur in float32 is truncated, so that flat areas keep their value as in exact arithmetic."""


_memory = threading.local()


def scratch(shape: tuple[int, ...]) -> Floats:
    """Returns uninitialised float32 memory that the next call in this thread reuses.

    Allocating large arrays for every image costs more in page faults than in arithmetic.
    """
    size = math.prod(shape)
    if getattr(_memory, "floats", np.empty(0)).size < size:
        _memory.floats = np.empty(size, np.float32)
    return _memory.floats[:size].reshape(shape)


def to_uint8(values: NDArray[Any], nudge: float = 0) -> Array:
    """Returns grey levels clipped to [0, 255] and truncated, as ``np.uint8`` does; ``values`` is overwritten.

    Quirk: the official generator truncates instead of rounding, so its images are half a grey level darker.
    """
    if nudge:
        values += values.dtype.type(nudge)
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def three_channels(plane: NDArray[Any]) -> NDArray[Any]:
    """Returns a plane (H, W) as three equal channels (H, W, 3)."""
    return require("cv2").merge((plane, plane, plane))


@functools.lru_cache(maxsize=64)
def gaussian_kernel(sigma: float, truncate: float = 4.0) -> Floats:
    """Returns the taps of ``scipy.ndimage.gaussian_filter1d``, truncated at ``truncate`` standard deviations."""
    radius = int(truncate * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


def gaussian_blur(image: NDArray[Any], sigma: float) -> Floats:
    """Blurs as ``skimage.filters.gaussian`` does by default: truncated at 4 sigma, the edge pixel repeated outside.

    Args:
        image: float32 or uint8, (H, W) or (H, W, 3); channels are blurred one by one.
        sigma: standard deviation, in pixels.
    """
    cv2 = require("cv2")
    kernel = gaussian_kernel(sigma)
    return cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


@functools.lru_cache(maxsize=16)
def motion_kernel(radius: int, sigma: float) -> tuple[float, ...]:
    """Returns the ``2 * radius + 1`` taps of ImageMagick's half-Gaussian."""
    taps = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    return tuple(float(tap) for tap in taps / taps.sum())


def motion_offsets(count: int, angle: float) -> list[tuple[int, int]]:
    """Returns the offset to the right and down, in pixels, at which each of ``count`` taps of a motion blur is read."""
    step_x, step_y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [(math.ceil(i * step_x - 0.5), math.ceil(i * step_y - 0.5)) for i in range(count)]


def motion_blur(
    image: NDArray[Any], radius: int, sigma: float, angle: float, dtype: type[np.floating[Any]] = np.float32
) -> Array:
    """Returns the image blurred along a line as ImageMagick's ``MotionBlurImage`` does it.

    Quirks of ImageMagick, which the official generator calls through Wand:

    * half-Gaussian kernel: ``2 * radius + 1`` taps fall off from the pixel itself to one side only, so the image moves;
    * whole pixels: tap i is read ``ceil(i * cos - 0.5), ceil(i * sin - 0.5)`` pixels away, without interpolation;
    * outside the image the nearest edge pixel is read;
    * the sum is rounded, not truncated.

    Args:
        image: uint8 (H, W) or (H, W, 3); not changed.
        radius: of the kernel, in pixels.
        sigma: standard deviation of the half-Gaussian, in pixels.
        angle: direction of the line in degrees, from the x axis towards the y axis, which points down.
        dtype: type of the sums; in float32 one value in 100,000 is rounded the other way.
    """
    cv2 = require("cv2")
    height, width = image.shape[:2]
    kernel = motion_kernel(radius, sigma)
    offsets = motion_offsets(len(kernel), angle)
    last_x, last_y = offsets[-1]
    left, top = max(-last_x, 0), max(-last_y, 0)
    padded = cv2.copyMakeBorder(image.astype(dtype), top, max(last_y, 0), left, max(last_x, 0), cv2.BORDER_REPLICATE)
    total = np.full(image.shape, 0.5, dtype)
    for tap, (x, y) in zip(kernel, offsets, strict=True):
        cv2.scaleAdd(padded[top + y : top + y + height, left + x : left + x + width], tap, total, total)
    return to_uint8(total)


@functools.lru_cache(maxsize=256)
def zoom_positions(length: int, factor: float) -> tuple[int, int, NDArray[np.intp], NDArray[np.floating[Any]]]:
    """Returns how the official ``clipped_zoom`` reads one axis: start and size of its crop, lower neighbours, fractions.

    It crops the central ``ceil(length / factor)`` pixels, enlarges them by ``scipy.ndimage.zoom`` of order 1, whose first
    and last samples lie on the first and last pixels, and trims both ends alike. Output i is
    ``crop[lower[i]] * (1 - fraction[i]) + crop[lower[i] + 1] * fraction[i]``.
    """
    size = math.ceil(length / factor)
    enlarged = round(size * factor)
    trim = (enlarged - length) // 2
    positions = (np.arange(length) + trim) * ((size - 1) / (enlarged - 1))
    lower = np.minimum(positions.astype(np.intp), size - 2)
    return (length - size) // 2, size, lower, positions - lower


def enlarge(crop: NDArray[Any], height: int, width: int, zoom: float) -> NDArray[Any]:
    """Returns a crop, whose size is that of :func:`zoom_positions`, enlarged to (height, width), in its own float type."""
    _, _, low_y, part_y = zoom_positions(height, zoom)
    _, _, low_x, part_x = zoom_positions(width, zoom)
    part_y, part_x = part_y.astype(crop.dtype), part_x.astype(crop.dtype)
    wide = crop[:, low_x] + np.diff(crop)[:, low_x] * part_x
    return wide[low_y] + np.diff(wide, axis=0)[low_y] * part_y[:, None]


@functools.lru_cache(maxsize=64)
def value_table(amount: float, nudge: float) -> Array:
    """Returns the grey level for every pair of a pixel's brightest channel (rows) and any of its channels, flat."""
    value = np.arange(256)[:, None] / 255.0
    raised = np.clip(value + amount, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        saturation = np.where(value > 0, (value - np.arange(256) / 255.0) / value, 0)
    return to_uint8(raised * (1 - saturation) * 255, nudge).reshape(-1)


def raise_value(image: Array, amount: float, nudge: float = 0) -> Array:
    """Returns the image with ``amount`` added to its value in HSV, which is clipped at 0 and 1, and truncated to uint8.

    With hue and saturation unchanged, all channels of a pixel are scaled by the ratio of the new value to the old, so each
    depends on two numbers, the channel and the brightest of the three. Black has no hue and becomes grey.

    Args:
        image: uint8 (H, W, 3); not changed.
        amount: from -1 to 1.
        nudge: grey levels added before the result is truncated.
    """
    cv2 = require("cv2")
    table = value_table(amount, nudge)
    planes = cv2.split(image)
    row = cv2.max(cv2.max(planes[0], planes[1]), planes[2]).astype(np.uint16) << 8
    return cv2.merge([table.take(row | plane) for plane in planes])
