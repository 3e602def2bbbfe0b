"""ImageNet-C's digital corruptions: contrast, elastic transform, pixelate, JPEG, and the extra saturate.

Each function takes an image uint8 (H, W, 3), a severity from 1 to 5 and a generator, and returns a new image (Hendrycks and
Dietterich 2019).
"""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from RobustART.core.imaging import Array
from RobustART.core.optional import require
from RobustART.noise.corruptions.pixels import Floats, gaussian_kernel, scratch, to_uint8

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
ELASTIC = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
"""(strength, sigma, largest shift of the affine map's points), in units of 244 pixels"""
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)
JPEG = (25, 18, 15, 10, 7)
SATURATE = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))
"""(factor, offset) of the saturation"""


def contrast(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image with its contrast reduced around its mean colour, to 0.4 to 0.05 of its range.

    Quirk: truncated to uint8.
    """
    factor = CONTRAST[severity - 1]
    sums = np.array(require("cv2").sumElems(image)[:3])
    means = sums / (255 * image.shape[0] * image.shape[1])
    table = to_uint8(((np.arange(256)[:, None] / 255.0 - means) * factor + means) * 255)
    return require("cv2").LUT(image, table.reshape(1, 256, 3))


@functools.lru_cache(maxsize=32)
def gaussian_response(length: int, sigma: float) -> NDArray[np.float64]:
    """Returns the factors of the DCT-II coefficients under a Gaussian filter, truncated at 3 sigma, edges mirrored."""
    taps = gaussian_kernel(sigma, 3.0).astype(np.float64)
    radius = len(taps) // 2
    angles = np.pi * np.arange(length)[:, None] * np.arange(1, radius + 1) / length
    return taps[radius] + 2 * (np.cos(angles) * taps[radius + 1 :]).sum(axis=1)


def _smooth_field(height: int, width: int, sigma: float, strength: float, rng: np.random.Generator) -> Floats:
    """Returns uniform draws from -1 to 1, smoothed, times ``strength``, as float32 (height, width)."""
    from scipy.fft import dctn, idctn

    draws = rng.random((height, width), dtype=np.float32)
    draws *= 2
    draws -= 1
    spectrum = dctn(draws, overwrite_x=True)
    spectrum *= (strength * gaussian_response(height, sigma)).astype(np.float32)[:, None]
    spectrum *= gaussian_response(width, sigma).astype(np.float32)
    return idctn(spectrum, overwrite_x=True)


def _displaced(image: Floats, down: Floats, right: Floats) -> Array:
    """Returns the image (H, W, 3) read at shifted places, linearly between pixels, mirrored outside with its edge pixel.

    OpenCV reads the four neighbours; its own interpolation is not used, since it may be limited to 1/32 of a pixel.
    """
    cv2 = require("cv2")
    y = down + np.arange(image.shape[0], dtype=np.float32)[:, None]
    x = right + np.arange(image.shape[1], dtype=np.float32)
    low_y, low_x = np.floor(y), np.floor(x)
    rows, columns = low_y.astype(np.int16), low_x.astype(np.int16)
    memory = scratch((5, *image.shape))
    part = memory[4]
    cv2.merge([x - low_x] * 3, part)
    for i, values in enumerate(memory[:4]):
        place = cv2.merge((columns + np.int16(i % 2), rows + np.int16(i // 2)))
        cv2.remap(image, place, None, cv2.INTER_NEAREST, dst=values, borderMode=cv2.BORDER_REFLECT)
    upper, lower = _between(memory[0], memory[1], part), _between(memory[2], memory[3], part)
    cv2.merge([y - low_y] * 3, part)
    return to_uint8(_between(upper, lower, part))


def _between(first: Floats, second: Floats, part: Floats) -> Floats:
    """Returns ``first + part * (second - first)``, written over ``second``."""
    second -= first
    second *= part
    second += first
    return second


def elastic_lengths(height: int, width: int, severity: int) -> tuple[float, float, float]:
    """Returns strength, sigma and largest shift of :func:`elastic_transform` in pixels of an image."""
    base = 244 * min(height, width) / 224
    strength, sigma, shift = (base * value for value in ELASTIC[severity - 1])
    return strength, sigma, shift


def affinely_bent(image: Array, severity: int, rng: np.random.Generator) -> Floats:
    """Returns the image moved by the random affine map of :func:`elastic_transform`, in float32."""
    cv2 = require("cv2")
    height, width = image.shape[:2]
    shift = elastic_lengths(height, width, severity)[2]
    centre, arm = np.array((width // 2, height // 2)), min(height, width) // 3
    corners = (centre + np.array(((arm, arm), (arm, -arm), (-arm, -arm)))).astype(np.float32)
    moved = corners + rng.uniform(-shift, shift, (3, 2)).astype(np.float32)
    affine = cv2.getAffineTransform(corners, moved)
    return cv2.warpAffine(image.astype(np.float32), affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def elastic_transform(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image bent by a random affine map and then by a smooth random field.

    Quirks: base 244, not 224, for all lengths; the waves of severities 1 and 2 are broad, those of 3 to 5 small; the affine
    map mirrors without the edge pixel, the field with it; truncated to uint8. At other sizes lengths scale with the
    shorter side.
    """
    height, width = image.shape[:2]
    strength, sigma, _ = elastic_lengths(height, width, severity)
    bent = affinely_bent(image, severity, rng)
    right = _smooth_field(height, width, sigma, strength, rng)
    down = _smooth_field(height, width, sigma, strength, rng)
    return _displaced(bent, down, right)


@functools.lru_cache(maxsize=64)
def _sources(small: int, length: int) -> NDArray[np.intp] | None:
    """Returns the pixel that each of ``length`` shows after pillow's box filter; None if OpenCV's nearest ones differ."""
    cv2 = require("cv2")
    ramp = np.arange(small, dtype=np.float32)[None]
    nearest = cv2.resize(ramp, (length, 1), interpolation=cv2.INTER_NEAREST_EXACT)
    boxes = Image.fromarray(ramp).resize((length, 1), Image.Resampling.BOX)
    return np.asarray(boxes)[0].astype(np.intp) if np.array_equal(nearest, np.asarray(boxes)) else None


def pixelate(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image shrunk to 0.6 to 0.25 of its size and enlarged again, both by pillow's box filter.

    Quirk: sizes are truncated, not rounded: 224 becomes 134, 112, 89, 67, 56.
    """
    height, width = image.shape[:2]
    part = PIXELATE[severity - 1]
    small = Image.fromarray(image).resize((int(width * part), int(height * part)), Image.Resampling.BOX)
    rows = _sources(small.height, height)
    if rows is not None and _sources(small.width, width) is not None:
        cv2 = require("cv2")
        wide: Array = cv2.resize(np.asarray(small), (width, small.height), interpolation=cv2.INTER_NEAREST_EXACT)
        return wide.take(rows, axis=0)  # copies whole rows
    return np.array(small.resize((width, height), Image.Resampling.BOX))


def _jpeg_by_pillow(image: Array, quality: int) -> Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer, formats=("JPEG",)))


def _jpeg_by_opencv(image: Array, quality: int) -> Array:
    cv2 = require("cv2")
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@functools.cache
def _jpegs_are_equal(quality: int) -> bool:
    """Returns whether OpenCV's JPEG, which has less overhead, has pillow's pixels in this environment."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (7, 9, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    picture[:, :27] = rng.integers(0, 256, (42, 27, 3))
    return np.array_equal(_jpeg_by_pillow(picture, quality), _jpeg_by_opencv(picture, quality))


def jpeg_compression(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image after pillow's JPEG at quality 25 to 7, with chroma at half resolution.

    Quirk: the published files went through one more JPEG, of quality 85 (option ``jpeg_quality``).
    """
    quality = JPEG[severity - 1]
    return (_jpeg_by_opencv if _jpegs_are_equal(quality) else _jpeg_by_pillow)(image, quality)


@functools.cache
def saturation_tables(severity: int) -> tuple[Floats, Array]:
    """Returns new over old saturation by (brightest, darkest) channel, flat, and a grey pixel's new green and blue."""
    factor, offset = SATURATE[severity - 1]
    grey = np.arange(256) / 255.0
    brightest, darkest = grey[:, None], grey
    with np.errstate(divide="ignore", invalid="ignore"):
        old = np.where(brightest > darkest, (brightest - darkest) / brightest, 0)
        ratio = np.where(old > 0, np.clip(old * factor + offset, 0, 1) / old, 0).astype(np.float32)
    return ratio.reshape(-1), to_uint8(grey * (1 - offset) * 255)


def saturate(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image with its saturation in HSV scaled and shifted.

    With hue and value unchanged, the distances of a pixel's channels from the brightest one are scaled by the ratio of the
    new saturation to the old.

    Quirks: severities 1 and 2 reduce the colour, 3 to 5 increase it; a grey pixel has hue 0, so that the offset of
    severities 4 and 5 makes it red; truncated to uint8.
    """
    cv2 = require("cv2")
    ratio_table, red_table = saturation_tables(severity)
    planes = cv2.split(image)
    value = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    least = cv2.min(cv2.min(planes[0], planes[1]), planes[2])
    pair = value.astype(np.uint16) << 8
    pair |= least
    ratio = ratio_table.take(pair)
    vivid = [to_uint8(value - cv2.subtract(value, plane) * ratio) for plane in planes]
    if SATURATE[severity - 1][1]:
        grey = value == least
        for plane in vivid[1:]:
            np.copyto(plane, red_table.take(value), where=grey)
    return cv2.merge(vivid)
