"""ImageNet-C's weather: snow, frost, fog, brightness, and the extra spatter (Hendrycks and Dietterich 2019).

Each function takes an image uint8 (H, W, 3), a severity from 1 to 5 and a generator, and returns a new image.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from RobustART.core.imaging import Array, decode, read_bytes
from RobustART.core.optional import require
from RobustART.errors import ConfigError
from RobustART.noise.corruptions import pixels
from RobustART.noise.corruptions.pixels import Floats, three_channels, to_uint8, zoom_positions

SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
"""(mean, deviation, zoom, threshold, radius and sigma of the motion, weight of the image)"""
FROST = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
"""(weight of the image, weight of the frost)"""
FROST_FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
FOG = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
"""(strength, decay of the wibble)"""
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
SPATTER = (
    (0.65, 0.3, 4, 0.69, 0.6, False),
    (0.65, 0.3, 3, 0.68, 0.6, False),
    (0.65, 0.3, 2, 0.68, 0.5, False),
    (0.65, 0.3, 1, 0.65, 1.5, True),
    (0.67, 0.4, 1, 0.65, 1.5, True),
)
"""(mean, deviation, sigma, threshold, strength or sigma of the mask, whether it is mud)"""
WATER, MUD = (175, 238, 238), (63, 42, 20)


def snow_draws(height: int, width: int, severity: int, rng: np.random.Generator) -> Floats:
    """Returns the normal draws that are enlarged to the flakes of an image (height, width)."""
    mean, deviation, zoom = SNOW[severity - 1][:3]
    crop = rng.standard_normal((zoom_positions(height, zoom)[1], zoom_positions(width, zoom)[1]), dtype=np.float32)
    crop *= np.float32(deviation)
    crop += np.float32(mean)
    return crop


def snow(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image whitened, with blown flakes on it.

    Quirks: the flakes are added twice, the second time turned by 180 degrees; they are truncated to uint8 before
    ImageMagick's motion blur (:func:`pixels.motion_blur`), at an angle from -135 to -45 degrees, and rounded after it;
    truncated to uint8.
    """
    cv2 = require("cv2")
    _, _, zoom, threshold, radius, sigma, weight = SNOW[severity - 1]
    height, width = image.shape[:2]
    layer = pixels.enlarge(snow_draws(height, width, severity, rng), height, width, zoom)
    layer[layer < threshold] = 0
    layer *= 255
    flakes = pixels.motion_blur(to_uint8(layer), int(radius), sigma, rng.uniform(-135, -45))
    picture = image.astype(np.float32)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    grey *= 1.5
    grey += 0.5 * 255
    whitened = cv2.max(picture, three_channels(grey))
    snowy = cv2.addWeighted(picture, weight, whitened, 1 - weight, 0)
    snowy += three_channels(cv2.add(flakes, np.ascontiguousarray(flakes[::-1, ::-1]), dtype=cv2.CV_32F))
    return to_uint8(snowy)


def frost_folder() -> Path:
    """Returns the folder of the frost images in the installed ``imagecorruptions-imaug``, which is not imported.

    Raises:
        ConfigError: the folder is missing.
    """
    spec = importlib.util.find_spec("imagecorruptions")
    folders = [] if spec is None else [Path(place) / "frost" for place in spec.submodule_search_locations or ()]
    for folder in folders:
        if all((folder / name).is_file() for name in FROST_FILES):
            return folder
    raise ConfigError(
        f"the corruption frost needs the images {FROST_FILES[0]} to {FROST_FILES[-1]}, which come with a package that is "
        f"{'not installed' if not folders else f'incomplete in {folders[0]}'}: pip install imagecorruptions-imaug"
    )


@functools.cache
def _frost_picture(index: int) -> Array:
    path = frost_folder() / FROST_FILES[index]
    return decode(read_bytes(path), name=str(path))


