"""Tables as text, for terminals and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table for a terminal: the first column is aligned left, the others right."""
    from tabulate import tabulate  # takes longer to import than a help text to print

    body = list(rows)
    sides = ("left", *("right",) * (len(head) - 1)) if body else None  # tabulate 0.9 fails on sides without rows
    return str(tabulate(body, head, "simple", disable_numparse=True, colalign=sides))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown without padding; cells may hold pipes and line breaks."""
    from tabulate import tabulate

    first, *others = ([_inline(cell) for cell in row] for row in (head, *rows))
    return str(tabulate(others, first, "github", disable_numparse=True, stralign=None))


def _inline(cell: str) -> str:
    return " ".join(cell.splitlines()).replace("|", "\\|")
