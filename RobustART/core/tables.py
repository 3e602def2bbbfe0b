"""Text tables for terminals, Markdown, LaTeX and HTML, and CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from RobustART.errors import ConfigError, nearest


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


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def latex_text(text: str) -> str:
    """Returns a string on one line with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.splitlines()))


def latex_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a ``tabular`` with the rules of the package booktabs; cells are LaTeX, see :func:`latex_text`."""
    first, *others = (f"{' & '.join(row)} \\\\" for row in (head, *rows))
    sides = "l" + "r" * (len(head) - 1)
    lines = (rf"\begin{{tabular}}{{{sides}}}", r"\toprule", first, r"\midrule", *others, r"\bottomrule")
    return "\n".join((*lines, r"\end{tabular}"))


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns an HTML table; cells are HTML."""
    from tabulate import tabulate

    return str(tabulate([list(row) for row in rows], list(head), "unsafehtml", disable_numparse=True))


class Style(NamedTuple):
    """How a format writes a table."""

    table: Callable[[Sequence[str], Iterable[Sequence[str]]], str]
    """(head, rows) -> the table."""
    cell: Callable[[str], str] = str
    """Escapes a cell."""
    best: str = "{}"
    """Template of the best cell of a column."""
    note: str = "note: {}"
    """Template of a line below the table."""


STYLES = {
    "text": Style(text_table, best="*{}"),
    "markdown": Style(markdown_table, best="**{}**", note="- {}"),
    "latex": Style(latex_table, latex_text, r"\textbf{{{}}}", "% {}"),
    "html": Style(html_table, html.escape, note="<p>{}</p>"),
}
"""Formats of tables for readers."""


def style_of(name: str) -> Style:
    """Returns a format by name; raises a ConfigError if the name is unknown."""
    if name not in STYLES:
        raise ConfigError(f"a table's format is one of {', '.join(STYLES)}, got {name!r}{nearest(name, STYLES)}")
    return STYLES[name]


def written_tables(
    style: Style, tables: Iterable[tuple[Sequence[str], Iterable[Sequence[str]]]], notes: Iterable[str] = ()
) -> str:
    """Returns tables of plain strings, (head, rows), in a format, with notes below them; it ends in a newline."""
    parts = [style.table([*map(style.cell, head)], [[*map(style.cell, row)] for row in rows]) for head, rows in tables]
    lines = "\n".join(style.note.format(" ".join(style.cell(note).splitlines())) for note in notes)
    return "\n\n".join(part for part in (*parts, lines) if part) + "\n"
