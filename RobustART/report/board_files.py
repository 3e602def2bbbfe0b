"""Writes the leaderboard as a page, and as JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from RobustART.core.files import Output, check_outputs, json_format, write_whole
from RobustART.core.tables import csv_table
from RobustART.report.board import TITLE, ranking, ranks, render_board
from RobustART.report.board_runs import Run, differences
from RobustART.report.columns import all_columns, contrasts, headlines

_NAME = "robustart-leaderboard"
FORMAT = f"{_NAME}/1"
HEADS = ("name", "folder", "family", "technique", "parameters", "input_size")
"""First columns of the CSV of this version and earlier ones."""
FURTHER = ("macs", "rank")
"""Columns after :data:`HEADS`."""


def write_board(
    runs: Sequence[Run],
    page: str | Path,
    *,
    json_to: str | Path | None = None,
    csv_to: str | Path | None = None,
    inputs: Sequence[str | Path] = (),
) -> list[str]:
    """Writes the leaderboard, and returns lines that name the files, runs that are not comparable, and withheld numbers.

    Args:
        runs: runs from :func:`~RobustART.report.board_runs.read_runs`.
        page: path of the page.
        json_to: path of a JSON file with the same content; None writes none.
        csv_to: path of a CSV file with the same content; None writes none.
        inputs: files that were read in addition to the runs' reports.

    Raises:
        ConfigError: a file cannot be written, is an input, or exists and is not a leaderboard; or matplotlib is not
            installed.
    """
    asked = [
        Output("-o", Path(page), "a leaderboard", rf"[\s\S]*<title>{TITLE}</title>"),
        *([] if json_to is None else [Output("--json", Path(json_to), "a leaderboard's data", json_format(_NAME))]),
        *([] if csv_to is None else [Output("--csv", Path(csv_to), "a leaderboard's table", ",".join(HEADS) + "\\b")]),
    ]
    check_outputs(asked, [*(run.path for run in runs), *inputs])
    texts = {Path(page): render_board(runs, Path(page).parent)}
    if json_to is not None:
        texts[Path(json_to)] = json.dumps(board_data(runs), indent=2) + "\n"
    if csv_to is not None:
        texts[Path(csv_to)] = board_csv(runs)
    for path, text in texts.items():
        write_whole(path, text, unique=True)
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    lines = [f"{', '.join(map(str, texts))}: {count}"]
    for benchmark in dict.fromkeys(name for run in runs for name in run.report["benchmarks"]):
        for letter, members, changed in contrasts(runs, benchmark)[1:]:
            names = ", ".join(runs[number].name for number in members)
            keys = ", ".join(key for key, _, _ in changed[:4]) + (", ..." if len(changed) > 4 else "")
            lines.append(f"{benchmark}: {names} may not be compared with the others ({letter}); they differ in {keys}")
    withheld = []
    for number, run in enumerate(runs):
        numbers = [f"{column.benchmark} {column.name}" for column in all_columns(runs) if column.withheld(number)]
        if numbers:
            withheld.append(
                f"{run.name}: {', '.join(numbers[:4])}" + (f" and {len(numbers) - 4} more" if numbers[4:] else "")
            )
    if withheld:
        lines.append(
            f"withheld because they are not trustworthy (--csv and --json have reasons): {'; '.join(withheld)}"
        )
    return lines


def board_data(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns the leaderboard as JSON data: runs with their labels and differences, columns with their estimates."""
    marks, columns = differences(runs), all_columns(runs)
    order, first = ranking(runs, headlines(runs, columns))
    places = ranks(runs, order, first)
    return {
        "format": FORMAT,
        "ranked_by": None if first is None else {"benchmark": first.benchmark, "number": first.name},
        "runs": [
            {
                "name": run.name, "folder": run.folder, "family": run.family, "technique": run.technique,
                "parameters": run.parameters, "input_size": run.input_size, "macs": run.macs, "rank": places[number],
                "differs_in": marks[number], "warnings": run.report["warnings"],
            }
            for number, run in enumerate(runs)
        ],
        "columns": [
            {
                "benchmark": column.benchmark, "metric": column.metric, "conditions": column.letters,
                "better": column.better, "estimates": list(column.estimates),
            }
            for column in columns
        ],
    }  # fmt: skip


def board_csv(runs: Sequence[Run]) -> str:
    """Returns the leaderboard as CSV: a line for each run, with value, interval and number of images of each column.

    The last column has the reasons of numbers that are withheld because they are not trustworthy.
    """
    columns = all_columns(runs)
    order, first = ranking(runs, headlines(runs, columns))
    places = ranks(runs, order, first)
    parts = ("value", "low", "high", "n")
    heads = [f"{column.benchmark} {column.name} {part}" for column in columns for part in parts]
    rows: list[list[Any]] = [[*HEADS, *FURTHER, *heads, "reasons"]]
    for number, run in enumerate(runs):
        row = [run.name, run.folder, run.family, run.technique, run.parameters, run.input_size]
        row += [run.macs, places[number]]
        for column in columns:
            estimate = column.estimates[number] or {}
            row += ["" if estimate.get(part) is None else estimate[part] for part in parts]
        found = [(column, column.withheld(number)) for column in columns]
        rows.append([*row, " | ".join(f"{column.benchmark} {column.name}: {why}" for column, why in found if why)])
    return csv_table(rows)
