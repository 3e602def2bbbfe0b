"""Results of a benchmark: numbers with 95 % intervals, and tables of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import UndefinedError


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One number with its 95 % interval. The fields from ``hits`` to ``one_sided`` serve comparisons, not reports."""

    value: float | None
    """The number; None if the data do not define it."""
    low: float | None
    """Lower end of the 95 % interval; None if it is undefined."""
    high: float | None
    """Upper end of the 95 % interval; None if it is undefined."""
    n: int
    """Number of images."""
    reason: str = ""
    """Why the value is undefined."""
    hits: NDArray[np.bool_] | None = dataclasses.field(default=None, repr=False, compare=False)
    """For a percentage of all images, whether each image counts, (n,)."""
    draws: NDArray[np.float64] | None = dataclasses.field(default=None, repr=False, compare=False)
    """For a bootstrap interval, the values on the resamples; those of two runs are paired."""
    within: tuple[float, float] | None = dataclasses.field(default=(0.0, 100.0), repr=False, compare=False)
    """Lower and upper bound of the number; None if unbounded."""
    fewest: int | None = dataclasses.field(default=None, repr=False, compare=False)
    """Number of images of the rarest kind, if there are several kinds."""
    one_sided: bool = dataclasses.field(default=False, repr=False, compare=False)
    """Whether sampling noise moves the number in one direction only, so that draws of two runs do not cancel."""
    doubts: tuple[str, ...] = ()
    """Signs that the number is not trustworthy, in words; part of a report."""

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined ({self.reason})"
        if self.low is None or self.high is None:
            return f"{self.value:.2f}{doubt(self.doubts)}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]{doubt(self.doubts)}"

    def to_plain(self) -> dict[str, Any]:
        """Returns the estimate as JSON data, rounded to 10 digits to hide rounding errors of sums."""
        data: dict[str, Any] = {
            key: None if value is None else round(value, 10)
            for key, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        data["n"] = self.n
        if self.reason:
            data["reason"] = self.reason
        if self.doubts:
            data["not_trustworthy"] = list(self.doubts)
        return data


def doubt(signs: Sequence[str]) -> str:
    """Returns what follows a number that is not trustworthy, with its first sign; an empty string without signs."""
    more = f", and {len(signs) - 1} more" if len(signs) > 1 else ""
    return f" (not trustworthy: {signs[0]}{more})" if signs else ""


def complement(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Returns 100 minus a percentage and its interval, as plain data."""
    if estimate["value"] is None:
        return dict(estimate)
    ends = {"low": estimate["high"], "high": estimate["low"]}
    flipped = {end: None if value is None else 100.0 - value for end, value in ends.items()}
    return {**estimate, "value": 100.0 - estimate["value"], **flipped}


Table = dict[str, dict[str, Estimate]]
"""Estimates by row and column."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """Results of one benchmark for one model."""

    metrics: dict[str, Estimate]
    """Metrics by name."""
    tables: dict[str, Table] = dataclasses.field(default_factory=dict)
    """Tables by title."""
    notes: tuple[str, ...] = ()
    """Warnings that the report shows beside the numbers."""

    def flat(self, *titles: str) -> Summary:
        """Returns a summary without tables; cells of tables whose title begins with one of ``titles`` become metrics.

        Such a metric is named ``title/row/column``.
        """
        cells = {"/".join(place): self.tables[place[0]][place[1]][place[2]] for place in self.places(*titles)}
        return Summary({**self.metrics, **cells}, notes=self.notes)

    def places(self, *titles: str) -> list[tuple[str, str, str]]:
        """Returns table, row and column of the cells of tables whose title begins with one of ``titles``."""
        tables = [(title, table) for title, table in self.tables.items() if title.startswith(titles)]
        return [(title, row, column) for title, table in tables for row, line in table.items() for column in line]

    def to_plain(self) -> dict[str, Any]:
        """Returns the summary as JSON data."""
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
    """Result of an evaluator: a mapping of names to numbers. ``print`` shows a table; ``summary`` has the intervals.

    The table shows an undefined number with its reason, and notes below; looking it up raises an UndefinedError.
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
        lines = (f"{name:{width}}  {value}  (n = {value.n})" for name, value in self.summary.metrics.items())
        return "\n".join((*lines, *(f"note: {note}" for note in self.summary.notes)))

    __repr__ = __str__
