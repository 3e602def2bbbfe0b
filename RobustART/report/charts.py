"""The plots of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from RobustART.metrics.results import complement
from RobustART.report.plotting import (
    DASHES,
    INK,
    LINE,
    MUTED,
    PAPER,
    SERIES,
    Panel,
    legend,
    percent_axis,
    plot,
    row_axis,
    series,
)
from RobustART.report.rendering import clean
from RobustART.report.text import Estimate

WIDTH = 5.6
"""Width of a plot in inches; small, so that its text remains legible in a narrow window."""


def radar(axes_of: Sequence[tuple[str, Estimate]]) -> Panel:
    """Returns a radar of accuracy by noise family, from 0 in the center to 100; bars along the spokes are intervals."""
    names = [clean(name) for name, _ in axes_of]
    values = [float(e["value"]) for _, e in axes_of]
    angles = [2 * math.pi * i / len(values) for i in range(len(values))]
    spoken = ", ".join(f"{name} {value:.1f}" for name, value in zip(names, values, strict=True))
    with plot("radar", f"Radar of accuracy by noise family: {spoken}", 4.8, 4.2) as (figure, panel):
        axes: Any = figure.add_axes((0.19, 0.1, 0.62, 0.78), projection="polar")
        axes.set_theta_offset(math.pi / 2)
        axes.set_theta_direction(-1)
        axes.set_ylim(0, 100)
        axes.set_yticks([25, 50, 75, 100], ["25", "50", "75", "100"], color=MUTED, fontsize=9)
        axes.set_rlabel_position(-180 / len(values))  # between the last family and the first
        axes.set_xticks(angles, [])
        axes.spines["polar"].set_color(LINE)
        axes.plot([*angles, angles[0]], [*values, values[0]], color=SERIES[0], marker="o", markersize=5)
        axes.fill([*angles, angles[0]], [*values, values[0]], color=SERIES[0], alpha=0.14, linewidth=0)
        for angle, (_, estimate) in zip(angles, axes_of, strict=True):
            if estimate["low"] is not None:
                axes.plot([angle, angle], [estimate["low"], estimate["high"]], color=SERIES[0], linewidth=5, alpha=0.35)
        for angle, name in zip(angles, names, strict=True):
            side = math.sin(angle)
            align = "center" if abs(side) < 0.15 else "left" if side > 0 else "right"
            rise = math.cos(angle)
            upright = "bottom" if rise > 0.5 else "top" if rise < -0.5 else "center"
            axes.text(angle, 107, name, ha=align, va=upright, color=INK, fontsize=10.5, clip_on=False)
    return panel


def curves(entry: Mapping[str, Any], norm: str, name: str) -> Panel | None:
    """Returns a plot of robust accuracy against the radius with 95 % bands; None if there are fewer than two radii.

    The lines of attacks with a number that is not trustworthy are dashed, and marked in the legend.

    Args:
        entry: entry of a benchmark of attacks in a report.
        norm: norm of the attacks to draw.
        name: name of the plot.
    """
    cells, clean_accuracy = entry["cells"], entry["metrics"].get("clean_accuracy")
    lines: dict[str, list[tuple[float, str, Estimate]]] = {}
    for attack, row in entry["tables"].get("robust_accuracy", {}).items():
        for column, estimate in row.items():
            place = cells.get(f"{attack}/{column}", {})
            if place.get("norm") == norm and "eps" in place and estimate["value"] is not None:
                lines.setdefault(attack, []).append((float(place["eps"]), column, estimate))
    radii = {eps: label for line in lines.values() for eps, label, _ in line}
    if clean_accuracy is not None and clean_accuracy["value"] is not None:
        radii[0.0] = "0"
        for line in lines.values():
            line.append((0.0, "0", clean_accuracy))
    doubted = [attack for attack, line in lines.items() if any(e.get("not_trustworthy") for _, _, e in line)]
    positive = sorted(eps for eps in radii if eps > 0)
    if not positive or len(radii) < 2:
        return None
    attacked = ", ".join(map(clean, lines))
    spoken = f"Robust accuracy against the radius in {norm} under {attacked}; the numbers are in the table"
    with plot(name, spoken, WIDTH, 3.5) as (figure, panel):
        axes = figure.add_axes((0.12, 0.16, 0.85, 0.77))
        for number, (attack, line) in enumerate(lines.items()):
            colour, marker = series(number)
            dashes: Any = (0, DASHES) if attack in doubted else "-"
            points = sorted(line, key=lambda point: point[0])
            x, y = [p[0] for p in points], [p[2]["value"] for p in points]
            axes.plot(x, y, color=colour, marker=marker, linestyle=dashes, markersize=6, label=str(number))
            bounded = [p for p in points if p[2]["low"] is not None]
            low, high = ([p[2][end] for p in bounded] for end in ("low", "high"))
            axes.fill_between([p[0] for p in bounded], low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
        axes.set_xlim(-0.08 * positive[0], positive[-1] * 1.12)
        axes.minorticks_off()
        axes.set_xticks(sorted(radii), [radii[eps] for eps in sorted(radii)])
        axes.set_xlabel(f"radius in {norm}")
        axes.set_ylabel("robust accuracy (%)")
        percent_axis(axes)
        axes.xaxis.grid(visible=False)
    panel.legend = legend(list(lines), doubted=doubted)
    return panel


RIGHT, WRONG = "still correct", "wrong without attack"
_STAGE_COLOURS = {RIGHT: LINE, WRONG: MUTED}


def stages(entry: Mapping[str, Any]) -> tuple[Panel, dict[str, dict[str, Estimate]]] | None:
    """Returns the percentage of images that each stage broke, as a plot and as numbers; None if no attack has stages.

    The remaining images were misclassified without attack, or are still classified correctly.
    """
    broken = entry["tables"].get("broken_by")
    clean_accuracy = entry["metrics"].get("clean_accuracy")
    if not broken or clean_accuracy is None:
        return None
    robust, n = entry["tables"].get("robust_accuracy", {}), clean_accuracy["n"]
    none: Estimate = {"value": 0.0, "low": None, "high": None, "n": n}
    names = list(dict.fromkeys(stage for row in broken.values() for stage in row))
    rows: dict[str, dict[str, Estimate]] = {}
    for cell, row in broken.items():
        attack, _, radius = cell.partition("/")
        right = robust.get(attack, {}).get(radius, none)
        rows[cell] = {WRONG: complement(clean_accuracy), **{s: row.get(s, none) for s in names}, RIGHT: right}
    parts = [WRONG, *names, RIGHT]
    colours = [_STAGE_COLOURS.get(part, SERIES[(parts.index(part) - 1) % len(SERIES)]) for part in parts]
    label = "Percentage of images that each stage of an attack broke; the numbers are in the table"
    height = 0.7 + 0.5 * len(rows)
    with plot("stages", label, WIDTH, height) as (figure, panel):
        space = 0.45 / height
        axes = figure.add_axes((0.36, space, 0.6, 1 - space - 0.02))
        for place, row in enumerate(rows.values()):
            left = 0.0
            for part, colour in zip(parts, colours, strict=True):
                share = float(row[part]["value"] or 0.0)
                axes.barh(place, share, left=left, height=0.62, color=colour, edgecolor=PAPER, linewidth=0.8)
                left += share
        row_axis(axes, range(len(rows)), [cell.replace("/", " ", 1) for cell in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of images")
        axes.yaxis.grid(visible=False)
    panel.legend = legend(parts, boxes=colours)
    return panel, rows


def dots(name: str, rows: Sequence[tuple[str, Estimate]], label: str, axis: str) -> Panel:
    """Returns a dot plot of estimates with their intervals, one in each row; the axis covers the range of the values.

    Args:
        name: name of the plot.
        rows: names and estimates; those without a value are left out.
        label: description of the plot, for screen readers.
        axis: title of the axis.
    """
    shown = [(row, e) for row, e in rows if e["value"] is not None]
    ends = [value for _, e in shown for value in (e["value"], e["low"], e["high"]) if value is not None]
    longest = max(len(row) for row, _ in shown)
    height = 0.75 + 0.24 * len(shown)
    with plot(name, label, WIDTH, height) as (figure, panel):
        left = min(0.5, 0.04 + 0.0155 * longest)
        axes = figure.add_axes((left, 0.5 / height, 0.96 - left, 1 - 0.55 / height))
        band: dict[str, Any] = {"color": SERIES[0], "linewidth": 4, "alpha": 0.35, "solid_capstyle": "butt"}
        for place, (_, e) in enumerate(shown):
            if e["low"] is not None:
                axes.plot([e["low"], e["high"]], [place, place], **band)
            axes.plot([e["value"]], [place], marker="o", markersize=6, color=SERIES[0])
        row_axis(axes, range(len(shown)), [row for row, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel(axis)
        room = 0.05 * (max(ends) - min(ends) or 1)
        axes.set_xlim(min(ends) - room, max(ends) + room)
    return panel
