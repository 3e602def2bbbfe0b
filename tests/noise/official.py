"""Slow references for the corruptions whose official algorithm the library does not follow, in scipy and plain loops.

They take the same draws from the generator as the package and follow the published algorithm in float64.
"""

import math

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

from RobustART.noise.corruptions import blur, digital, noise, weather


def finish(values):
    """From [0, 1] to uint8 as the official generator does: clip, times 255, cut off."""
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def smoothed(values, sigma):
    return ndimage.gaussian_filter(values, (sigma, sigma) + (0,) * (values.ndim - 2), mode="nearest", truncate=4)


def line_blur(image, radius, sigma, angle):
    """ImageMagick's MotionBlurImage: taps read one by one, clamped to the picture, rounded."""
    taps = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)]
    rows, columns = np.indices(image.shape[:2])
    total = np.zeros(image.shape)
    for i, tap in enumerate(taps):
        x = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        y = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        place = np.clip(rows + y, 0, image.shape[0] - 1), np.clip(columns + x, 0, image.shape[1] - 1)
        total += tap / sum(taps) * image[place]
    return np.floor(total + 0.5).astype(np.uint8)


def impulse_noise(image, severity, rng):
    number = (rng.integers(0, 2**32, image.shape, dtype=np.uint32) + 0.5) / 2**32
    amount = noise.IMPULSE_AMOUNT[severity - 1]
    return np.where(number < amount / 2, 255, np.where(number < amount, 0, image)).astype(np.uint8)


def glass_blur(image, severity, rng):
    sigma, shift, rounds = blur.GLASS[severity - 1]
    moved = (smoothed(image / 255.0, sigma) * 255).astype(np.uint8)
    height, width = image.shape[:2]
    for _ in range(rounds):
        draws = rng.integers(0, 4 * shift**2, (height - 2 * shift, width - 2 * shift), dtype=np.uint8)
        for h in range(height - shift, shift, -1):
            for w in range(width - shift, shift, -1):
                dy, dx = (move - shift for move in divmod(int(draws[h - shift - 1, w - shift - 1]), 2 * shift))
                here, there = moved[h, w], moved[h + dy, w + dx]  # views, as in the official exchange
                moved[h, w], moved[h + dy, w + dx] = there, here
    return finish(smoothed(moved / 255.0, sigma))


def clipped_zoom(layer, zoom):
    sizes = [math.ceil(length / zoom) for length in layer.shape]
    starts = [(length - size) // 2 for length, size in zip(layer.shape, sizes, strict=True)]
    crop = layer[starts[0] : starts[0] + sizes[0], starts[1] : starts[1] + sizes[1]]
    large = ndimage.zoom(crop, zoom, order=1)
    trims = [(big - length) // 2 for big, length in zip(large.shape, layer.shape, strict=True)]
    return large[trims[0] : trims[0] + layer.shape[0], trims[1] : trims[1] + layer.shape[1]]


def snow(image, severity, rng):
    mean, deviation, zoom, threshold, radius, sigma, weight = weather.SNOW[severity - 1]
    layer = np.full(image.shape[:2], np.nan)  # what the crop leaves out is never read
    sizes = [math.ceil(length / zoom) for length in layer.shape]
    starts = [(length - size) // 2 for length, size in zip(layer.shape, sizes, strict=True)]
    draws = mean + deviation * rng.standard_normal(sizes, dtype=np.float32).astype(float)
    layer[starts[0] : starts[0] + sizes[0], starts[1] : starts[1] + sizes[1]] = draws
    layer = clipped_zoom(layer, zoom)
    layer[layer < threshold] = 0
    flakes = line_blur(finish(layer), radius, sigma, rng.uniform(-135, -45)) / 255.0
    x = image / 255.0
    grey = (x @ (0.299, 0.587, 0.114))[..., None]
    x = weight * x + (1 - weight) * np.maximum(x, grey * 1.5 + 0.5)
    return finish(x + flakes[..., None] + np.rot90(flakes, 2)[..., None])


def frost(image, severity, rng):
    weight, frost_weight = weather.FROST[severity - 1]
    path = (
        weather.frost_folder() / ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"][rng.integers(5)]
    )
    texture = np.array(Image.open(path).convert("RGB"))
    top = rng.integers(0, texture.shape[0] - image.shape[0])
    left = rng.integers(0, texture.shape[1] - image.shape[1])
    crop = texture[top : top + image.shape[0], left : left + image.shape[1]]
    return np.clip(weight * image + frost_weight * crop, 0, 255).astype(np.uint8)


def elastic_transform(image, severity, rng):
    strength, sigma, shift = digital.ELASTIC[severity - 1]
    height, width = image.shape[:2]
    base = 244 * min(height, width) / 224
    centre = np.array([width // 2, height // 2])
    arm = min(height, width) // 3
    corners = np.float32([centre + arm, [centre[0] + arm, centre[1] - arm], centre - arm])
    moved = corners + rng.uniform(-base * shift, base * shift, (3, 2)).astype(np.float32)
    bent = cv2.warpAffine(
        (image / 255.0).astype(np.float32),
        cv2.getAffineTransform(corners, moved),
        (width, height),
        borderMode=cv2.BORDER_REFLECT_101,
    )
    fields = [
        ndimage.gaussian_filter(draws, base * sigma, mode="reflect", truncate=3) * base * strength
        for draws in (2.0 * rng.random((height, width), dtype=np.float32) - 1 for _ in range(2))
    ]
    y, x = np.indices((height, width))
    return finish(
        np.stack(
            [
                ndimage.map_coordinates(bent[..., i], (y + fields[1], x + fields[0]), order=1, mode="reflect")
                for i in range(3)
            ],
            axis=2,
        )
    )


REFERENCES = {
    "impulse_noise": impulse_noise,
    "glass_blur": glass_blur,
    "snow": snow,
    "frost": frost,
    "elastic_transform": elastic_transform,
}
