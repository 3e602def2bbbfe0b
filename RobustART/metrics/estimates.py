"""Numbers with 95 % intervals from per-image values."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics.functional import wilson
from RobustART.metrics.resampling import (
    RESAMPLES,
    interval,
    lowest_interval,
    resampled_sums,
    unseen_interval,
)
from RobustART.metrics.results import Estimate, Summary


def proportion(successes: int, n: int) -> Estimate:
    """Returns ``100 * successes / n`` with Wilson's interval."""
    low, high = wilson(successes, n)
    return Estimate(100.0 * successes / n, low, high, n)


def accuracy(correct: ArrayLike) -> Estimate:
    """Returns the percentage of true entries with Wilson's interval."""
    array = np.asarray(correct, dtype=bool)
    return dataclasses.replace(proportion(int(array.sum()), array.size), hits=array)


def top_k(ranks: NDArray[np.int64], ks: Sequence[int], classes: int | None = None) -> Summary:
    """Returns ``top1``, ``top5``, ... in percent; undefined where there are not more than so many classes.

    Args:
        ranks: number of classes scored above the true class of each image, (N,).
        ks: values of k.
        classes: number of classes that compete; None if unknown.
    """

    def top(k: int) -> Estimate:
        if k == 1 or classes is None or classes > k:
            return accuracy(ranks < k)
        return Estimate(
            None, None, None, len(ranks), f"with {classes} classes the true one is always among the {k} best"
        )

    return Summary({f"top{k}": top(k) for k in ks})


def exact(value: float, n: int) -> Estimate:
    """Returns a number without uncertainty, fixed by a benchmark's design; its interval is the number itself."""
    return Estimate(value, value, value, n)


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Maps means over images, (..., K), to a number, (...)."""


K = TypeVar("K", bound=Hashable)


def resampled(values: ArrayLike, statistics: Mapping[K, Statistic], *, upto: float | None = 1.0) -> dict[K, Estimate]:
    """Returns weighted sums of means over images with bootstrap intervals; all share the same resamples.

    Args:
        values: K values of each image, (N, K), boolean or non-negative floats.
        statistics: affine functions of the means, by name.
        upto: upper bound of ``values``; None if unbounded.

    Raises:
        UndefinedError: there are no images, or a value is not finite.
    """
    means, draws = drawn_means(values)
    corners = (upto or 0.0) * np.concatenate([np.zeros((1, len(means))), np.eye(len(means))])
    found = {}
    for name, statistic in statistics.items():
        start, *ends = np.asarray(statistic(corners)).tolist()
        steps = [end - start for end in ends]
        within = start + sum(step for step in steps if step < 0), start + sum(step for step in steps if step > 0)
        bounds = None if upto is None else within
        found[name] = from_draws(float(statistic(means)), statistic(draws), len(np.asarray(values)), bounds)
    return found


def drawn_means(values: ArrayLike, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the means of ``values``, (N, K), over images, (K,), and over each bootstrap resample, (R, K).

    Raises:
        UndefinedError: there are no images, or a value is not finite.
    """
    table = np.asarray(values)
    if len(table) == 0:
        raise UndefinedError("an interval over no images is undefined")
    if not np.isfinite(table).all():
        raise UndefinedError(
            f"a mean over images is undefined: {int((~np.isfinite(table)).sum())} values are not numbers"
        )
    return table.sum(axis=0) / len(table), resampled_sums(table, seed=seed) / len(table)


def from_draws(
    value: float,
    draws: NDArray[np.float64],
    n: int,
    within: tuple[float, float] | None = (0.0, 100.0),
    *,
    ends: tuple[float, float] | None = None,
    fewest: int | None = None,
    one_sided: bool = False,
) -> Estimate:
    """Returns a number with its bootstrap interval, which is never narrower than :func:`resampling.unseen_interval`.

    The interval is missing if the resamples do not define it, as for a ratio whose denominator is 0 in many of them.

    Args:
        value: the number on the images themselves.
        draws: its values on the resamples, (R,); nan where a resample does not define it.
        n: number of images.
        within: lower and upper bound of the number; None if unbounded.
        ends: interval to use instead of the percentiles of ``draws``.
        fewest: number of images of the rarest kind, if there are several kinds.
        one_sided: whether sampling noise moves the number in one direction only.
    """
    low, high = interval(draws) if ends is None else ends
    if not np.isfinite([low, high]).all():
        return Estimate(value, None, None, n)
    found = Estimate(
        value, min(low, value), max(high, value), n, draws=draws, within=within, fewest=fewest, one_sided=one_sided
    )
    if within is None:
        return found
    found = _hull(found, unseen_interval(value, n if fewest is None else fewest, within))
    return dataclasses.replace(
        found, low=min(max(found.low or 0.0, within[0]), value), high=max(min(found.high or 0.0, within[1]), value)
    )


