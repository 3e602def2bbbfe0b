"""Text tables for terminals and Markdown, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table for a terminal, with the first column aligned left and the others right."""
    from tabulate import tabulate  # its import would slow down every --help

    sides = ("left", *("right",) * (len(head) - 1))
    lines = str(tabulate([head, *rows], tablefmt="plain", disable_numparse=True, colalign=sides)).split("\n")
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table without padding; cells may contain pipes and line breaks."""
    from tabulate import tabulate

    first, *others = ([_inline(cell) for cell in row] for row in (head, *rows))
    return str(tabulate(others, first, "github", disable_numparse=True, stralign=None))


def _inline(cell: str) -> str:
    return " ".join(cell.splitlines()).replace("|", "\\|")


def csv_table(rows: Iterable[Sequence[Any]]) -> str:
    """Returns CSV; a string that a spreadsheet would compute begins with an apostrophe, so that it is shown instead."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_plain(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _plain(cell: Any) -> Any:
    cell = cell.replace("\r", " ") if isinstance(cell, str) else cell  # the module csv does not quote it
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
