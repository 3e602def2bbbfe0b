"""A number with its 95 % interval, and tables of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from RobustART.metrics.functional import UndefinedError, bootstrap_mean, wilson


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
    """Returns the percentage of true entries."""
    array = np.asarray(correct, dtype=bool)
    return proportion(int(array.sum()), array.size)


def mean(values: ArrayLike) -> Estimate:
    """Returns the mean over images with its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    low, high = bootstrap_mean(array)
    return Estimate(float(array.mean()), low, high, array.size)


def undefined(error: UndefinedError, n: int) -> Estimate:
    """Returns the entry of a number that cannot be computed."""
    return Estimate(None, None, None, n, str(error))


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
