"""What a benchmark says of a model: numbers with 95 % intervals, and tables of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import UndefinedError


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
    within: tuple[float, float] | None = dataclasses.field(default=(0.0, 100.0), repr=False, compare=False)
    """The lowest and the highest that it can be, likewise; None where nobody can say."""
    fewest: int | None = dataclasses.field(default=None, repr=False, compare=False)
    """Images of the rarest kind that it stands on, where there are several kinds, likewise."""
    one_sided: bool = dataclasses.field(default=False, repr=False, compare=False)
    """Whether chance moves it to one side, so that draws of two runs cannot be set off against each other, likewise."""

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


def complement(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Returns 100 minus a percentage, with its interval, as plain data."""
    if estimate["value"] is None:
        return dict(estimate)
    ends = {"low": estimate["high"], "high": estimate["low"]}
    flipped = {end: None if value is None else 100.0 - value for end, value in ends.items()}
    return {"value": 100.0 - estimate["value"], **flipped, "n": estimate["n"]}


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
