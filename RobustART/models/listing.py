"""The table of architectures as text, for ``robustart models``."""

from __future__ import annotations

import csv
import dataclasses
import fnmatch
import io
import json

from RobustART.errors import ConfigError
from RobustART.models.architectures import Architecture, select
from RobustART.models.libraries import LIBRARIES

COLUMNS = ("name", "set", "family", "params (M)", "MACs", "input", "resize", "built by", "other names")


def table(
    pattern: str | None, family: str | None, sets: tuple[str, ...], style: str = "text", *, notes: bool = False
) -> list[str]:
    """Returns lines for the rows that :func:`~RobustART.models.architectures.select` chooses.

    Args:
        pattern: of names.
        family: of architectures.
        sets: of the table.
        style: ``text`` for aligned columns, ``csv``, or ``json`` (a list of objects with all fields).
        notes: whether text and csv hold the builder's arguments and the notes.
    """
    rows = select(pattern, family=family, sets=sets)
    if style == "json":
        return [json.dumps([dataclasses.asdict(row) for row in rows], indent=1)]
    head = [*COLUMNS, "arguments", "note"] if notes else list(COLUMNS)
    lines = [head, *([*_cells(row), *_details(row)] if notes else _cells(row) for row in rows)]
    if style == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue().splitlines()
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    aligned = [
        "  ".join(
            cell.rjust(width) if 3 <= i <= 6 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return [*aligned, f"{len(rows)} architecture{'' if len(rows) == 1 else 's'}"]


def _cells(row: Architecture) -> list[str]:
    other = "; ".join(name for name in row.originals if name != row.name)
    sizes = (f"{row.params_millions:.2f}", row.macs, str(row.input_size), str(row.resize))
    return [row.name, row.set, row.family, *sizes, row.builder, other]


def _details(row: Architecture) -> list[str]:
    return [" ".join(f"{key}={value}" for key, value in row.arguments.items()), row.note]


def library_names(library: str, pattern: str | None, style: str = "text") -> list[str]:
    """Returns lines for the names of timm's or torchvision's classifiers that a pattern fits.

    Args:
        library: ``timm`` or ``torchvision``.
        pattern: of names.
        style: ``text`` for a name on each line, ``csv`` for the same under a head, ``json`` for a list.
    """
    names = LIBRARIES[library].names()
    wanted = "*" if pattern is None else pattern if "*" in pattern or "?" in pattern else f"*{pattern}*"
    chosen = [name for name in names if fnmatch.fnmatchcase(name.lower(), wanted.lower())]
    if not chosen:
        raise ConfigError(f"no name of {library} fits {pattern!r}")
    if style == "json":
        return [json.dumps(chosen, indent=1)]
    return ["name", *chosen] if style == "csv" else chosen
