"""HTML: escaped text, tables, figures, the frame of a page. Nothing that comes from outside is put in unescaped."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from RobustART.report import terms

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a page may load: nothing."""


def clean(value: object) -> str:
    """Returns a value as text in which bytes and controls that are no text are replaced."""
    plain = str(value).encode("utf-8", errors="replace").decode("utf-8")
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf") else c for c in plain
    )


def text(value: object) -> str:
    """Returns a value as text of a page, escaped also for quoted attributes."""
    return html.escape(clean(value), quote=True)


def attributes(**values: object) -> str:
    """Returns attributes of an element, with a space before each; ``class_`` is ``class``, None leaves one out."""
    named = {key.rstrip("_").replace("_", "-") if key != "viewBox" else key: value for key, value in values.items()}
    return "".join(f' {key}="{text(value)}"' for key, value in named.items() if value is not None)


def element(name: str, inner: str, **values: object) -> str:
    """Returns an element; ``inner`` is HTML already."""
    return f"<{name}{attributes(**values)}>{inner}</{name}>"


def cell(estimate: Mapping[str, Any] | None, **values: object) -> str:
    """Returns the table cell of an estimate: value and interval, and both in full for programs."""
    if estimate is None:
        return element("td", "", **values)
    inner = element("span", text(terms.number(estimate)), class_="value")
    limits = terms.interval(estimate)
    if limits:
        inner += " " + element("span", text(limits), class_="interval")
    return element(
        "td", inner, class_=_joined("number", values.pop("class_", None)), data_value=estimate["value"], **values
    )


def plain_cell(value: object, **values: object) -> str:
    """Returns a table cell of text, or of a number that is sorted as one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        return element("td", text(shown), class_="number", data_value=value, **values)
    return element("td", text(value), **values)


def table(
    head: Sequence[str], rows: Iterable[tuple[str, Sequence[str] | None]], caption: str, *, sortable: bool = False,
    extra: str = "",
) -> str:  # fmt: skip
    """Returns a table in a box that scrolls by itself.

    Args:
        head: names of the columns.
        rows: the name of each row, and its cells, which are HTML already; None makes the name a heading of what follows.
        caption: what the table shows.
        sortable: whether its columns get buttons that sort it.
        extra: further classes.
    """
    columns = "".join(element("th", text(name), scope="col") for name in head)
    body = ""
    for name, cells in rows:
        if cells is None:
            body += f'<tr class="group">{element("th", text(name), scope="rowgroup", colspan=len(head))}</tr>\n'
        else:
            body += f"<tr>{element('th', text(name), scope='row')}{''.join(cells)}</tr>\n"
    head_row = f"<thead><tr>{columns}</tr></thead>\n"
    inner = f"{element('caption', element('span', text(caption)))}{head_row}<tbody>\n{body}</tbody>"
    return scroll(element("table", inner, class_=_joined("sortable" if sortable else None, extra or None)), caption)


def scroll(inner: str, label: str) -> str:
    """Returns a box that scrolls sideways when it is too narrow, with the keyboard too."""
    return element("div", inner, class_="scroll", role="region", aria_label=label, tabindex="0") + "\n"


def estimates(rows: Mapping[str, Mapping[str, Any]], caption: str, first: str = "") -> str:
    """Returns a table of estimates, rows of columns."""
    names = terms.columns(rows)
    body = [(row, [cell(rows[row].get(name)) for name in names]) for row in rows]
    return table([first, *names], body, caption)


def figure(plots: Sequence[str], caption: str) -> str:
    """Returns plots side by side, or below each other in a narrow window, with one caption."""
    inner = element("div", "".join(plots), class_="plots")
    return element("figure", inner + element("figcaption", text(caption))) + "\n"


def section(identity: str, heading: str, inner: str) -> str:
    """Returns a section with its heading."""
    return (
        element("section", f"\n{element('h2', text(heading), id=identity)}\n{inner}", aria_labelledby=identity) + "\n"
    )


def page(title: str, body: str, *, wide: bool = False) -> str:
    """Returns a whole page that needs nothing but itself.

    Args:
        title: of the window.
        body: HTML.
        wide: whether it takes what width there is, as a page of large tables does.
    """
    style, script = _resource("page.css"), _resource("page.js")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body{attributes(class_="all" if wide else None)}>
{body}<script>
{script}</script>
</body>
</html>
"""


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _joined(*classes: object) -> str | None:
    return " ".join(str(name) for name in classes if name) or None
