"""The table of a leaderboard, with its controls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from RobustART.metrics.spec import face
from RobustART.report import markup
from RobustART.report.board_charts import short
from RobustART.report.columns import Column
from RobustART.report.markup import attributes, element, text
from RobustART.report.runs import Run, differences
from RobustART.report.sections import ARROWS

BEFORE, AFTER = ("#", "run", "family", "technique", "parameters"), ("input", "other conditions than most")
"""Heads of the columns beside the numbers."""


def board_table(
    runs: Sequence[Run], columns: Sequence[Column], headlines: Sequence[Column], order: Sequence[int],
    first: Column | None, folder: Path,
) -> str:  # fmt: skip
    """Returns the table and its controls.

    Args:
        runs: all runs.
        columns: all numbers; those of a benchmark stand below its name.
        headlines: the columns that stand for a benchmark; the others are details.
        order: of the rows.
        first: the column by which they are in this order; None is by none.
        folder: where the page will be.
    """
    benchmarks = {
        name: [c for c in columns if c.benchmark == name] for name in dict.fromkeys(c.benchmark for c in columns)
    }
    columns = [column for own in benchmarks.values() for column in own]
    main = {(column.benchmark, column.metric) for column in headlines}
    for run in runs:  # and what stands for a benchmark under other conditions
        entries = run.report["benchmarks"].items()
        main |= {(name, face(name).headline(e["metrics"]) or "") for name, e in entries if face(name).headlines is None}
    details = [(column.benchmark, column.metric) not in main for column in columns]
    caption = (
        "All runs with 95 % intervals. The best of a column is bold; where intervals overlap it may be so by chance. "
        "Letters name conditions that may not be compared: each set has columns of its own."
    )
    marks = differences(runs)
    best = [set(column.best()) for column in columns]
    shown = list(zip(columns, details, best, strict=True))
    rows = "".join(_row(number, runs[number], shown, marks[number], folder) for number in order)
    inner = (
        f"{element('caption', element('span', text(caption)))}<thead>{_head(benchmarks, details, first)}</thead>\n"
        f"<tbody>\n{rows}</tbody>"
    )
    table = element("table", inner, class_="sortable board", id="runs")
    return f"{_filters(runs, list(benchmarks), any(details))}{markup.scroll(table, 'All runs')}"


def _head(benchmarks: Mapping[str, Sequence[Column]], details: Sequence[bool], first: Column | None) -> str:
    """Returns two rows: benchmarks above, their numbers below."""

    def fixed(names: Sequence[str], start: int) -> str:
        return "".join(
            element("th", text(name), scope="col", rowspan=2, data_column=start + place)
            for place, name in enumerate(names)
        )

    upper, lower = fixed(BEFORE, 0), ""
    for benchmark, own in benchmarks.items():
        upper += element("th", text(benchmark), scope="colgroup", colspan=len(own), data_group=benchmark)
        for column in own:
            place = len(BEFORE) + lower.count("<th ")
            letters = f' <span class="letters">{text(column.letters)}</span>' if column.letters else ""
            arrow = "" if column.better is None else f' <span aria-hidden="true">{ARROWS[column.better]}</span>'
            spoken = "" if column.better is None else f'<span class="spoken"> ({column.better}er is better)</span>'
            sort = None if column is not first else "descending" if column.better == "high" else "ascending"
            lower += element(
                "th", _breakable(column.metric) + letters + arrow + spoken, scope="col", data_column=place,
                data_group=benchmark, data_detail="" if details[place - len(BEFORE)] else None, data_better=column.better,
                aria_sort=sort,
            )  # fmt: skip
    upper += fixed(AFTER, len(BEFORE) + len(details))
    return f"<tr>{upper}</tr>\n<tr>{lower}</tr>"


def _row(
    number: int, run: Run, shown: Sequence[tuple[Column, bool, set[int]]], marks: Mapping[str, Any], folder: Path
) -> str:
    """Returns the row of a run; ``shown`` are the columns, whether each is a detail, and the runs that are best in it."""
    page = run.path.parent / "report.html"
    name = _breakable(run.name)
    if page.is_file():
        name = f"<a{attributes(href=_address(page, folder))}>{name}</a>"
    told = [f"{key} {said(value)}" for key, value in marks.items()]
    if told:
        name += ' <span class="mark" aria-hidden="true">\N{NOT EQUAL TO}</span>'
        name += '<span class="spoken"> (other conditions)</span>'
    warnings = len(run.report["warnings"])
    if warnings:
        told.append(f"{warnings} warning{'s' if warnings > 1 else ''} in its report")
    cells = [
        markup.plain_cell(number + 1), element("th", name, scope="row"), markup.plain_cell(run.family),
        markup.plain_cell(run.technique),
        element("td", text(short(run.parameters)), class_="number", data_value=run.parameters),
    ]  # fmt: skip
    for column, detail, best in shown:
        leading, hide = "best" if number in best else None, "" if detail else None
        cells.append(
            markup.cell(column.estimates[number], data_group=column.benchmark, data_detail=hide, class_=leading)
        )
    cells += [markup.plain_cell(run.input_size), element("td", _told(told), class_="marks")]
    about = attributes(data_run=number, data_family=run.family, data_technique=run.technique)
    return f"<tr{about}>{''.join(cells)}</tr>\n"


def _told(told: Sequence[str]) -> str:
    """Returns what is told of a run; more than a little of it is folded, so that rows stay low."""
    if len(told) < 3:
        return text("; ".join(told))
    shown = "; ".join(told[:2])
    return element(
        "details", element("summary", text(f"{shown}; and {len(told) - 2} more")) + text("; ".join(told[2:]))
    )


def _breakable(name: str) -> str:
    """Returns a name that may be broken behind its underscores."""
    return text(name).replace("_", "_<wbr>")


def _address(page: Path, folder: Path) -> str:
    """Returns the relative address of a page."""
    try:
        relative = os.path.relpath(page.resolve(), folder.resolve())
    except ValueError:  # another drive
        return page.resolve().as_uri()
    return quote(Path(relative).as_posix(), errors="surrogateescape")


def _filters(runs: Sequence[Run], benchmarks: Sequence[str], details: bool) -> str:
    """Returns the controls, which the script shows: without it they could not act."""

    def choice(name: str, values: Sequence[str]) -> str:
        options = "".join(element("option", text(value), value=value) for value in sorted(set(values)))
        return f'<label>{name} <select name="{name}"><option value="">all</option>{options}</select></label>'

    def box(name: str, label: str, **values: str) -> str:
        return f"<label><input{attributes(type='checkbox', name=name, **values)}> {text(label)}</label>"

    boxes = "".join(box("benchmark", name, value=name, checked="checked") for name in benchmarks)
    if details:
        boxes += box("details", "all numbers")
    return (
        '<form class="filters" data-for="runs" hidden><label>search <input type="search" name="search" autocomplete="off">'
        f"</label>{choice('family', [run.family for run in runs])}{choice('technique', [run.technique for run in runs])}"
        f'<fieldset><legend>columns</legend>{boxes}</fieldset><p class="shown" role="status"></p></form>\n'
    )


def said(value: Any) -> str:
    """Returns plain data as people say it."""
    if isinstance(value, list):
        return ", ".join(map(said, value))
    return "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
