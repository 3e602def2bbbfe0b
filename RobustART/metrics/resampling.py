"""The seeded bootstrap over images (Efron 1979, Annals of Statistics 7, 1-26), from which most intervals come.

All numbers of a benchmark share the same resamples: the one seed draws the same images for every metric, cell and run over
as many images, so that differences between two of them are paired. Sums over resampled images are sums of whole numbers
small enough to be exact in floating point, in any order: they do not depend on the machine or its number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.metrics.functional import Z95

RESAMPLES = 2000
"""How many samples of images are drawn."""
LEVEL = (2.5, 97.5)
"""Percentiles of a 95 % interval."""
_BLOCK = 4_000_000
"""Draws made at once, which bounds the memory."""


def draw_counts(
    n: int, *, resamples: int = RESAMPLES, seed: int | Sequence[int] = 0, width: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yields blocks (B, n) of how often each of ``n`` images is drawn in samples of n with replacement.

    Args:
        n: images.
        resamples: samples in all blocks.
        seed: of the draws.
        width: how many columns a block is to be used with, which decides B; n by default.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // (width or n))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n))
        drawn += np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def resampled_sums(
    values: ArrayLike, *, resamples: int = RESAMPLES, seed: int | Sequence[int] = 0
) -> NDArray[np.float64]:
    """Returns the sum over each sample of images, (resamples, K).

    Args:
        values: K numbers of each image, (N, K), true or false or finite floats. Floats are rounded to a grid of N / 2^52 of
            each column's largest one, so that every sum is exact.
        resamples: samples.
        seed: of the draws.
    """
    table = np.asarray(values)
    n = len(table)
    exact: np.dtype[np.floating[Any]] = np.dtype(np.float64)
    if table.dtype == np.bool_:
        # Counts up to 2^24 are exact in float32 too, and faster.
        exact = np.dtype(np.float32) if n < 1 << 24 else exact
        scale = np.ones(table.shape[1])
        whole = table.astype(exact)
    else:
        scale = np.ldexp(1.0, 52 - math.ceil(math.log2(max(n, 2))) - np.frexp(np.abs(table).max(axis=0))[1])
        whole = np.rint(table * scale)
    sums = [counts.astype(exact) @ whole for counts in draw_counts(n, resamples=resamples, seed=seed)]
    return np.concatenate(sums).astype(np.float64) / scale


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % percentile interval of a number's values on the resamples.

    Those that define none (nan) are left out; an end is infinite where more than 2.5 % of the values are.
    """
    defined = draws[~np.isnan(draws)]
    low, high = np.percentile(defined, LEVEL, method="linear" if np.isfinite(defined).all() else "closest_observation")
    return float(low), float(high)


def reflected_interval(value: float, draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the hull of the percentile interval and the same reflected at the value.

    The draws of a number whose expectation on few images is not its value on all (AUPR, say) lie to one side of it, and the
    reflection to the other (the basic bootstrap, Davison and Hinkley 1997, section 5.2).
    """
    low, high = interval(draws)
    return min(low, 2 * value - high), max(high, 2 * value - low)


def unseen_interval(value: float, n: int, within: tuple[float, float]) -> tuple[float, float]:
    """Returns what a number of ``n`` images would be with z^2 = 3.84 more that are all as low, or as high, as can be.

    A bootstrap knows only images that were seen, and shrinks to nothing where all are alike. Of a percentage these are the
    ends of Wilson's interval at 0 and at 100 %; so an interval that reaches this far is never narrower there.

    Args:
        value: the number.
        n: images.
        within: the lowest and the highest that the number can be.
    """
    more = Z95**2
    low, high = ((n * value + more * end) / (n + more) for end in within)
    return min(low, value), max(high, value)


def distance_interval(value: float, draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % interval of a number that chance can only raise: a standard deviation, a calibration error.

    Noise adds to the square of such a number, and resampling adds the same once more. So the resamples' squares are
    reflected at the value's own (the basic bootstrap, Davison and Hinkley 1997, section 5.2), which takes both off. Where
    the true number is not small the percentiles are nearer to it; the interval holds both, and the value itself.
    """
    low, high = interval(draws**2)
    reflected = max(2 * value**2 - high, 0.0), max(2 * value**2 - low, 0.0)
    return math.sqrt(min(low, reflected[0], value**2)), math.sqrt(max(high, reflected[1], value**2))


def lowest_interval(means: NDArray[np.float64], draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % interval of the lowest of several means, which was not known to be the lowest beforehand.

    The lowest of several looks lower than the lowest truly is, and more so in a resample. Here all means stay at once above
    the lower, and below the upper end of a band around them, in 97.5 % of the resamples each; so does their lowest.

    Args:
        means: (K,).
        draws: the same on the resamples, (R, K).
    """
    below, above = np.percentile((draws - means).max(axis=1), 97.5), np.percentile((means - draws).max(axis=1), 97.5)
    lowest = float(means.min())
    return lowest - max(float(below), 0.0), lowest + max(float(above), 0.0)
