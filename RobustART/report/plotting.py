"""From matplotlib figures to SVG inside a page: its text is text, its bytes are the same each time.

Figures are drawn with stand-ins for colours, which become the variables of ``page.css``; so one plot is right on light and
on dark ground.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from RobustART.core.optional import require
from RobustART.report.markup import attributes, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#010203", "#020304", "#030405", "#040506"
"""Stand-ins for the colours of text, of less important text, of grids, and of the ground."""
SERIES = tuple(f"#0a0b{i:02x}" for i in range(8))
"""Stand-ins for the colours of series; they are told apart by markers and lines too."""
MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (5, 2, 1, 2)),
    (0, (8, 2)),
    (0, (3, 1)),
    (0, (1, 3)),
    (0, (8, 2, 1, 2, 1, 2)),
)
_VARIABLES = {
    INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)",
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES)},
}  # fmt: skip
_STYLE = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11.0, "text.color": INK, "axes.edgecolor": MUTED,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "grid.color": LINE, "axes.grid": True,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none",
    "figure.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False, "lines.linewidth": 1.8,
    "axes.linewidth": 0.8, "axes.unicode_minus": False, "path.simplify": False, "text.parse_math": False,
}  # fmt: skip
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def series(number: int) -> tuple[str, str, Any]:
    """Returns colour, marker and line style of a series by its number; colour and marker together recur after 64."""
    return (
        SERIES[number % len(SERIES)],
        MARKERS[(number + number // len(SERIES)) % len(MARKERS)],
        DASHES[number % len(DASHES)],
    )


@contextlib.contextmanager
def plot(name: str, label: str, width: float, height: float) -> Iterator[tuple[Figure, list[str]]]:
    """Gives a figure to draw in, and a list that afterwards holds its SVG.

    Args:
        name: unique in its page; the ids in the SVG begin with it.
        label: what it shows, for those who do not see it.
        width: in inches of 72 CSS pixels.
        height: likewise.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib")
    figures, backend = require("matplotlib.figure"), require("matplotlib.backends.backend_svg")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser's fonts are used, not these
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)  # not what a user's own settings say
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = figures.Figure(figsize=(width, height))
        backend.FigureCanvasSVG(figure)
        found: list[str] = []
        yield figure, found
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    found.append(inline(buffer.getvalue(), name, label))


def inline(svg: str, name: str, label: str) -> str:
    """Returns the SVG of matplotlib as an element of a page: no prolog, no metadata, ids of its own, the page's colours.

    Args:
        svg: a whole SVG file.
        name: what its ids shall begin with.
        label: what it shows.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)  # also what a text said, which matplotlib repeats there
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    head = f"<svg{attributes(viewBox=box[1], class_='plot', role='img', aria_label=label)}>"
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>\n?", "", svg)
    return re.sub(r"#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), svg)


_SHAPES = {
    "o": '<circle cx="14" cy="7" r="4"/>', "s": '<path d="M10.5 3.5h7v7h-7z"/>',
    "D": '<path d="M14 2.5l4.5 4.5-4.5 4.5-4.5-4.5z"/>',
    "^": '<path d="M14 2.5l4.5 8h-9z"/>', "v": '<path d="M14 11.5l4.5-8h-9z"/>',
    "P": '<path d="M12.5 2.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z"/>',
    "X": '<path d="M11.5 2.5l2.5 2.5 2.5-2.5 2 2-2.5 2.5 2.5 2.5-2 2-2.5-2.5-2.5 2.5-2-2 2.5-2.5-2.5-2.5z"/>',
    "*": '<path d="M14 1.5l1.5 4h4l-3.2 2.5 1.2 4-3.5-2.4-3.5 2.4 1.2-4-3.2-2.5h4z"/>',
}  # fmt: skip


def legend(names: Sequence[str], *, lines: bool = True, boxes: Sequence[str] | None = None) -> str:
    """Returns the legend of series 0, 1, ... as a list of the page, which breaks its lines as it must.

    Args:
        names: of the series.
        lines: whether they are drawn as lines with markers, or as markers alone.
        boxes: colours instead, where areas are drawn.
    """
    entries = []
    for number, name in enumerate(names):
        colour, marker, dashes = series(number)
        if boxes is not None:
            key = f'<rect x="4" y="1" width="20" height="12" fill="{_VARIABLES[boxes[number]]}"/>'
        else:
            pattern = "" if dashes == "-" else f' stroke-dasharray="{" ".join(map(str, dashes[1]))}"'
            line = f'<path d="M0 7h28" stroke="currentColor" stroke-width="2" fill="none"{pattern}/>' if lines else ""
            key = f'<g color="{_VARIABLES[colour]}" fill="{_VARIABLES[colour]}">{line}{_SHAPES[marker]}</g>'
        entries.append(f'<li><svg viewBox="0 0 28 14" class="key" aria-hidden="true">{key}</svg>{text(name)}</li>')
    return f'<ul class="legend">{"".join(entries)}</ul>'


def percent_axis(axes: Axes, which: str = "y", low: float = 0.0, high: float = 100.0) -> None:
    """Lets an axis run from 0 to 100, a little wider so that points on its ends are whole."""
    margin = 0.03 * (high - low)
    getattr(axes, f"set_{which}lim")(low - margin, high + margin)
    getattr(axes, f"{which}axis").grid(visible=True, linewidth=0.8)
