"""Tables of one run, of many runs and of comparisons for papers, trackers and spreadsheets: ``robustart table``."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from RobustART.core.tables import style_of, written_tables
from RobustART.errors import RecordError
from RobustART.metrics.comparison import compare_summaries
from RobustART.metrics.results import Summary
from RobustART.metrics.runs import Run as Results
from RobustART.metrics.runs import check_comparable, read_run
from RobustART.metrics.spec import BenchmarkSpec, Entry, PlainEstimate, summarize
from RobustART.metrics.trust import settled
from RobustART.report.board import written
from RobustART.report.board_runs import Run
from RobustART.report.columns import Column, all_columns, contrasts, headlines
from RobustART.report.numbers import numbers_by_name, unknown_number
from RobustART.report.text import COLUMNS, Data, benchmark_tables, both, interval, number


def report_table(
    report: Data, style: str = "text", *, benchmark: str | None = None, names: Sequence[str] = (), intervals: bool = False
) -> str:  # fmt: skip
    """Returns the numbers of one run: those named, or the metrics and tables of all benchmarks or of one.

    Args:
        report: the report.
        style: ``text``, ``markdown``, ``latex`` or ``html``.
        benchmark: name of a benchmark; None is all.
        names: names of numbers as in :func:`~RobustART.report.numbers.numbers_by_name`.
        intervals: whether the cells of tables have intervals, as the metrics always do.

    Raises:
        ConfigError: the style, the benchmark or a name is unknown.
    """
    entries = report["benchmarks"]
    if benchmark is not None and benchmark not in entries:
        raise unknown_number(benchmark, (f"{name}." for name in entries))
    if names:
        known = numbers_by_name(report)
        check_names(names, known)
        own = [(name, known[name].estimate) for name in names]
        tables = [(["number", *COLUMNS], [[name, number(e), interval(e), str(e["n"])] for name, e in own])]
    else:
        chosen = [name for name in entries if name == (benchmark or name)]
        cell = both if intervals else number
        tables = [table for name in chosen for table in benchmark_tables(name, entries[name], cell)]
    return written_tables(style_of(style), tables)


def runs_table(runs: Sequence[Run], style: str = "text", *, names: Sequence[str] = (), intervals: bool = False) -> str:
    """Returns a row for each run and a column for each number; runs of other conditions never share a column.

    A number is marked as the best of its column only where the paired tests of ``robustart compare`` find every other run
    worse, image by image. A number that is not trustworthy or undefined is a dash, with the reason below the table.

    Args:
        runs: runs from :func:`~RobustART.report.board_runs.read_runs`.
        style: as in :func:`report_table`.
        names: names of the columns; by default the numbers that represent each benchmark on a leaderboard.
        intervals: whether each cell has its interval.

    Raises:
        ConfigError: the style or a name is unknown.
    """
    chosen = style_of(style)
    columns = _columns(runs, names)
    best, notes = clear_best(runs, columns)
    rows = []
    for place, run in enumerate(runs):
        cells = []
        for column, winner in zip(columns, best, strict=True):
            estimate = column.estimates[place]
            if estimate is not None and estimate["value"] is None:
                notes.append(f"{run.name}, {column.benchmark} {column.name}: {estimate.get('reason', 'undefined')}")
            shown = both(estimate) if intervals else number(estimate)
            text = chosen.cell(shown if estimate is not None and estimate["value"] is not None else "-")
            cells.append(chosen.best.format(text) if winner == place else text)
        rows.append([chosen.cell(run.name), *cells])
    head = ["run", *(f"{column.benchmark} {column.name}" for column in columns)]
    table = chosen.table([*map(chosen.cell, head)], rows)
    return f"{table}\n\n{written_tables(chosen, (), [*condition_notes(runs), *notes])}".rstrip() + "\n"


def check_names(names: Sequence[str], known: Mapping[str, object]) -> None:
    """Raises a ConfigError with the nearest name for the first of ``names`` that is unknown."""
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise unknown_number(unknown, known)


def _columns(runs: Sequence[Run], names: Sequence[str]) -> list[Column]:
    if not names:
        columns = all_columns(runs)
        main = {(column.benchmark, column.metric) for column in headlines(runs, columns)}
        return [column for column in columns if (column.benchmark, column.metric) in main]
    known = {name: own for run in runs for name, own in numbers_by_name(run.report).items()}
    check_names(names, known)
    order = {(known[name].benchmark, known[name].board): place for place, name in enumerate(names)}

    def numbers_of(spec: BenchmarkSpec, entry: Entry) -> dict[str, PlainEstimate]:
        own = numbers_by_name({"benchmarks": {spec.name: entry}})
        return {own[name].board: settled(own[name].estimate) for name in names if name in own}

    return sorted(all_columns(runs, numbers_of), key=lambda column: order[column.benchmark, column.metric])


def condition_notes(runs: Sequence[Run]) -> Iterator[str]:
    """Yields a line for each set of conditions of a benchmark that prevents a comparison with the first one, A."""
    for benchmark in dict.fromkeys(name for run in runs for name in run.report["benchmarks"]):
        for letter, members, changed in contrasts(runs, benchmark)[1:]:
            names = ", ".join(runs[member].name for member in members)
            what = "; ".join(f"{key} {written(other)} (A: {written(own)})" for key, own, other in changed[:4])
            yield f"{benchmark} [{letter}], {names}: not comparable with A, {what}{'; ...' if changed[4:] else ''}"


def clear_best(runs: Sequence[Run], columns: Sequence[Column]) -> tuple[list[int | None], list[str]]:
    """Returns for each column the run that is better than every other run, or None, and why tests are missing.

    The tests are those of ``robustart compare``: Holm's adjusted p below 5 %, or a paired interval of the difference that
    excludes 0. Untrained models do not compete.
    """
    untrained = [place for place, run in enumerate(runs) if run.untrained]
    flat = [{(n.benchmark, n.board): n.flat for n in numbers_by_name(run.report).values()} for run in runs]

    @functools.cache
    def results(place: int) -> tuple[Results, dict[str, Summary]]:
        found = read_run(runs[place].path.parent)
        return found, summarize(found.records)

    @functools.cache
    def clear(one: int, other: int, benchmark: str) -> Mapping[str, bool]:
        (first, mine), (second, theirs) = results(one), results(other)
        for run in (first, second):
            if benchmark not in run.records:
                raise RecordError(f"{run.place} has no result file of {benchmark}")
        pair = first.records[benchmark], second.records[benchmark]
        check_comparable(*pair, (first.place, second.place))
        numbers = compare_summaries(mine[benchmark], theirs[benchmark], pair[0].passes[0].ids.tolist())
        return {name: number.clear for name, number in numbers.items()}

    def winner(column: Column) -> int | None:
        first = column.best(untrained)
        if len(first) != 1:
            return None
        others = [p for p in range(len(runs)) if p not in (*first, *untrained) and column.value(p) is not None]
        own, *names = (flat[p][column.benchmark, column.metric] for p in (*first, *others))
        better = [clear(*first, p, column.benchmark).get(own, False) for p in others]
        return first[0] if all(better) and set(names) == {own} else None

    best: list[int | None] = []
    notes: dict[str, None] = {}
    for column in columns:
        try:
            best.append(winner(column))
        except RecordError as error:
            best.append(None)
            notes[f"no run is marked as the best in {column.benchmark}, because there is no paired test: {error}"] = (
                None
            )
    return best, list(notes)