def lowest(values: ArrayLike) -> Estimate:
    """Returns the lowest of K percentages of the same images, from booleans (N, K), with its interval.

    See :func:`resampling.lowest_interval`.
    """
    means, draws = (100.0 * array for array in drawn_means(values))
    ends = lowest_interval(means, draws)
    return from_draws(float(means.min()), draws.min(axis=1), len(np.asarray(values)), ends=ends, one_sided=True)


def mean(values: ArrayLike, upto: float = 100.0) -> Estimate:
    """Returns the mean of ``values``, (N,), from 0 to ``upto``, with its bootstrap interval."""
    return resampled(np.asarray(values)[:, None], {"mean": lambda means: means[..., 0]}, upto=upto)["mean"]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One value for each image of a set."""

    values: ArrayLike
    """The values, (N,)."""
    images: Hashable
    """Identifies the set of images: samples of the same set share their resamples, others are resampled separately."""


def of_means(
    samples: Sequence[Sample],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    within: tuple[float, float],
) -> Estimate:
    """Returns a function of the means of several samples, with its bootstrap interval.

    Args:
        samples: S samples.
        statistic: maps the means, (..., S), to a number, (...).
        within: lower and upper bound of the number.

    Raises:
        UndefinedError: a sample has no images, or a value is not finite.
    """
    groups: dict[tuple[Hashable, int], list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault((sample.images, len(np.asarray(sample.values))), []).append(place)
    means, draws = np.empty(len(samples)), np.empty((RESAMPLES, len(samples)))
    for seed, places in enumerate(groups.values()):
        table = np.stack([np.asarray(samples[place].values) for place in places], axis=1)
        means[places], draws[:, places] = drawn_means(table, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = statistic(draws)
    return from_draws(float(statistic(means)), drawn, sum(n for _, n in groups), within)


def ratios(pairs: Mapping[K, tuple[ArrayLike, ArrayLike]], reason: str) -> dict[K, Estimate]:
    """Returns for each pair the percentage of the images in the second set that are also in the first, such as AR.

    The interval is the hull of two: the bootstrap's, in which the size of the second set varies too, and Wilson's, which
    takes that size as given and does not collapse at 0 and 100 %.

    Args:
        pairs: by name two boolean arrays, (N,): the images that succeed, and the images that count.
        reason: why the value is undefined where no image counts.
    """
    found: dict[K, Estimate] = {}
    columns: list[NDArray[np.bool_]] = []
    statistics: dict[K, Statistic] = {}
    for name, (held, counting) in pairs.items():
        base = np.asarray(counting, dtype=bool)
        both = base & np.asarray(held, dtype=bool)
        if not base.any():
            found[name] = Estimate(None, None, None, 0, reason)
            continue
        found[name] = proportion(int(both.sum()), int(base.sum()))
        statistics[name] = functools.partial(_share, place=len(columns))
        columns += [both, base]
    if columns:
        _, draws = drawn_means(np.stack(columns, axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, statistic in statistics.items():
                drawn = statistic(draws)
                found[name] = dataclasses.replace(_hull(found[name], interval(drawn)), draws=drawn)
    return found


def _share(means: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    return np.asarray(100.0 * means[..., place] / means[..., place + 1])


def _hull(estimate: Estimate, ends: tuple[float, float]) -> Estimate:
    """Returns the estimate with its interval extended to contain ``ends``."""
    low, high = ends
    return dataclasses.replace(
        estimate,
        low=low if estimate.low is None else min(low, estimate.low),
        high=high if estimate.high is None else max(high, estimate.high),
    )
