"""Tables as text, for terminals and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table for a terminal: the first column is aligned left, the others right."""
    from tabulate import tabulate  # takes longer to import than a help text to print

    sides = ("left", *("right",) * (len(head) - 1))
    lines = str(tabulate([head, *rows], tablefmt="plain", disable_numparse=True, colalign=sides)).split("\n")
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown without padding; cells may hold pipes and line breaks."""
    from tabulate import tabulate

    first, *others = ([_inline(cell) for cell in row] for row in (head, *rows))
    return str(tabulate(others, first, "github", disable_numparse=True, stralign=None))


def _inline(cell: str) -> str:
    return " ".join(cell.splitlines()).replace("|", "\\|")
