"""A number with its 95 % interval, and tables of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics.functional import wilson
from RobustART.metrics.resampling import distance_interval, interval, resampled_sums


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One number of a report."""

    value: float | None
    """The number; None where the data do not define it."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    n: int
    """Images it is made from."""
    reason: str = ""
    """Why there is no value."""
    hits: NDArray[np.bool_] | None = dataclasses.field(default=None, repr=False, compare=False)
    """Of a percentage of all images which ones count, (n,), to compare runs image by image; not part of the result."""
    draws: NDArray[np.float64] | None = dataclasses.field(default=None, repr=False, compare=False)
    """Of a number with a bootstrap interval its values on the resamples, likewise; those of two runs are paired."""

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined ({self.reason})"
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def to_plain(self) -> dict[str, Any]:
        """Returns it for JSON, rounded to 10 digits so that the last bits of a sum do not show."""
        data: dict[str, Any] = {
            key: None if value is None else round(value, 10)
            for key, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        data["n"] = self.n
        if self.reason:
            data["reason"] = self.reason
        return data


def proportion(successes: int, n: int) -> Estimate:
    """Returns a percentage with Wilson's interval."""
    low, high = wilson(successes, n)
    return Estimate(100.0 * successes / n, low, high, n)


def accuracy(correct: ArrayLike) -> Estimate:
    """Returns the percentage of true entries with Wilson's interval."""
    array = np.asarray(correct, dtype=bool)
    return dataclasses.replace(proportion(int(array.sum()), array.size), hits=array)


def exact(value: float, n: int) -> Estimate:
    """Returns a number that the design of a benchmark fixes, so that its interval is the number itself."""
    return Estimate(value, value, value, n)


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From means over images, (..., K), to a number, (...)."""


K = TypeVar("K", bound=Hashable)


def resampled(
    values: ArrayLike, statistics: Mapping[K, Statistic], *, distances: Collection[K] = (), seed: int = 0
) -> dict[K, Estimate]:
    """Returns functions of means over images, with intervals from one bootstrap over the images that they all share.

    Args:
        values: K numbers of each image, (N, K), true or false or floats.
        statistics: functions by name.
        distances: which of them are numbers that chance can only raise, see :func:`resampling.distance_interval`.
        seed: of the bootstrap.

    Raises:
        UndefinedError: there are no images, or a value is not a number.
    """
    table = np.asarray(values)
    n = len(table)
    if n == 0:
        raise UndefinedError("an interval over no images is undefined")
    if not np.isfinite(table).all():
        raise UndefinedError(
            f"a mean over images is undefined: {int((~np.isfinite(table)).sum())} values are not numbers"
        )
    means, draws = table.sum(axis=0) / n, resampled_sums(table, seed=seed) / n
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, statistic in statistics.items():
            found[name] = from_draws(float(statistic(means)), statistic(draws), n, distance=name in distances)
    return found


def from_draws(value: float, draws: NDArray[np.float64], n: int, *, distance: bool = False) -> Estimate:
    """Returns a number with the interval of its values on the resamples.

    Args:
        value: the number on the images themselves.
        draws: its values on the resamples, (R,); nan where a resample does not define it.
        n: images.
        distance: whether it is a number that chance can only raise, see :func:`resampling.distance_interval`.
    """
    low, high = distance_interval(value, draws) if distance else interval(draws)
    return Estimate(value, min(low, value), max(high, value), n, draws=draws)


def mean(values: ArrayLike) -> Estimate:
    """Returns the mean over images, (N,), with its bootstrap interval."""
    return resampled(np.asarray(values)[:, None], {"mean": lambda means: means[..., 0]})["mean"]


def mean_of_means(rows: Sequence[ArrayLike]) -> Estimate:
    """Returns the mean of the means of several sets of images, with its bootstrap interval.

    Where all sets have as many images they are the same images seen in several ways and are drawn together; otherwise each
    set is drawn apart.

    Args:
        rows: one number for each image of each set, (N_1,), (N_2,), ...

    Raises:
        UndefinedError: a set has no images, or a value is not a number.
    """
    arrays = [np.asarray(row) for row in rows]
    if len({len(array) for array in arrays}) == 1:
        return mean(np.mean(arrays, axis=0))
    parts = [
        resampled(array[:, None], {"mean": lambda means: means[..., 0]}, seed=seed)["mean"]
        for seed, array in enumerate(arrays)
    ]
    draws = np.mean([part.draws for part in parts if part.draws is not None], axis=0)
    return from_draws(float(np.mean([part.value for part in parts])), draws, sum(map(len, arrays)))


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
        for name, drawn in resampled(np.stack(columns, axis=1), statistics).items():
            found[name] = _hull(found[name], drawn)
    return found


def _share(means: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    return np.asarray(100.0 * means[..., place] / means[..., place + 1])


def _hull(plain: Estimate, drawn: Estimate) -> Estimate:
    ends = [(estimate.low or 0.0, estimate.high or 0.0) for estimate in (plain, drawn)]
    return dataclasses.replace(plain, low=min(ends)[0], high=max(end[1] for end in ends), draws=drawn.draws)


Table = dict[str, dict[str, Estimate]]
"""Rows of columns."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What one benchmark says about one model."""

    metrics: dict[str, Estimate]
    """Headline numbers by name; percentages."""
    tables: dict[str, Table] = dataclasses.field(default_factory=dict)
    """Tables by title."""
    notes: tuple[str, ...] = ()
    """What the report must warn of; not part of the numbers."""

    def flat(self, *titles: str) -> Summary:
        """Returns headline numbers alone: these and, as ``title/row/column``, those of tables whose titles begin so."""
        cells = {
            f"{title}/{row}/{column}": cell
            for title, table in self.tables.items()
            if title.startswith(titles)
            for row, line in table.items()
            for column, cell in line.items()
        }
        return Summary({**self.metrics, **cells}, notes=self.notes)

    def to_plain(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return {
            "metrics": {name: value.to_plain() for name, value in self.metrics.items()},
            "tables": {
                title: {
                    row: {column: cell.to_plain() for column, cell in cells.items()} for row, cells in table.items()
                }
                for title, table in self.tables.items()
            },
        }


class Metric(Mapping[str, float]):
    """What an evaluator returns: names to numbers; ``print`` shows a table, ``summary`` holds the intervals.

    A number that the data do not define is in the table with the reason, and asking for it raises UndefinedError.
    """

    def __init__(self, summary: Summary) -> None:
        self.summary = summary

    def __getitem__(self, name: str) -> float:
        estimate = self.summary.metrics[name]
        if estimate.value is None:
            raise UndefinedError(estimate.reason)
        return estimate.value

    def __iter__(self) -> Iterator[str]:
        return iter(self.summary.metrics)

    def __len__(self) -> int:
        return len(self.summary.metrics)

    def __str__(self) -> str:
        width = max(map(len, self.summary.metrics), default=0)
        return "\n".join(f"{name:{width}}  {value}  (n = {value.n})" for name, value in self.summary.metrics.items())

    __repr__ = __str__
