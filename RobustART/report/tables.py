"""Tables of pages, as data for the templates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from RobustART.report.text import Estimate, columns


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a page."""

    caption: str
    """Caption."""
    head: list[str]
    """Names of the columns."""
    groups: list[tuple[str, list[tuple[str, list[Any]]]]]
    """Rows (name and cells) under headings, which may be empty. A cell is an estimate, optionally with a ``style`` or a
    ``class``, a number, a string, or None."""
    kind: str = ""
    """CSS classes: ``sortable``, ``heat``, ``facts``."""


def fact_table(
    head: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]], caption: str, kind: str = "facts"
) -> Table:
    """Returns a table of strings and numbers.

    Args:
        head: names of the columns.
        rows: name and cells of each row.
        caption: caption.
        kind: CSS classes.
    """
    return Table(caption, list(head), [("", [(name, list(cells)) for name, cells in rows])], kind)


def estimate_table(rows: Mapping[str, Mapping[str, Estimate]], caption: str, first: str = "") -> Table:
    """Returns a table of estimates by row and column; ``first`` is the heading of the first column."""
    names = columns(rows)
    return fact_table([first, *names], [(row, [rows[row].get(name) for name in names]) for row in rows], caption, "")