def _frost_at_least(index: int, height: int, width: int) -> Array:
    """Returns a frost image larger than (height, width); a smaller one is enlarged as far as needed."""
    picture = _frost_picture(index)
    scale = max((height + 1) / picture.shape[0], (width + 1) / picture.shape[1])
    if scale <= 1:
        return picture
    cv2 = require("cv2")
    size = (max(round(picture.shape[1] * scale), width + 1), max(round(picture.shape[0] * scale), height + 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)


@functools.cache
def frost_table(severity: int) -> Array:
    """Returns the grey level for every pair of one of the image (rows) and one of the frost, flat."""
    weight, frost_weight = FROST[severity - 1]
    grey = np.arange(256)
    return to_uint8(weight * grey[:, None] + frost_weight * grey).reshape(-1)


def frost_crop(height: int, width: int, rng: np.random.Generator) -> Array:
    """Returns a random part (height, width) of a random image of frost."""
    texture = _frost_at_least(int(rng.integers(len(FROST_FILES))), height, width)
    top, left = int(rng.integers(texture.shape[0] - height)), int(rng.integers(texture.shape[1] - width))
    return texture[top : top + height, left : left + width]


def frost(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image under a random crop of an image of frost.

    Quirks: the official generator has six images and uses the first five; the crop is taken at their own size, so frost
    does not scale with the image (for an image larger than the frost, which the official one refuses, the frost is
    enlarged); the last row and column of the frost are never used; truncated to uint8.
    """
    pair = image.astype(np.uint16)
    pair <<= 8
    pair |= frost_crop(image.shape[0], image.shape[1], rng)
    return frost_table(severity).take(pair)


def plasma(size: int, decay: float, rng: np.random.Generator) -> Floats:
    """Returns a plasma fractal (size, size) in [0, 1] by the diamond-square algorithm on a torus.

    Quirk: double wibble decay. A wibble of amplitude w is scaled by w once more, so it begins at 100**2 and falls with the
    square of ``decay`` from one grid to the next, half as wide.

    Args:
        size: a power of two.
        decay: of the wibble.
        rng: one uniform number is drawn for each point but the first: for each grid the centres of its squares, then the
            points above them, then those to their left.
    """
    draws = rng.random(size * size - 1, dtype=np.float32)
    draws *= 2
    draws -= 1
    corner, wibble, used = np.zeros((1, 1), np.float32), 100.0, 0
    while len(corner) < size:
        count = corner.size
        noise = draws[used : used + 3 * count].reshape(3, *corner.shape)
        noise *= np.float32(wibble**2 * 4)
        right, below = np.roll(corner, -1, axis=1), np.roll(corner, -1, axis=0)
        centre, above, beside = noise
        centre += corner + right + below + np.roll(right, -1, axis=0)
        centre *= 0.25
        above += centre + np.roll(centre, 1, axis=0) + corner + right
        above *= 0.25
        beside += centre + np.roll(centre, 1, axis=1) + corner + below
        beside *= 0.25
        finer = np.empty((2 * len(corner), 2 * len(corner)), np.float32)
        finer[::2, ::2], finer[1::2, 1::2], finer[::2, 1::2], finer[1::2, ::2] = corner, centre, above, beside
        corner, wibble, used = finer, wibble / decay, used + 3 * count
    corner -= corner.min()
    corner /= corner.max()
    return corner


def plasma_size(height: int, width: int) -> int:
    """Returns the side of the map from which :func:`fog` is cut: 256 for 224 x 224."""
    return 1 << (max(height, width) - 1).bit_length()


def fog(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image under a plasma fractal, scaled back to its old range.

    Quirks: double wibble decay, see :func:`plasma`; the upper left part of a map of 256 x 256, which is normalised before
    it is cut (for other sizes, of the next power of two); a black image stays black; truncated to uint8.
    """
    strength, decay = FOG[severity - 1]
    height, width = image.shape[:2]
    layer = plasma(plasma_size(height, width), decay, rng)[:height, :width]
    top = int(image.max()) / 255
    scale = top / (top + strength)
    foggy = image.astype(np.float32)
    foggy *= np.float32(scale)
    foggy += three_channels(layer * np.float32(255 * strength * scale))
    return to_uint8(foggy)


def brightness(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image with 0.1 to 0.5 added to its value in HSV.

    Quirks: the value is clipped at 1; black has no hue and becomes grey (:func:`pixels.raise_value`); truncated to uint8.
    """
    return pixels.raise_value(image, BRIGHTNESS[severity - 1])


def edge_shading(liquid: NDArray[np.uint8]) -> Floats:
    """Returns the brightness of each point of the water, 0 to 255: embossed distance from the edges of its drops.

    Args:
        liquid: uint8 (H, W), amount of water, 0 where there is no water.
    """
    cv2 = require("cv2")
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    near = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    shade = cv2.filter2D(cv2.equalizeHist(near), cv2.CV_8U, emboss)
    return cv2.blur(shade, (3, 3)).astype(np.float32)


def spatter(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image behind drops of water (severity 1 to 3) or under mud (4 and 5).

    Quirks: the strength of water is relative to its brightest point (without any drop the official generator divides by
    zero; here the image is unchanged); the soft edge of mud ends where it covers less than 0.8; truncated to uint8.
    """
    cv2 = require("cv2")
    mean, deviation, sigma, threshold, strength, mud = SPATTER[severity - 1]
    liquid = rng.standard_normal(image.shape[:2], dtype=np.float32)
    liquid *= np.float32(deviation)
    liquid += np.float32(mean)
    liquid = pixels.gaussian_blur(liquid, sigma)
    if mud:
        mask = pixels.gaussian_blur((liquid > threshold).astype(np.float32), strength)
        mask[mask < 0.8] = 0
        colours, rest = MUD, 1 - mask
    else:
        liquid[liquid < threshold] = 0
        drops = (liquid * 255).astype(np.uint8)
        mask = drops * edge_shading(drops)
        top = float(mask.max())
        mask *= np.float32(strength / top if top else 0)
        colours, rest = WATER, np.float32(1)
    planes = [plane * rest + mask * colour for plane, colour in zip(cv2.split(image), colours, strict=True)]
    return to_uint8(cv2.merge(planes))
