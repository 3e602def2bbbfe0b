"""ImageNet-P's 14 perturbations: sequences of frames from one image (Hendrycks and Dietterich 2019, section 4.3).

Each function takes an image whose shorter side is 8/7 of the frame (256 for 224), the side of the frame and a generator,
and yields the frames, uint8 (size, size, 3): 31 of them, 41 of ``translate``. As in the official generator
(hendrycks/robustness, ``make_imagenet_p.py``), which also gives the parameters, grey levels are truncated, not rounded, and
frames are black outside a moved image. Noise has three levels; the first frame of noise and of zoom blur is clean.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from RobustART.core.imaging import Array, center_crop, resize_shorter
from RobustART.core.optional import require
from RobustART.core.options import convert
from RobustART.core.ranges import Range
from RobustART.noise.corruptions import pixels
from RobustART.noise.corruptions.weather import edge_shading
from RobustART.noise.kinds import check_array, check_generator
from RobustART.noise.system import resized_side
from RobustART.registry import Registry

Floats = NDArray[np.float64]
Perturbation = Callable[[Array, int, np.random.Generator], Iterator[Array]]
FRAMES = 31
"""Number of frames of every perturbation except ``translate``."""
TRANSLATIONS = 41
"""Number of frames of ``translate``."""
SMALLEST = 8
"""Least side of images and frames, in pixels."""

PERTURBATIONS: Registry[Perturbation] = Registry("perturbation")
"""Names to functions (image, size, rng) -> frames; noise also as ``{name}_2`` and ``{name}_3``."""


def perturb(image: Array, name: str, *, size: int = 224, rng: np.random.Generator | None = None) -> Array:
    """Returns a sequence of ImageNet-P made from an image, uint8 (T, size, size, 3).

    Args:
        image: uint8 (H, W, 3), H and W at least 8; its shorter side is resized to 8/7 of ``size`` (bilinear) first.
        name: in :data:`PERTURBATIONS`, such as ``rotate``, ``shot_noise`` or ``shot_noise_3``.
        size: side of the frames in pixels.
        rng: generator of the noise; None for a new one with seed 0.

    Raises:
        UnknownNameError: there is no such perturbation.
        ConfigError: the image or the size is invalid.
    """
    function = PERTURBATIONS[name]
    check_array(image, "a perturbation", smallest=SMALLEST)
    rng = check_generator(rng)
    size = convert(size, Annotated[int, Range(SMALLEST)], "the frames' size")
    image = resize_shorter(image, resized_side(size), "bilinear")
    return np.stack(list(function(image, size, rng)))


def _cut(values: Floats) -> Array:
    """Returns values in [0, 1] as uint8, truncated to grey levels."""
    return (255 * values.clip(0, 1)).astype(np.uint8)


def _noise(
    image: Array, size: int, rng: np.random.Generator, *, draw: Callable[[Floats, np.random.Generator], Floats]
) -> Iterator[Array]:
    clean = center_crop(image, size)
    yield clean
    values = clean / 255.0
    for _ in range(FRAMES - 1):
        yield _cut(draw(values, rng))


def _gaussian(values: Floats, rng: np.random.Generator, *, sigma: float) -> Floats:
    return values + rng.normal(0, sigma, values.shape)


def _shot(values: Floats, rng: np.random.Generator, *, photons: float) -> Floats:
    return rng.poisson(values * photons) / photons


def _speckle(values: Floats, rng: np.random.Generator, *, sigma: float) -> Floats:
    return values + values * rng.normal(0, sigma, values.shape)


for _level, (_sigma, _photons, _ratio) in enumerate(((0.03, 300, 0.05), (0.05, 120, 0.10), (0.08, 60, 0.15)), 1):
    for _name, _draw in (
        ("gaussian_noise", functools.partial(_gaussian, sigma=_sigma)),
        ("shot_noise", functools.partial(_shot, photons=_photons)),
        ("speckle_noise", functools.partial(_speckle, sigma=_ratio)),
    ):
        PERTURBATIONS.add(_name if _level == 1 else f"{_name}_{_level}", functools.partial(_noise, draw=_draw))


@PERTURBATIONS.register("motion_blur")
def _motion(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    clean = center_crop(image, size)
    for i in range(FRAMES):
        yield pixels.motion_blur(clean, 10, 3, (i - 30) * 4, np.float64)


def _affine(image: Array, *, angle: float = 0, right: float = 0, scale: float = 1, shear: float = 0) -> Array:
    """Returns the image rotated, moved, scaled and sheared about its centre, black outside.

    The matrix is that of torchvision in 2018, which the generator used: its centre is half a pixel further, and its
    shear also stretches by 1/cos.
    """
    height, width = image.shape[:2]
    middle_x, middle_y = width / 2 + 0.5, height / 2 + 0.5
    turn, lean = math.radians(angle), math.radians(shear)
    factor = 1 / (scale * math.cos(lean))
    a, b = factor * math.cos(turn + lean), factor * math.sin(turn + lean)
    c, d = -factor * math.sin(turn), factor * math.cos(turn)
    x, y = middle_x + right, middle_y
    matrix = (a, b, middle_x - a * x - b * y, c, d, middle_y - c * x - d * y)
    moved = not (angle or shear) and scale == 1
    method = Image.Resampling.NEAREST if moved else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(image).transform((width, height), Image.Transform.AFFINE, matrix, method))


@PERTURBATIONS.register("zoom_blur")
def _zoom(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    clean = center_crop(image, size)
    yield clean
    total = clean / 255.0
    for i in range(1, FRAMES):
        total = total + center_crop(_affine(image, scale=1 + 0.004 * i), size) / 255.0
        yield _cut(total / (i + 1) + 1e-9)


@PERTURBATIONS.register("snow")
def _snow(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    clean = center_crop(image, size) / 255.0
    flakes = rng.normal(0.05, 0.3, (size, size))
    top, kept, _, _ = pixels.zoom_positions(size, 3)
    layer = pixels.enlarge(flakes[top : top + kept, top : top + kept], size, size, 3)
    layer = _cut(np.where(layer < 0.5, 0, layer))
    red, green, blue = np.moveaxis(clean, 2, 0)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue)[..., None]
    pale = 0.85 * clean + 0.15 * np.maximum(clean, grey * 1.5 + 0.5)
    for i in range(FRAMES):
        falling = pixels.motion_blur(layer, 14, 4, i * 4 - 150, np.float64) / 255.0
        yield _cut(pale + (falling + np.rot90(falling, 2))[..., None])


@PERTURBATIONS.register("brightness")
def _brightness(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    clean = center_crop(image, size)
    for i in range(FRAMES):
        yield pixels.raise_value(clean, (i - 15) * 2 / 100, 255e-9)


@PERTURBATIONS.register("translate")
def _translate(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    for i in range(TRANSLATIONS):
        yield center_crop(_affine(image, right=i - 20), size)


@PERTURBATIONS.register("rotate")
def _rotate(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    for i in range(FRAMES):
        yield center_crop(_affine(image, angle=i - 15), size)


@PERTURBATIONS.register("scale")
def _scale(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    for i in range(FRAMES):
        yield center_crop(_affine(image, scale=(i * 2.5 + 40) / 100), size)


@PERTURBATIONS.register("shear")
def _shear(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    for i in range(FRAMES):
        yield center_crop(_affine(image, shear=i - 15), size)


def _product(*matrices: Floats) -> Floats:
    """Returns the product of small matrices in a fixed order of sums, which a BLAS does not promise."""
    return functools.reduce(lambda left, right: (left[:, :, None] * right).sum(axis=1), matrices)


@PERTURBATIONS.register("tilt")
def _tilt(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yields the image as a plane seen from one diagonal away, rotated about both axes by the same angle.

    As in the generator the plane is one pixel behind its centre of rotation, so the middle frame is slightly smaller.
    """
    cv2 = require("cv2")
    height, width = image.shape[:2]
    distance = math.hypot(width, height)
    to_plane = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1], [0, 0, 1]])
    away = np.eye(4)
    away[2, 3] = distance
    to_image = np.array([[distance, 0, width / 2, 0], [0, distance, height / 2, 0], [0, 0, 1, 0]])
    for i in range(FRAMES):
        sine, cosine = math.sin(math.radians(i - 15)), math.cos(math.radians(i - 15))
        lean = np.array([[1, 0, 0, 0], [0, cosine, -sine, 0], [0, sine, cosine, 0], [0, 0, 0, 1]])
        aside = np.array([[cosine, 0, -sine, 0], [0, 1, 0, 0], [sine, 0, cosine, 0], [0, 0, 0, 1]])
        matrix = _product(to_image, away, lean, aside, to_plane)
        yield center_crop(np.asarray(cv2.warpPerspective(image, matrix, (width, height)), np.uint8), size)


