"""ImageNet-C's blurs: defocus, glass, motion, zoom and Gaussian blur (Hendrycks and Dietterich 2019).

Each function takes an image uint8 (H, W, 3), a severity from 1 to 5 and a generator, and returns a new image. Lengths are
in pixels and do not scale with the picture: the official generator knows 224 x 224 only.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from RobustART.core.imaging import Array
from RobustART.core.optional import require
from RobustART.noise.corruptions import pixels
from RobustART.noise.corruptions.pixels import NUDGE, Floats, scratch, to_uint8, zoom_positions

DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
"""(radius of the disk, sigma of its smoothing)"""
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
"""(sigma, largest shift, rounds)"""
MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
"""(radius, sigma)"""
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
"""(end, step) of the factors, from 1"""
GAUSSIAN = (1, 2, 3, 4, 6)
"""sigma"""


@functools.cache
def disk_kernel(severity: int) -> tuple[Floats, float]:
    """Returns the kernel, and the nudge that cuts flat areas off as float64 would: down if the kernel's sum is below 1."""
    cv2 = require("cv2")
    radius, sigma = DEFOCUS[severity - 1]
    half, size = (8, 3) if radius <= 8 else (radius, 5)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    smooth: Floats = cv2.GaussianBlur(disk, ksize=(size, size), sigmaX=sigma)
    return smooth, NUDGE if smooth.sum(dtype=np.float64) >= 1 else -NUDGE


def defocus_blur(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image filtered by a smoothed disk of radius 3 to 10.

    Quirks: outside the picture it is mirrored without its edge pixel (OpenCV's default); the disks of radius 8 and 10 are
    smoothed on a grid that ends where they do, so they brighten by 1 %; the others' sums are a rounding error below 1, so
    flat areas lose a grey level as the result is cut off to uint8.
    """
    cv2 = require("cv2")
    disk, nudge = disk_kernel(severity)
    return to_uint8(cv2.filter2D(image.astype(np.float32), -1, disk), nudge)


def _glass_sources(height: int, width: int, shift: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Returns for each pixel the flat index of the pixel that one round of :func:`glass_blur` puts there.

    A round visits pixels one after another, each taking the value that another place has at that moment: a pixel visited
    before has its new value there, any other its old one. So each pixel points to a new or an old value, and following
    all pointers at once, twice as far each time, ends at the old ones.
    """
    count = height * width
    span = 2 * shift
    down, right = np.divmod(np.arange(span * span), span)
    moves = (down - shift) * width + right - shift
    move = moves.take(rng.integers(0, span * span, (height - span, width - span), dtype=np.uint8))
    inside = (slice(shift + 1, height - shift + 1), slice(shift + 1, width - shift + 1))
    pointer = np.empty(2 * count, np.intp)  # places below ``count`` are new values, those from there on the old ones
    pointer[count:] = np.arange(count, 2 * count)
    pointer[:count] = pointer[count:]
    move -= (move > 0) * count  # places further on have been visited before
    pointer[:count].reshape(height, width)[inside] += move
    left = np.flatnonzero(pointer[:count] < count)
    while len(left):
        following = pointer[pointer[left]]
        pointer[left] = following
        left = left[following < count]
    return pointer[:count] - count


def glass_blur(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image blurred, its pixels moved about, and blurred again.

    Quirks of the official loop over the pixels, from the last row and column upwards:

    * copy, not swap: the two sides of its exchange are views of one array, so the pixel takes its neighbour's value and the
      neighbour keeps it;
    * shifts are drawn from -d to d - 1, so that pixels move to the lower right on average;
    * rows and columns up to d, and the last d - 1, are not visited;
    * cut off to uint8 before the pixels move and again at the end.
    """
    sigma, shift, rounds = GLASS[severity - 1]
    colours = to_uint8(pixels.gaussian_blur(image, sigma), NUDGE).reshape(-1, 3)
    for _ in range(rounds):
        colours = colours.take(_glass_sources(image.shape[0], image.shape[1], shift, rng), axis=0)
    return to_uint8(pixels.gaussian_blur(colours.reshape(image.shape), sigma), NUDGE)


def motion_blur(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image blurred along a line at a random angle from -45 to 45 degrees.

    Quirk: ImageMagick's half-Gaussian kernel, which moves the picture; see :func:`pixels.motion_blur`.
    """
    radius, sigma = MOTION[severity - 1]
    return pixels.motion_blur(image, radius, sigma, rng.uniform(-45, 45))


@functools.lru_cache(maxsize=20)
def _zoom_operators(length: int, severity: int) -> tuple[Any, Any]:
    """Returns the zooms of one axis by all factors as sparse matrices: on top of each other, and side by side.

    Those side by side are divided by the number of pictures that are averaged.
    """
    from scipy.sparse import csr_matrix, hstack, vstack

    end, step = ZOOM[severity - 1]
    zooms = []
    for factor in np.arange(1, end, step):
        start, _, lower, exact = zoom_positions(length, float(factor))
        fraction = exact.astype(np.float32)
        rows = np.tile(np.arange(length), 2)
        columns = np.concatenate((lower, lower + 1)) + start
        values = np.concatenate((1 - fraction, fraction)).astype(np.float32)
        zooms.append(csr_matrix((values, (rows, columns)), shape=(length, length)))
    side_by_side = hstack(zooms, format="csr")
    side_by_side.data /= np.float32(len(zooms) + 1)
    return vstack(zooms, format="csr"), side_by_side


def zoom_blur(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the mean of the image and its enlargements by up to 1.11 to 1.30.

    A zoom is linear and works on rows and columns apart, so all of them are two products with sparse matrices.

    Quirks: the factors begin at 1, so the image itself counts twice; ``np.arange`` with floats reaches its end, 1.11, at
    severity 1 but at no other; the crop before each enlargement is whole pixels, so that the picture moves a little to and
    fro; cut off to uint8. A picture that is not square is cropped on each axis by its own length.
    """
    cv2 = require("cv2")
    height, width = image.shape[:2]
    down, across = _zoom_operators(height, severity)[0], _zoom_operators(width, severity)[1]
    picture = image.astype(np.float32)
    count = down.shape[0] // height
    tall = (down @ picture.reshape(height, -1)).reshape(count, height, width, 3)
    turned = scratch((count, width, height, 3))
    for enlarged, place in zip(tall, turned, strict=True):
        cv2.transpose(enlarged, place)
    total = (across @ turned.reshape(count * width, -1)).reshape(width, height, 3)
    blurred = cv2.transpose(total)
    cv2.scaleAdd(picture, 1 / (count + 1), blurred, blurred)
    return to_uint8(blurred, NUDGE)


def gaussian_blur(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image blurred by a Gaussian of sigma 1 to 6.

    Quirk: cut off to uint8.
    """
    return to_uint8(pixels.gaussian_blur(image, GAUSSIAN[severity - 1]), NUDGE)
