"""The leaderboard: many runs in one self-contained page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from RobustART.core.defaults import NOT_KNOWN
from RobustART.metrics.spec import face
from RobustART.report import board_charts
from RobustART.report.board_runs import Run, differences
from RobustART.report.columns import Column, all_columns, contrasts, headlines
from RobustART.report.plotting import Panel, legend, slug
from RobustART.report.rendering import render_page
from RobustART.report.tables import fact_table
from RobustART.report.text import not_imported, short

TITLE = "RobustART leaderboard"
"""Title of the page."""
Section = dict[str, Any]


def render_board(runs: Sequence[Run], folder: Path) -> str:
    """Returns the page of a leaderboard.

    Args:
        runs: one or more runs.
        folder: folder of the page, for links to the pages of the runs.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    columns = all_columns(runs)
    shown = headlines(runs, columns)
    order, first = ranking(runs, shown)
    places = ranks(runs, order, first)
    families = list(dict.fromkeys(run.family for run in runs))
    parts = [
        {
            "id": "board",
            "heading": "Runs",
            "kind": "board",
            **_table(runs, columns, shown, order, places, folder),
        },
        *_comparability(runs, columns),
        *_plots(runs, shown, families),
    ]
    return render_page(
        "board.html.j2", title=TITLE, count="1 run" if len(runs) == 1 else f"{len(runs)} runs", first=first, parts=parts,
        legend=legend(families, lines=False),
    )  # fmt: skip


def ranking(runs: Sequence[Run], shown: Sequence[Column]) -> tuple[list[int], Column | None]:
    """Returns the order of the runs, best first and those without a rank last, and the column that determines it.

    This is the first measure of robustness that most trained models have; without one, clean accuracy.
    """
    ways = [column for column in shown if column.better is not None]
    robust = [column for column in ways if face(column.benchmark).noise != "none"] or ways
    if not robust:
        return list(range(len(runs))), None
    trained = [number for number, run in enumerate(runs) if not run.untrained]
    first = max(robust, key=lambda column: sum(column.value(number) is not None for number in trained))
    sign = -1 if first.better == "high" else 1

    def place(number: int) -> tuple[bool, bool, float]:
        value = first.value(number)
        return runs[number].untrained, value is None, 0.0 if value is None else sign * value

    return sorted(range(len(runs)), key=place), first


def ranks(runs: Sequence[Run], order: Sequence[int], first: Column | None) -> list[int | None]:
    """Returns the rank of each run, from 1; equal values share a rank, such as 1, 2, 2, 4.

    Untrained models and runs without a value have none.

    Args:
        runs: the runs.
        order: their order, from :func:`ranking`.
        first: the column that determines it.
    """
    values = [first.value(number) for number in order if not runs[number].untrained] if first else []
    places = {value: values.index(value) + 1 for value in values if value is not None}
    return [
        places.get(value) if first and (value := first.value(number)) is not None and not run.untrained else None
        for number, run in enumerate(runs)
    ]


