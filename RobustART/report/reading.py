"""Finding and reading ``report.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from RobustART.core.files import runs_within
from RobustART.errors import RecordError
from RobustART.report.plausible import impossible
from RobustART.report.schema import faults, report_schema

FORMAT: str = report_schema()["properties"]["format"]["const"]


def find_report(folder: str | Path) -> Path:
    """Returns the ``report.json`` of an output folder or of its ``results``, or a RecordError that names the folder."""
    folder = Path(folder)
    if folder.is_file():
        raise RecordError(f"{folder} is a file; name the folder of its run: the output_dir, or its results folder")
    if not folder.is_dir():
        raise RecordError(f"there is no folder {folder}; name the output_dir of a run, or its results folder")
    for path in (folder / "results" / "report.json", folder / "report.json"):
        if path.is_file():
            return path
    begun = next((place for place in (folder / "results", folder) if any(place.glob("*.jsonl*"))), None)
    told = runs_within(folder, "report.json") or (
        f". Result files are in {begun}: if the run has not ended, its own command goes on with it; if it has, that writes "
        "the report anew"
        if begun is not None and begun.name == "results"
        else ". Name the output_dir of a run that has ended, or its results folder"
    )
    raise RecordError(f"{folder} holds no report: neither results/report.json nor report.json is there{told}")


def read_report(path: str | Path) -> dict[str, Any]:
    """Returns what a ``report.json`` holds.

    Raises:
        RecordError: it cannot be read, is of another format or version, is not whole, or says what cannot be; the message
            names the file and the field.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise RecordError(f"{path} is not JSON: {error}") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise RecordError(
            f"{path} is not a report of this version: its format must be {FORMAT!r}, got {found!r}; the run's own command, "
            "given again, writes it anew"
        )
    fault = next(faults(data), None) or next(impossible(data), None)
    if fault is not None:
        raise RecordError(f"{path} is damaged: {fault}")
    return data
