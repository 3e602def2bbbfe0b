"""The leaderboard: many runs in one page that opens without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from RobustART.metrics.spec import face
from RobustART.report import board_charts, markup, plotting
from RobustART.report.board_table import board_table, said
from RobustART.report.charts import slug
from RobustART.report.columns import Column, all_columns, contrasts, headlines
from RobustART.report.markup import element, text
from RobustART.report.runs import Run
from RobustART.report.sections import Part

TITLE = "RobustART leaderboard"
"""Of the page."""


def render_board(runs: Sequence[Run], folder: Path) -> str:
    """Returns the page.

    Args:
        runs: two or more make a board, one is possible.
        folder: where the page will be, for links to the runs' own pages.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    columns = all_columns(runs)
    shown = headlines(runs, columns)
    order, first = ranking(runs, shown)
    families = list(dict.fromkeys(run.family for run in runs))
    parts = [("board", "Runs", board_table(runs, columns, shown, order, first, folder)), *_comparability(runs, columns)]
    parts += _plots(runs, shown, families)
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    by = "" if first is None else f", ranked by {first.benchmark}: {first.name}"
    links = "".join(f'<li><a href="#{identity}">{text(heading)}</a></li>' for identity, heading, _ in parts)
    header = (
        f'<header>\n<p class="kind">RobustART</p>\n<h1>Leaderboard</h1>\n{element("p", text(count + by))}\n</header>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
    )
    body = "".join(markup.section(*part) for part in parts)
    return markup.page(TITLE, f"{header}<main>\n{body}</main>\n", wide=True)


def ranking(runs: Sequence[Run], shown: Sequence[Column]) -> tuple[list[int], Column | None]:
    """Returns the order of the runs, best first and those without a number last, and the column that decides.

    It is the robustness that most runs were measured by, the first of these; clean accuracy only if there is no other.
    """
    ways = [column for column in shown if column.better is not None]
    robust = [column for column in ways if face(column.benchmark).noise != "none"] or ways
    if not robust:
        return list(range(len(runs))), None
    first = max(robust, key=lambda column: column.count)
    sign = -1 if first.better == "high" else 1

    def place(number: int) -> tuple[bool, float]:
        value = first.value(number)
        return value is None, 0.0 if value is None else sign * value

    return sorted(range(len(runs)), key=place), first


def _comparability(runs: Sequence[Run], columns: Sequence[Column]) -> Iterator[Part]:
    """Yields what the letters mean, where there are any; benchmarks that differ in the same are told of together."""
    tables: dict[tuple[tuple[str, str, str], ...], list[str]] = {}
    for benchmark in dict.fromkeys(column.benchmark for column in columns):
        rows = []
        for letter, members, changed in contrasts(runs, benchmark):
            names = ", ".join(f"{number + 1} {runs[number].name}" for number in members)
            told = "; ".join(f"{key}: {said(other)} (A: {said(own)})" for key, own, other in changed)
            rows.append((letter, names, told or "what the others are held against"))
        if rows:
            tables.setdefault(tuple(rows), []).append(benchmark)
    inner = ""
    for told_rows, benchmarks in tables.items():
        body = [(letter, [markup.plain_cell(names), markup.plain_cell(told)]) for letter, names, told in told_rows]
        inner += markup.table(["", "runs", "differs from A in"], body, ", ".join(benchmarks), extra="facts")
    if inner:
        told = (
            "<p>These runs measured different things under one name. Their numbers stand in columns of their own.</p>\n"
        )
        yield "conditions", "Conditions that differ", told + inner


def _plots(runs: Sequence[Run], shown: Sequence[Column], families: Sequence[str]) -> Iterator[Part]:
    """Yields the sections of plots; what only one run was measured by, and what is the same for all, is not drawn."""
    key = plotting.legend(families, lines=False)
    for identity, heading, plots, caption in _drawn(runs, shown, families):
        given = [f'<div class="panel">{plot}</div>' for plot in plots if plot is not None]
        if given:
            yield identity, heading, key + markup.figure(given, caption)


def _drawn(
    runs: Sequence[Run], shown: Sequence[Column], families: Sequence[str]
) -> Iterator[tuple[str, str, list[str | None], str]]:
    robust = [column for column in shown if face(column.benchmark).noise != "none"]
    clean = next((column for column in shown if face(column.benchmark).noise == "none"), None)

    def scatter(kind: str, x: Column | None, y: Column) -> str | None:
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
    caption = "Whether what helps against one noise helps against another."
    pairs = [scatter(_id(one), one, other) for place, one in enumerate(robust) for other in robust[place + 1 :]]
    yield "robustness", "One robustness against another", pairs, caption


def _id(column: Column) -> str:
    return f"{slug(column.benchmark)}-{slug(column.name)}"
