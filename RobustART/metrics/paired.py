"""Paired statistics of two runs on the same images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics.functional import wilson


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.size == 0 or a.shape != b.shape:
        raise UndefinedError(f"a paired comparison of {a.shape} with {b.shape} verdicts is undefined")
    return a, b


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    r"""Returns the two-sided p value of McNemar's exact test that both runs have the same accuracy.

    .. math::
        p = \min\left(1, 2 \sum_{k=0}^{\min(l, w)} \binom{l + w}{k} 2^{-(l + w)}\right)

    where the first run alone is correct on :math:`l` images and the second alone on :math:`w`. Without such images p is 1.

    Source: McNemar 1947, Psychometrika 12, 153-157.

    Args:
        first: whether the first run is correct on each image, (N,).
        second: whether the second run is, (N,).

    Raises:
        UndefinedError: there are no images, or the shapes differ.

    >>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
    0.0625
    """
    from scipy.special import bdtr  # imported here: it takes longer than all else that scores import

    a, b = _pair(first, second)
    lost, won = int((a & ~b).sum()), int((~a & b).sum())
    return min(1.0, 2.0 * float(bdtr(min(lost, won), lost + won, 0.5))) if lost + won else 1.0


def paired_difference(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Returns the second run's accuracy minus the first's, with its paired 95 % interval.

    The interval is Newcombe's method 10 (1998, Statistics in Medicine 17, 2635-2650): the Wilson intervals of both
    accuracies, combined by the correlation of the verdicts.

    Args:
        first: whether the first run is correct on each image, (N,).
        second: whether the second run is, (N,).

    Returns:
        Difference and both ends of its interval, in percentage points.

    Raises:
        UndefinedError: there are no images, or the shapes differ.

    >>> [round(x, 2) for x in paired_difference([1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0])]
    [-33.33, -64.63, 15.17]
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
    r"""Returns p values adjusted for multiple tests, (M,).

    .. math::
        \tilde p_{(i)} = \min\left(1, \max_{j \le i} (M - j + 1) p_{(j)}\right)

    where :math:`p_{(1)} \le \dots \le p_{(M)}` are the sorted p values.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    Args:
        p_values: p values in [0, 1], (M,).

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    adjusted = np.empty_like(values)
    adjusted[order] = raised
    return adjusted
