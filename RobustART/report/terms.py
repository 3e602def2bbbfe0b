"""How numbers and names are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from RobustART.metrics.spec import BenchmarkSpec

COSTS = (
    "benchmark", "images", "of them timed", "wall time", "images a second", "forward passes", "backward passes",
)  # fmt: skip
"""Heads of :func:`costs`."""
UNTIMED = (
    "An image goes through all its views and attacks. Images that a run recorded before it was stopped are not timed. "
    "Passes are of single images: one for each view and model, and what attacks spent."
)
"""What a reader must know of them."""


def title(spec: BenchmarkSpec, key: str) -> str:
    """Returns the heading of a table: the title of its spec, after what its key says beyond the name."""
    table = spec.table(key)
    rest = key.removeprefix(table.name).strip()
    return f"{rest} {table.title}" if rest and table.title != key else table.title


def readable(name: str) -> str:
    """Returns a name with spaces for underscores."""
    return name.replace("_", " ")


def columns(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the columns of a table, in the order in which they first come."""
    return list(dict.fromkeys(column for row in table.values() for column in row))


def number(estimate: Mapping[str, Any] | None) -> str:
    """Returns a value as it is printed: two digits, ``undefined``, or nothing where there is no entry."""
    if estimate is None:
        return ""
    return "undefined" if estimate["value"] is None else f"{estimate['value']:.2f}"


def costs(report: Mapping[str, Any]) -> list[list[str]]:
    """Returns a line for each benchmark: name, and as texts its images, wall time, images a second and passes."""
    rows = []
    for name, entry in report["benchmarks"].items():
        timing = report["timing"]["benchmarks"][name]
        computed, images = timing["images_computed"], timing["images"]
        seconds, speed = f"{timing['wall_seconds']:,.1f} s", f"{timing['images_per_second']:,.1f}"
        rows.append([
            name, f"{images:,}", "all" if computed == images else f"{computed:,}",
            seconds if computed else "", speed if computed else "",
            f"{entry['cost']['forward']:,}", f"{entry['cost']['backward']:,}",
        ])  # fmt: skip
    return rows


def interval(estimate: Mapping[str, Any]) -> str:
    """Returns the 95 % interval as it is printed, or the reason why there is none."""
    if estimate["low"] is None:
        return str(estimate.get("reason", ""))
    return f"[{estimate['low']:.2f}, {estimate['high']:.2f}]"
