"""Checks of a report's numbers that the types of its schema cannot express."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from RobustART.metrics.spec import BenchmarkSpec, face


def impossible(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields a description, with its place, of each impossible value in a report that conforms to its schema.

    An interval must contain its value and have its ends in order, percentages must be in [0, 100], and attacks with numbers
    must have settings.

    Args:
        report: contents of ``report.json``.
    """
    for number, row in enumerate(report["conditions"]["data"]):
        if row["of"] is not None and row["images"] > row["of"]:
            yield f"conditions.data[{number}].images is {row['images']}, more than the data set's {row['of']}"
    for name, entry in report["benchmarks"].items():
        place, spec = f"benchmarks.{name}", face(name)
        for metric, estimate in entry["metrics"].items():
            yield from _estimate(estimate, f"{place}.metrics.{metric}", spec.metric(metric).bounds)
        for title, table in entry["tables"].items():
            for row_name, row in table.items():
                for column, estimate in row.items():
                    own = spec.table(title).column(column).bounds
                    yield from _estimate(estimate, f"{place}.tables.{title}.{row_name}.{column}", own)
        if report["timing"] is not None and name not in report["timing"]["benchmarks"]:
            yield f"timing.benchmarks lacks {name}"
        yield from _unstated(spec, entry, place)


def _unstated(spec: BenchmarkSpec, entry: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yields the numbers of attacked cells whose settings the entry lacks."""
    for number in spec.board_numbers(entry):
        for cell in spec.depends_on(number) or ():
            if cell not in entry["attacks"]:
                yield f"{place} has the number {number} of the cell {cell}, whose settings {place}.attacks lacks"


def _estimate(estimate: Mapping[str, Any], place: str, bounds: tuple[float, float]) -> Iterator[str]:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if (low is None) != (high is None):
        missing = "low" if low is None else "high"
        yield f"{place}.{missing} is null, but the other end of the interval is not"
    elif value is None and low is not None:
        yield f"{place}.value is null, but it has an interval"
    elif low is not None and low > high:
        yield f"{place}.low is {low:g}, above its high of {high:g}"
    elif low is not None and not low <= value <= high:
        yield f"{place}.value is {value:g}, outside its interval from {low:g} to {high:g}"
    if value is not None and not bounds[0] <= value <= bounds[1]:
        allowed = "0 to 100" if bounds[1] < math.inf else "0 upwards"
        yield f"{place}.value must be from {allowed}, got {value:g}"
