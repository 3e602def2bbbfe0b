"""Finds and reads ``report.json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from RobustART.core.files import runs_within
from RobustART.errors import RecordError
from RobustART.report.plausible import impossible
from RobustART.report.schema import faults, read_json, report_schema

FORMAT: str = report_schema()["properties"]["format"]["const"]


def find_report(folder: str | Path) -> Path:
    """Returns the ``report.json`` of an output folder or of its ``results``.

    Raises:
        RecordError: there is no report; the message says what to do.
    """
    folder = existing_folder(folder)
    for path in (folder / "results" / "report.json", folder / "report.json"):
        if path.is_file():
            return path
    begun = next((place for place in (folder / "results", folder) if any(place.glob("*.jsonl*"))), None)
    hint = runs_within(folder, "report.json") or (
        f". Result files are in {begun}: run the command of an unfinished run again to resume it, or write the report of a "
        f"finished one with `robustart report {folder}`"
        if begun is not None
        else ". Name the output_dir of a finished run, or its results folder"
    )
    raise RecordError(f"{folder} has no report: neither results/report.json nor report.json exists{hint}")


def existing_folder(folder: str | Path) -> Path:
    """Returns the folder of a run; raises a RecordError that says what to name instead if it is not a folder."""
    folder = Path(folder)
    if folder.is_file():
        raise RecordError(f"{folder} is a file; name the folder of its run: the output_dir, or its results folder")
    if not folder.is_dir():
        raise RecordError(f"there is no folder {folder}; name the output_dir of a run, or its results folder")
    return folder


def read_report(path: str | Path) -> dict[str, Any]:
    """Returns the contents of a ``report.json``.

    Raises:
        RecordError: the file cannot be read, is of another format or version, is incomplete, or has impossible values; the
            message names the file and the field.
    """
    path = Path(path)
    data = read_json(path, {"type": "object"})
    if data.get("format") != FORMAT:
        raise RecordError(
            f"{path} is not a report of this version: its format must be {FORMAT!r}, got {data.get('format')!r}; "
            f"`robustart report {path.parent}` writes it again from the result files"
        )
    fault = next(report_faults(data), None)
    if fault is not None:
        raise RecordError(f"{path} is damaged: {fault}")
    return data


def report_faults(data: dict[str, Any]) -> Iterator[str]:
    """Yields the violations of the schema by a report; if it conforms, its impossible values."""
    found = list(faults(data))
    yield from found or impossible(data)
