"""Results of sub-networks: one row for each, as JSON lines and as CSV."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.files import parse_json, write_whole
from RobustART.core.tables import csv_table
from RobustART.errors import RecordError
from RobustART.metrics.spec import face

FORMAT = "robustart-nas/1"
NAME = "rows.jsonl"
Row = Mapping[str, Any]


def row_of(subnet: Row, report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row of a sub-network: its description, and the values of its report by benchmark.

    The values are the benchmark's numbers, robust accuracy under each attack, and the mean error under each corruption and
    each group of them.

    Args:
        subnet: the sub-network's line in the list.
        report: the content of ``report.json``.
    """
    numbers = {
        benchmark: {name: estimate["value"] for name, estimate in face(benchmark).listed_numbers(entry).items()}
        for benchmark, entry in report["benchmarks"].items()
    }
    return {**subnet, "weights": report["model"]["weights"], "numbers": numbers}


def columns_of(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Returns benchmark and name of every number, in the order of first appearance."""
    found = [(benchmark, name) for row in rows for benchmark, own in row["numbers"].items() for name in own]
    return list(dict.fromkeys(found))


write_file = functools.partial(write_whole, durable=True, unique=True, error=RecordError)
"""Writes a file of a study whole or not at all; several processes may write the same one."""


def write_rows(folder: Path, header: Mapping[str, Any], rows: Sequence[Row]) -> list[Path]:
    """Writes ``rows.jsonl`` and ``rows.csv``, each whole or not at all; returns their paths."""
    lines = [json.dumps(row) + "\n" for row in ({"format": FORMAT, **header}, *rows)]
    texts = {NAME: "".join(lines), "rows.csv": _spreadsheet(rows)}
    for name, text in texts.items():
        write_file(folder / name, text)
    return [folder / name for name in texts]


def _spreadsheet(rows: Sequence[Row]) -> str:
    numbers = columns_of(rows)
    names = list(rows[0]["factors"])
    table = [["id", *names, "parameters", "macs", *(f"{benchmark} {name}" for benchmark, name in numbers)]]
    for row in rows:
        own = [row["numbers"].get(benchmark, {}).get(name) for benchmark, name in numbers]
        facts = [row["factors"][name] for name in names]
        table.append([row["id"], *facts, row["parameters"], row["macs"], *("" if v is None else v for v in own)])
    return csv_table(table)


def read_rows(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the header and the rows of a folder of results, or of a ``rows.jsonl`` itself.

    Raises:
        RecordError: the file is missing, incomplete or damaged.
    """
    path = folder / NAME if folder.is_dir() else folder
    if not path.is_file():
        done = len(list((folder / "subnets").glob("*/row.json")))
        raise RecordError(
            f"there is no {path}: it is written when every sub-network is evaluated ({done} so far); the same "
            "robustart nas evaluate resumes"
            if done
            else f"there is no {path}; robustart nas evaluate writes it"
        )
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from None
    if not rows or not isinstance(rows[0], dict) or rows[0].get("format") != FORMAT:
        raise RecordError(f"{path} is not a file of rows: its first line must have the format {FORMAT!r}")
    header, *rest = rows
    for number, row in enumerate(rest, 2):
        keys = {"id", "factors", "parameters", "macs", "numbers"}
        if not isinstance(row, dict) or not keys <= set(row):
            raise RecordError(f"line {number} of {path} is damaged: it must have {', '.join(sorted(keys))}")
    return header, rest
