"""Two runs on the same images, image by image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from RobustART.errors import UndefinedError
from RobustART.metrics.functional import wilson


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.size == 0 or a.shape != b.shape:
        raise UndefinedError(f"a paired comparison of {a.shape} with {b.shape} verdicts is undefined")
    return a, b


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Returns the two-sided p value of McNemar's exact test: are as many images lost as won? (McNemar 1947).

    Of the images on which the two differ, half are expected on either side; where there are none, p is 1.

    Args:
        first: whether the first run is right on each image, (N,).
        second: the same of the second run.

    >>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
    0.0625
    """
    a, b = _pair(first, second)
    lost, won = int((a & ~b).sum()), int((~a & b).sum())
    return min(1.0, 2.0 * float(bdtr(min(lost, won), lost + won, 0.5))) if lost + won else 1.0


def paired_difference(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Returns the second percentage minus the first, and its 95 % interval for the same images.

    The interval is Newcombe's tenth (1998, Statistics in Medicine 17, 2635-2650): Wilson's intervals of the two, joined by
    how the verdicts go together.

    Args:
        first: whether the first run is right on each image, (N,).
        second: the same of the second run.

    Returns:
        Difference, low, high, in percentage points.
    """
    a, b = _pair(first, second)
    n = a.size
    both, lost, won = int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum())
    neither = n - both - lost - won
    (low_a, high_a), (low_b, high_b) = wilson(both + lost, n), wilson(both + won, n)
    p_a, p_b = 100.0 * (both + lost) / n, 100.0 * (both + won) / n
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    together = 0.0
    if margins:
        excess = both * neither - lost * won
        together = (max(excess - n / 2, 0.0) if excess > 0 else excess) / math.sqrt(margins)
    down_a, up_a, down_b, up_b = p_a - low_a, high_a - p_a, p_b - low_b, high_b - p_b
    low = math.sqrt(max(down_b**2 - 2 * together * down_b * up_a + up_a**2, 0.0))
    high = math.sqrt(max(up_b**2 - 2 * together * up_b * down_a + down_a**2, 0.0))
    return p_b - p_a, max(p_b - p_a - low, -100.0), min(p_b - p_a + high, 100.0)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Returns p values adjusted for their number (Holm 1979, Scandinavian Journal of Statistics 6, 65-70), (M,)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    adjusted = np.empty_like(values)
    adjusted[order] = raised
    return adjusted
