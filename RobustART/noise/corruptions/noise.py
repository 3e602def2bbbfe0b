"""ImageNet-C's noise: Gaussian, shot, impulse and speckle noise (Hendrycks and Dietterich 2019).

Each function takes an image uint8 (H, W, 3), a severity from 1 to 5 and a generator, and returns a new image. The noise of
each channel is independent, on grey images too. What the official generator draws as floats and truncates to integer grey
levels has a discrete distribution, which is drawn here by inversion, from one number per value.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from RobustART.core.imaging import Array
from RobustART.noise.corruptions.pixels import to_uint8
from RobustART.noise.corruptions.sampling import InverseTable, random_words

GAUSSIAN_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT_RATE = (60, 25, 12, 5, 3)
IMPULSE_AMOUNT = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE_SIGMA = (0.15, 0.2, 0.35, 0.45, 0.6)


@functools.cache
def gaussian_table(severity: int) -> InverseTable:
    """Returns the distribution of the noise's whole grey levels, from -255 as outcome 0."""
    from scipy.special import ndtr

    levels = np.arange(-255, 255)  # of grey; beyond, every pixel is clipped
    return InverseTable(ndtr((levels + 1) / (255 * GAUSSIAN_SIGMA[severity - 1]))[None], bits=16)


def gaussian_noise(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns x + N(0, sigma), sigma 0.08 to 0.38 of the range.

    Quirk: truncated to uint8. As x is an integer, the noise itself is truncated, and ``floor(255 sigma N)`` is drawn.
    """
    noisy = gaussian_table(severity).outcome(random_words(rng, image.shape))
    noisy -= 255
    noisy += image
    return to_uint8(noisy)


@functools.cache
def shot_table(severity: int) -> tuple[InverseTable, NDArray[np.uint8]]:
    """Returns the distribution of photons for each grey level, and the grey level of each count of photons."""
    from scipy.special import pdtr

    rate = SHOT_RATE[severity - 1]
    counts = np.arange(rate)  # as many photons or more are white
    table = InverseTable(pdtr(counts[None], (np.arange(256) / 255.0 * rate)[:, None]), bits=12)
    return table, (np.clip(np.arange(rate + 1) / rate, 0, 1) * 255).astype(np.uint8)


def shot_noise(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns Poisson(x c) / c, where white is c = 60, 25, 12, 5 or 3 photons.

    Quirk: truncated to uint8.
    """
    table, grey = shot_table(severity)
    return grey.take(table.outcome(random_words(rng, image.shape), image))


def impulse_noise(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image with 3 to 27 % of its values replaced, half by white and half by black.

    Quirk: salt and pepper fall on single channels, so they are coloured.
    """
    word = random_words(rng, image.shape)
    amount = IMPULSE_AMOUNT[severity - 1] * 2.0**32
    noisy = (word < np.uint32(amount)).view(np.uint8)
    noisy -= np.uint8(1)  # all bits where the image stays, none where it is replaced
    noisy &= image
    salt = (word < np.uint32(amount / 2)).view(np.uint8)
    noisy |= np.negative(salt, out=salt)
    return noisy


def speckle_noise(image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns x + x N(0, sigma), sigma 0.15 to 0.6.

    Quirk: truncated to uint8.
    """
    noisy = rng.standard_normal(image.shape, dtype=np.float32)
    noisy *= np.float32(SPECKLE_SIGMA[severity - 1])
    noisy += 1
    noisy *= image
    return to_uint8(noisy)
