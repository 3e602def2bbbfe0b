"""From the values of images to numbers with 95 % intervals."""

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
    """Returns a percentage with Wilson's interval."""
    low, high = wilson(successes, n)
    return Estimate(100.0 * successes / n, low, high, n)


def accuracy(correct: ArrayLike) -> Estimate:
    """Returns the percentage of true entries with Wilson's interval."""
    array = np.asarray(correct, dtype=bool)
    return dataclasses.replace(proportion(int(array.sum()), array.size), hits=array)


def top_k(ranks: NDArray[np.int64], ks: Sequence[int]) -> Summary:
    """Returns ``top1``, ``top5``, ... from how many classes are scored above the true one, (N,)."""
    return Summary({f"top{k}": accuracy(ranks < k) for k in ks})


def exact(value: float, n: int) -> Estimate:
    """Returns a number that the design of a benchmark fixes, so that its interval is the number itself."""
    return Estimate(value, value, value, n)


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From means over images, (..., K), to a number, (...)."""


K = TypeVar("K", bound=Hashable)


def resampled(values: ArrayLike, statistics: Mapping[K, Statistic], *, upto: float | None = 1.0) -> dict[K, Estimate]:
    """Returns sums, each with weights of its own, of means over images; one bootstrap over the images serves them all.

    Args:
        values: numbers of each image, (N, K), true or false or floats, none negative.
        statistics: functions by name; each is linear, but for a constant.
        upto: the highest that a value can be; None if nobody can say.

    Raises:
        UndefinedError: there are no images, or a value is not a number.
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
    """Returns the means over images, (K,), of ``values``, (N, K), and those over each sample of images, (R, K).

    Raises:
        UndefinedError: there are no images, or a value is not a number.
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
    """Returns a number with the interval of its values on the resamples, at least :func:`resampling.unseen_interval`.

    Where the images define no interval, as of a ratio over a number that is 0 in many resamples, it has none.

    Args:
        value: the number on the images themselves.
        draws: its values on the resamples, (R,); nan where a resample does not define it.
        n: images.
        within: the lowest and the highest that it can be; None if nobody can say.
        ends: another interval than that of percentiles.
        fewest: images of the rarest kind, if there are several.
        one_sided: whether chance moves it to one side.
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
    """Returns the lowest of several percentages of the same images, (N, K) true or false, with its interval.

    See :func:`resampling.lowest_interval`.
    """
    means, draws = (100.0 * array for array in drawn_means(values))
    ends = lowest_interval(means, draws)
    return from_draws(float(means.min()), draws.min(axis=1), len(np.asarray(values)), ends=ends, one_sided=True)


def mean(values: ArrayLike, upto: float = 100.0) -> Estimate:
    """Returns the mean over images, (N,), of numbers from 0 to ``upto``, with its bootstrap interval."""
    return resampled(np.asarray(values)[:, None], {"mean": lambda means: means[..., 0]}, upto=upto)["mean"]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One number for each of a set of images."""

    values: ArrayLike
    """(N,)."""
    images: Hashable
    """Says which images; sets of the same ones are drawn together, others apart."""


def of_means(
    samples: Sequence[Sample],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    within: tuple[float, float],
) -> Estimate:
    """Returns a function of the means of several sets of images, with its bootstrap interval.

    Args:
        samples: S sets.
        statistic: from means, (..., S), to a number, (...).
        within: the lowest and the highest that the number can be.

    Raises:
        UndefinedError: a set has no images, or a value is not a number.
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
    """Returns, for each pair, which percentage of the images that count are also held, as AR is.

    The interval is the bootstrap's, in which the number of images that count varies too, but never within Wilson's, which
    takes that number as given and does not shrink to nothing at 0 and 100 %.

    Args:
        pairs: by name which images are held, (N,), and which count, (N,), true or false.
        reason: why there is no value where no image counts.
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
    """Returns the estimate with an interval that reaches to both ends too."""
    low, high = ends
    return dataclasses.replace(
        estimate,
        low=low if estimate.low is None else min(low, estimate.low),
        high=high if estimate.high is None else max(high, estimate.high),
    )
