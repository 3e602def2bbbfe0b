"""The heat map of a page: a table of percentages with coloured cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from RobustART.report.tables import Table
from RobustART.report.text import Estimate, columns

CIVIDIS = (
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
)  # fmt: skip
"""Ten colours of matplotlib's cividis (Nunez, Anderton and Renslow 2018), suitable for colour vision deficiency."""
_DARK = 5
"""Number of these colours that need white text."""


def heat_map(
    rows: Mapping[str, Mapping[str, Estimate]], caption: str, first: str = "", *, coloured: Collection[str] | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
) -> Table:  # fmt: skip
    """Returns a heat map: a table of percentages with coloured cells; those that are not trustworthy have no colour.

    Args:
        rows: estimates by row and column.
        caption: caption.
        first: heading of the first column.
        coloured: columns to colour, whose numbers are on one scale; None is all.
        groups: rows by the heading above them; the other rows come last.
    """
    names = columns(rows)

    def cell(row: str, name: str) -> Estimate | None:
        estimate = rows[row].get(name)
        if estimate is None or estimate["value"] is None or estimate.get("not_trustworthy"):
            return estimate
        if coloured is not None and name not in coloured:
            return estimate
        return {**estimate, "style": colour(estimate["value"])}

    left = dict.fromkeys(rows)
    parts = []
    for heading, members in (*(groups or {}).items(), ("", tuple(left))):
        inside = [row for row in left if row in members]
        left = {row: None for row in left if row not in inside}
        if inside:
            parts.append((heading, [(row, [cell(row, name) for name in names]) for row in inside]))
    return Table(caption, [first, *names], parts, "heat")


def colour(value: float) -> str:
    """Returns the style of a cell: one of ten background colours for 0 to 100, and a legible text colour."""
    place = min(max(int(value / 100 * len(CIVIDIS)), 0), len(CIVIDIS) - 1)
    return f"background:{CIVIDIS[place]};color:{'#fff' if place < _DARK else '#000'}"


SCALE = [(10 * step, colour(10 * step + 5)) for step in range(len(CIVIDIS))]
"""Legend of the colours: percentages and styles."""