@PERTURBATIONS.register("gaussian_blur")
def _gaussian_blur(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    clean = center_crop(image, size) / 255.0
    for i in range(FRAMES):
        sigma = 0.25 + 0.035 * i
        yield _cut(ndimage.gaussian_filter(clean, (sigma, sigma, 0), mode="nearest", truncate=6) + 1e-9)


@PERTURBATIONS.register("spatter")
def _spatter(image: Array, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yields drops of water that run down: each frame shades the drops' edges, then the layer flows along its columns."""
    clean = center_crop(image, size) / 255.0
    layer = ndimage.gaussian_filter(rng.normal(0.65, 0.27, (size, size)), 3.7, mode="nearest")
    layer = np.where(layer < 0.69, 0, layer)
    water = np.array([175, 238, 238]) / 255.0
    for _ in range(FRAMES):
        drops = (layer * 255).astype(np.uint8)
        mask = drops.astype(np.float64) * edge_shading(drops)
        if mask.max() > 0:
            mask *= 0.6 / mask.max()
        yield _cut(clean + mask[..., None] * water)
        flowing = np.pad(layer, ((2, 1), (0, 0)))
        layer = 0.05 * flowing[3:] + 0.1 * flowing[2:-1] + 0.15 * flowing[1:-2] + 0.7 * flowing[:-3]
