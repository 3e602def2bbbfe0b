"""The plots of a leaderboard: architecture families, sizes and techniques against each robustness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from RobustART.report.board_runs import Run
from RobustART.report.columns import Column
from RobustART.report.plotting import MUTED, Panel, plot, row_axis, series
from RobustART.report.rendering import ARROWS, clean
from RobustART.report.text import Estimate, short

WIDTH, HEIGHT = 5.2, 3.9
MANY = 40
"""Largest number of runs whose numbers are written beside the points."""


def title(column: Column) -> str:
    """Returns the title of an axis, with an arrow in the direction of better values."""
    return clean(f"{column.benchmark}: {column.name} {ARROWS.get(column.better or '', '')}".rstrip())


def scatter(name: str, runs: Sequence[Run], x: Column | None, y: Column, families: Sequence[str]) -> Panel | None:
    """Returns a scatter plot of one column against another, or against the number of parameters.

    Args:
        name: name of the plot.
        runs: the runs. Colour and marker of a point show the family, its area the number of parameters; the number beside
            it is that in the table.
        x: column of the horizontal axis; None is the number of parameters, on a logarithmic axis.
        y: column of the vertical axis.
        families: all families in the order of the legend.

    Returns:
        The plot; None if fewer than two runs have both numbers.
    """
    shown = [
        number for number, run in enumerate(runs)
        if y.value(number) is not None and (run.parameters if x is None else x.value(number) is not None)
    ]  # fmt: skip
    if len(shown) < 2:
        return None
    across = "parameters" if x is None else title(x)
    label = f"{title(y)}, against {across}, of {len(shown)} runs; the numbers are in the table"
    with plot(name, label, WIDTH, HEIGHT) as (figure, panel):
        axes = figure.add_axes((0.08, 0.14, 0.89, 0.78))
        places: dict[int, tuple[float, float]] = {}
        for number in shown:
            run, vertical = runs[number], y.estimates[number]
            horizontal: Estimate | None = None if x is None else x.estimates[number]
            colour, marker = series(families.index(run.family))
            assert vertical is not None
            across_at = float(run.parameters or 0 if horizontal is None else horizontal["value"])
            _bars(axes, number, across_at, vertical, horizontal, colour)
            area = 16 + 5 * math.sqrt((run.parameters or 0) / 1e6)
            # Transparency shows that two runs are at the same place.
            axes.scatter(
                [across_at], [vertical["value"]], s=area, marker=marker, color=colour, alpha=0.85, linewidths=0, zorder=3,
                gid=f"run-{number}-point",
            )  # fmt: skip
            places[number] = (across_at, float(vertical["value"]))
        if x is None:
            axes.set_xscale("log")
            _log_ticks(axes, [runs[number].parameters or 0 for number in shown])
        axes.set_xlabel(across)
        axes.set_title(title(y), loc="left", fontsize=11)
        axes.margins(0.08)
        if len(runs) <= MANY:
            _write_numbers(axes, places)
    return panel


_SIDES = ((5, 4, "left", "bottom"), (5, -4, "left", "top"), (-5, 4, "right", "bottom"), (-5, -4, "right", "top"))


def _write_numbers(axes: Any, places: Mapping[int, tuple[float, float]]) -> None:
    """Writes each run's number beside its point, on the side with the least overlap.

    Args:
        axes: axes with their limits set.
        places: coordinates of the points, by run.
    """
    points = {run: axes.transData.transform(place) for run, place in places.items()}
    scale = axes.figure.dpi / 72
    taken = [(x - 3 * scale, y - 3 * scale, x + 3 * scale, y + 3 * scale) for x, y in points.values()]
    for run, (x, y) in points.items():
        width, height = 6.0 * len(str(run + 1)) * scale, 9.5 * scale
        boxes = []
        for across, up, _, _ in _SIDES:
            left = x + across * scale - (width if across < 0 else 0)
            bottom = y + up * scale - (height if up < 0 else 0)
            boxes.append((left, bottom, left + width, bottom + height))
        best = min(range(len(boxes)), key=lambda side: sum(_overlap(boxes[side], other) for other in taken))
        taken.append(boxes[best])
        across, up, horizontal, vertical = _SIDES[best]
        axes.annotate(
            str(run + 1), places[run], xytext=(across, up), textcoords="offset points", ha=horizontal, va=vertical,
            fontsize=9.5, gid=f"run-{run}-text", zorder=4,
        )  # fmt: skip


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the area that two boxes (left, bottom, right, top) share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def _bars(axes: Any, run: int, x: float, vertical: Estimate, horizontal: Estimate | None, colour: str) -> None:
    style = {"color": colour, "alpha": 0.35, "linewidth": 1.4, "zorder": 2}
    if vertical["low"] is not None:
        axes.plot([x, x], [vertical["low"], vertical["high"]], gid=f"run-{run}-high", **style)
    if horizontal is not None and horizontal["low"] is not None:
        y = vertical["value"]
        axes.plot([horizontal["low"], horizontal["high"]], [y, y], gid=f"run-{run}-wide", **style)


def _log_ticks(axes: Any, values: Sequence[float]) -> None:
    """Sets ticks at 1, 2 and 5 times powers of ten, labelled like 5M, over the range of the values."""
    low, high = min(values) / 1.6, max(values) * 1.6
    steps = [m * 10.0**e for e in range(2, 12) for m in (1, 2, 5)]
    ticks = [step for step in steps if low <= step <= high] or [min(values)]
    axes.set_xlim(low, high)
    axes.minorticks_off()
    axes.set_xticks(ticks, [short(tick) for tick in ticks])


def strips(
    name: str, runs: Sequence[Run], kinds: Sequence[str], column: Column, families: Sequence[str]
) -> Panel | None:
    """Returns a strip plot of a column by kind (family or technique), with a row for each kind and a point for each run.

    Args:
        name: name of the plot.
        runs: the runs. Colour and marker of a point show the family.
        kinds: kind of each run.
        column: the column.
        families: all families in the order of the legend.

    Returns:
        The plot; None if there is only one kind.
    """
    shown = [number for number in range(len(runs)) if column.value(number) is not None]
    rows = {
        kind: [number for number in shown if kinds[number] == kind] for kind in dict.fromkeys(kinds[i] for i in shown)
    }
    if len(rows) < 2:
        return None
    room = [max(0.4, 0.14 * len(own) + 0.12) for own in rows.values()]  # inches
    height = 0.6 + sum(room)
    label = f"{title(column)} of {', '.join(map(clean, rows))}; the numbers are in the table"
    with plot(name, label, WIDTH, height) as (figure, panel):
        left = min(0.5, 0.05 + 0.018 * max(map(len, rows)))
        axes = figure.add_axes((left, 0.5 / height, 0.96 - left, 1 - 0.55 / height))
        middles, top = [], 0.0
        for tall, own in zip(room, rows.values(), strict=True):
            middles.append(top + tall / 2)
            for order, number in enumerate(own):
                y = middles[-1] + (order - (len(own) - 1) / 2) * 0.14
                estimate = column.estimates[number]
                assert estimate is not None
                colour, marker = series(families.index(runs[number].family))
                if estimate["low"] is not None:
                    span = [estimate["low"], estimate["high"]]
                    axes.plot(span, [y, y], color=colour, alpha=0.35, linewidth=2.5, gid=f"run-{number}-wide")
                axes.plot(
                    [estimate["value"]], [y], marker=marker, color=colour, markersize=6, gid=f"run-{number}-point"
                )
            top += tall
            axes.axhline(top, color=MUTED, linewidth=0.4, alpha=0.5)
        row_axis(axes, middles, list(rows))
        axes.set_ylim(top, 0)
        axes.yaxis.grid(visible=False)
        axes.set_xlabel(title(column))
    return panel
