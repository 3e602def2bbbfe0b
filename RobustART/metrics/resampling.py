"""Seeded bootstrap over images (Efron 1979, Annals of Statistics 7, 1-26) and the intervals derived from it.

All numbers of a benchmark share their resamples: a seed draws the same images for every metric, cell and run over the same
number of images, so that differences are paired. Sums over resampled images are sums of integers that are exact in floating
point in any order, so they do not depend on the machine or its number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.metrics.functional import Z95

RESAMPLES = 2000
"""Number of bootstrap resamples."""
LEVEL = (2.5, 97.5)
"""Percentiles of a 95 % interval."""
_BLOCK = 4_000_000
"""Number of draws in a block, which bounds the memory."""


def draw_counts(
    n: int, *, resamples: int = RESAMPLES, seed: int | Sequence[int] = 0, width: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yields blocks (B, n) of how often each of ``n`` images occurs in B resamples of size n with replacement.

    Args:
        n: number of images.
        resamples: number of resamples in all blocks.
        seed: seed of the resamples.
        width: number of columns that bounds B; ``n`` by default.
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
    """Returns the sums of ``values`` over each resample, (resamples, K).

    Args:
        values: K values of each image, (N, K), boolean or finite floats. The floats of a column are rounded to multiples of
            N / 2^52 of its largest magnitude, so that every sum is exact.
        resamples: number of resamples.
        seed: seed of the resamples.
    """
    table = np.asarray(values)
    n = len(table)
    exact: np.dtype[np.floating[Any]] = np.dtype(np.float64)
    if table.dtype == np.bool_:
        # Counts up to 2^24 are exact in float32 too, which is faster.
        exact = np.dtype(np.float32) if n < 1 << 24 else exact
        scale = np.ones(table.shape[1])
        whole = table.astype(exact)
    else:
        scale = np.ldexp(1.0, 52 - math.ceil(math.log2(max(n, 2))) - np.frexp(np.abs(table).max(axis=0))[1])
        whole = np.rint(table * scale)
    sums = [counts.astype(exact) @ whole for counts in draw_counts(n, resamples=resamples, seed=seed)]
    return np.concatenate(sums).astype(np.float64) / scale


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % percentile interval of a number's values on the resamples, (R,).

    Undefined values (nan) are left out; an end is infinite if more than 2.5 % of the values are.
    """
    defined = draws[~np.isnan(draws)]
    low, high = np.percentile(defined, LEVEL, method="linear" if np.isfinite(defined).all() else "closest_observation")
    return float(low), float(high)


def reflected_interval(value: float, draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the hull of the percentile interval and its reflection at ``value``.

    A number that is biased on few images, such as AUPR, has draws that lie to one side of it; the reflection lies to the
    other (the basic bootstrap, Davison and Hinkley 1997, section 5.2).
    """
    low, high = interval(draws)
    return min(low, 2 * value - high), max(high, 2 * value - low)


def unseen_interval(value: float, n: int, within: tuple[float, float]) -> tuple[float, float]:
    r"""Returns the number that ``n`` images would have with z^2 = 3.84 further ones at the lower, or the upper, bound.

    .. math::
        \frac{n v + z^2 b}{n + z^2} \quad \text{for both bounds } b

    A bootstrap resamples the observed images only and collapses where all are alike. For a percentage of 0 or 100 this is
    Wilson's interval, so an interval that contains both ends is never narrower than Wilson's there.

    Args:
        value: the number.
        n: number of images.
        within: lower and upper bound of the number.

    >>> [round(x, 2) for x in unseen_interval(100.0, 20, (0.0, 100.0))]
    [83.89, 100.0]
    """
    more = Z95**2
    low, high = ((n * value + more * end) / (n + more) for end in within)
    return min(low, value), max(high, value)


def distance_interval(value: float, draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % interval of a number that sampling noise can only raise: a standard deviation, a calibration error.

    Sampling noise adds to the square of such a number, and resampling adds the same amount again. Reflecting the squares of
    the draws at the square of the value removes both (the basic bootstrap, Davison and Hinkley 1997, section 5.2). For a
    large true number the percentiles are more accurate. The interval is the hull of both and of the value.
    """
    low, high = interval(draws**2)
    reflected = max(2 * value**2 - high, 0.0), max(2 * value**2 - low, 0.0)
    return math.sqrt(min(low, reflected[0], value**2)), math.sqrt(max(high, reflected[1], value**2))


def lowest_interval(means: NDArray[np.float64], draws: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % interval of the lowest of several means.

    The lowest observed mean underestimates the lowest true mean, and more so in a resample. The interval therefore comes
    from a simultaneous band: in 97.5 % of the resamples each, all means are above its lower and below its upper end.

    Args:
        means: the means, (K,).
        draws: their values on the resamples, (R, K).
    """
    below, above = np.percentile((draws - means).max(axis=1), 97.5), np.percentile((means - draws).max(axis=1), 97.5)
    lowest = float(means.min())
    return lowest - max(float(below), 0.0), lowest + max(float(above), 0.0)