def _table(
    runs: Sequence[Run], columns: Sequence[Column], shown: Sequence[Column], order: Sequence[int],
    places: Sequence[int | None], folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Returns the content of the table and its controls.

    Args:
        runs: all runs.
        columns: all columns; those of a benchmark are grouped below its name.
        shown: the columns that represent a benchmark; the others are details.
        order: order of the rows.
        places: rank of each run.
        folder: folder of the page.
    """
    names = dict.fromkeys(column.benchmark for column in columns)
    benchmarks = {name: [column for column in columns if column.benchmark == name] for name in names}
    columns = [column for own in benchmarks.values() for column in own]
    main = {(column.benchmark, column.metric) for column in shown}
    for run in runs:  # columns that represent a benchmark under other conditions count too
        entries = run.report["benchmarks"].items()
        main |= {(name, face(name).headline(e["metrics"]) or "") for name, e in entries if face(name).headlines is None}
    marks = differences(runs)
    kinds = {"family": [run.family for run in runs], "technique": [run.technique for run in runs]}
    return {
        "notes": not_imported(benchmarks),
        "benchmarks": benchmarks,
        "columns": columns,
        "details": [(column.benchmark, column.metric) not in main for column in columns],
        "best": [column.best([number for number, run in enumerate(runs) if run.untrained]) for column in columns],
        "choices": {kind: sorted(set(values)) for kind, values in kinds.items()},
        "rows": [
            {
                "number": number,
                "rank": places[number],
                "run": runs[number],
                "page": _page_of(runs[number], folder),
                "sizes": [
                    (count, NOT_KNOWN if count is None else short(count))
                    for count in (runs[number].parameters, runs[number].macs)
                ],
                "marks": [f"{key} {written(value)}" for key, value in marks[number].items()],
                "remarks": _remarks(runs[number]),
            }
            for number in order
        ],
    }


def _remarks(run: Run) -> list[str]:
    count = len(run.report["warnings"])
    return [f"{count} warning{'s' if count > 1 else ''} in its report"] if count else []


def _page_of(run: Run, folder: Path) -> str | None:
    """Returns the address of a run's page, relative to a folder; None if it has no page."""
    page = run.path.parent / "report.html"
    if not page.is_file():
        return None
    try:
        relative = os.path.relpath(page.resolve(), folder.resolve())
    except ValueError:  # another drive
        return page.resolve().as_uri()
    return quote(Path(relative).as_posix(), errors="surrogateescape")


def _comparability(runs: Sequence[Run], columns: Sequence[Column]) -> Iterator[Section]:
    """Yields the section that explains the letters, if there are any; benchmarks with equal differences share a table."""
    tables: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for benchmark in dict.fromkeys(column.benchmark for column in columns):
        rows = []
        for letter, members, changed in contrasts(runs, benchmark):
            names = ", ".join(f"{number + 1} {runs[number].name}" for number in members)
            stated = "; ".join(f"{key}: {written(other)} (A: {written(own)})" for key, own, other in changed)
            rows.append((letter, names, stated or "the reference of the others"))
        if rows:
            tables.setdefault(tuple(rows), []).append(benchmark)
    if tables:
        head = ["", "runs", "differs from A in"]
        yield {
            "id": "conditions", "heading": "Conditions that differ", "kind": "conditions",
            "tables": [
                fact_table(head, [(letter, cells) for letter, *cells in rows], ", ".join(benchmarks))
                for rows, benchmarks in tables.items()
            ],
        }  # fmt: skip


def written(value: Any) -> str:
    """Returns the value of a condition as a string."""
    if isinstance(value, list):
        return ", ".join(map(written, value))
    return "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _plots(runs: Sequence[Run], shown: Sequence[Column], families: Sequence[str]) -> Iterator[Section]:
    """Yields the sections of plots, without plots of a single run or a single kind."""
    for identity, heading, plots, caption in _drawn(runs, shown, families):
        panels = [panel for panel in plots if panel is not None]
        if panels:
            yield {"id": identity, "heading": heading, "kind": "plots", "panels": panels, "caption": caption}


def _drawn(
    runs: Sequence[Run], shown: Sequence[Column], families: Sequence[str]
) -> Iterator[tuple[str, str, list[Panel | None], str]]:
    robust = [column for column in shown if face(column.benchmark).noise != "none"]
    clean = next((column for column in shown if face(column.benchmark).noise == "none"), None)

    def scatter(kind: str, x: Column | None, y: Column) -> Panel | None:
        return board_charts.scatter(f"{kind}-{_id(y)}", runs, x, y, families)

    if clean is not None:
        caption = (
            "Each point is a run, with its number in the table and the size of its model; bars are 95 % intervals."
        )
        plots = [scatter("accuracy", clean, column) for column in robust]
        yield "accuracy", "Robustness against clean accuracy", plots, caption
    caption = "The number of parameters is on a logarithmic axis."
    yield "size", "Robustness against size", [scatter("size", None, column) for column in shown], caption
    caption = "Each point is a run, in the order of the table's numbers; bars are 95 % intervals."
    for identity, heading, kinds in (
        ("families", "By architecture family", [run.family for run in runs]),
        ("techniques", "By training technique", [run.technique for run in runs]),
    ):
        strips = [board_charts.strips(f"{identity}-{_id(column)}", runs, kinds, column, families) for column in shown]
        yield identity, heading, strips, caption
    caption = "Robustness to one kind of noise against robustness to another. Each point is a run."
    pairs = [scatter(_id(one), one, other) for place, one in enumerate(robust) for other in robust[place + 1 :]]
    yield "robustness", "One robustness against another", pairs, caption


def _id(column: Column) -> str:
    return f"{slug(column.benchmark)}-{slug(column.name)}"
