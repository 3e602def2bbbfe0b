"""Rank correlation with bootstrap intervals."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from RobustART.errors import UndefinedError
from RobustART.metrics.resampling import RESAMPLES, draw_counts, interval

LEAST = 5
"""Fewest observations that define a correlation."""
EXACT = 8
"""Largest number of observations whose permutations are all counted."""
Floats = NDArray[np.float64]


def spearman(x: ArrayLike, y: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    r"""Returns Spearman's rank correlation, in [-1, 1], with its 95 % percentile bootstrap interval over observations.

    .. math::
        \rho = \frac{\sum_i (r_i - \bar r)(s_i - \bar s)}{\sqrt{\sum_i (r_i - \bar r)^2 \sum_i (s_i - \bar s)^2}}

    where :math:`r_i` and :math:`s_i` are the ranks of observation :math:`i`; equal values share their mean rank.

    Args:
        x: first value of each observation, (N,).
        y: second value of each observation, (N,).
        resamples: number of bootstrap resamples; those in which all values of ``x`` or of ``y`` are equal are left out.
        seed: seed of the resamples.

    Returns:
        ``value``, ``low``, ``high``, the number of observations ``n``, and ``p``, the two-sided p value of the test that
        :math:`\rho` is 0: over all permutations of up to 8 observations, and by Student's t distribution of more.

    Raises:
        UndefinedError: there are too few observations, or all values of ``x`` or of ``y`` are equal.

    >>> round(spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])["value"], 2)
    0.8
    """
    table = np.array([x, y], dtype=np.float64).T
    if len(table) < LEAST:
        raise UndefinedError(f"a correlation needs {LEAST} observations, got {len(table)}")
    if (table == table[0]).all(axis=0).any():
        raise UndefinedError("all values are the same")
    value = float(_weighted(table, np.ones((1, len(table)), dtype=np.int64))[0])
    counts = draw_counts(len(table), resamples=resamples, seed=seed, width=4 * len(table))
    low, high = interval(np.concatenate([_weighted(table, drawn) for drawn in counts]))
    return {"value": value, "low": low, "high": high, "n": len(table), "p": _p_value(table, value)}


def _p_value(table: Floats, value: float) -> float:
    """Returns the p value of the rank correlation ``value`` of two columns, (N, 2)."""
    n = len(table)
    if n > EXACT:
        return float(2 * stdtr(n - 2, -abs(value) * math.sqrt((n - 2) / max(1 - value**2, 1e-300))))
    first, second = (_ranks(column, np.ones((1, n), dtype=np.int64))[0] - (n + 1) / 2 for column in table.T)
    every = np.abs(second[_permutations(n)] @ first)
    return float((every >= abs(second @ first) - 1e-9).mean())


@functools.cache
def _permutations(n: int) -> NDArray[np.int64]:
    return np.array(list(itertools.permutations(range(n))))


def _weighted(table: Floats, counts: NDArray[np.int64]) -> Floats:
    """Returns the rank correlations (B,) of two columns (N, 2) in resamples that have each row ``counts`` (B, N) times."""
    first, second = (_ranks(column, counts) - (len(table) + 1) / 2 for column in table.T)
    # Ranks are multiples of 1/2, so these sums are exact.
    products = [(counts * a * b).sum(axis=1) for a, b in ((first, second), (first, first), (second, second))]
    with np.errstate(invalid="ignore"):
        return np.asarray(products[0] / np.sqrt(products[1] * products[2]))


def _ranks(values: Floats, counts: NDArray[np.int64]) -> Floats:
    """Returns the rank (B, N) of each value in resamples that have it ``counts`` times; ties share their mean rank."""
    order = np.argsort(values, kind="stable")
    new = np.concatenate([[True], np.diff(values[order]) > 0])
    sizes = np.add.reduceat(counts[:, order], np.flatnonzero(new), axis=1)
    means = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    ranks = np.empty(counts.shape)
    ranks[:, order] = means[:, np.cumsum(new) - 1]
    return ranks
