"""Heat maps as tables: each cell holds its number, so nothing is said by colour alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from RobustART.report import markup, terms

_CIVIDIS = (
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
)  # fmt: skip
"""Ten colours of matplotlib's cividis (Nunez, Anderton and Renslow 2018), read alike by all kinds of colour vision."""
_DARK = 5
"""How many of them want white text."""


def colour(value: float, low: float = 0.0, high: float = 100.0) -> str:
    """Returns the style of a cell: one of ten colours for ``low`` to ``high``, and a text colour that is read on it."""
    share = (value - low) / (high - low)
    place = min(max(int(share * len(_CIVIDIS)), 0), len(_CIVIDIS) - 1)
    return f"background:{_CIVIDIS[place]};color:{'#fff' if place < _DARK else '#000'}"


def heat_map(
    table: Mapping[str, Mapping[str, Any]], caption: str, *, coloured: Sequence[str] | None = None, first: str = "",
    groups: Mapping[str, Collection[str]] | None = None,
) -> str:  # fmt: skip
    """Returns a table of percentages with coloured cells.

    Args:
        table: rows of columns of estimates.
        caption: what it shows.
        coloured: the columns whose numbers are on one scale; None is all.
        first: what the rows are.
        groups: rows by the heading under which they stand; the others come last.
    """
    names = terms.columns(table)

    def cells(row: str) -> list[str]:
        found = []
        for name in names:
            estimate = table[row].get(name)
            value = None if estimate is None else estimate["value"]
            hot = value is not None and (coloured is None or name in coloured)
            found.append(markup.cell(estimate, style=colour(value) if hot and value is not None else None))
        return found

    rows: list[tuple[str, list[str] | None]] = []
    for group, members in (groups or {}).items():
        inside = [row for row in table if row in members]
        rows += [(group, None), *((row, cells(row)) for row in inside)] if inside else []
    grouped = {row for members in (groups or {}).values() for row in members}
    rows += [(row, cells(row)) for row in table if row not in grouped]
    return markup.table([first, *names], rows, caption, extra="heat")


def scale() -> str:
    """Returns the key of the colours."""
    steps = "".join(f'<li style="{colour(10 * i + 5)}">{10 * i}</li>' for i in range(len(_CIVIDIS)))
    return f'<ol class="scale" aria-label="Colours, from 0 to 100 %">{steps}</ol>\n'
