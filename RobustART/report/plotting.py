"""From matplotlib figures to SVG inside a page: text stays text, and equal figures give equal bytes.

Figures are drawn with stand-ins for colours, which become the variables of ``page.css``; so one plot fits light and dark
backgrounds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from RobustART.core.optional import require
from RobustART.report.rendering import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#010203", "#020304", "#030405", "#040506"
"""Stand-ins for the colours of text, of less important text, of grids, and of the background."""
SERIES = tuple(f"#0a0b{i:02x}" for i in range(8))
"""Stand-ins for the colours of series, which differ in markers and lines too."""
MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = (
    "-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)), (0, (3, 1)), (0, (1, 3)), (0, (8, 2, 1, 2, 1, 2)),
)  # fmt: skip
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


@dataclasses.dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    name: str
    """Of the series."""
    colour: str
    """CSS colour."""
    marker: str = ""
    """Its marker; none where areas are drawn."""
    dashes: str | None = None
    """Pattern of its line, empty for a solid one; None if no line is drawn."""


@dataclasses.dataclass
class Panel:
    """A plot with its legend."""

    svg: str = ""
    """An SVG element, to be written into a page unescaped."""
    legend: Sequence[Key] = ()
    """Entries of the legend, which the page sets so that its lines break where they must."""


@contextlib.contextmanager
def plot(name: str, label: str, width: float, height: float) -> Iterator[tuple[Figure, Panel]]:
    """Yields a figure to draw in, and a panel that holds its SVG when the block ends.

    Args:
        name: unique in its page; the ids in the SVG begin with it.
        label: what it shows, for screen readers.
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
        panel = Panel()
        yield figure, panel
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    panel.svg = inline(buffer.getvalue(), name, label)


def inline(svg: str, name: str, label: str) -> str:
    """Returns the SVG of matplotlib as an element of a page: no prolog, no metadata, unique ids, the page's colours.

    Args:
        svg: an SVG file.
        name: prefix of its ids.
        label: what it shows.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)  # matplotlib repeats texts there
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    head = f'<svg viewBox="{box[1]}" class="plot" role="img" aria-label="{html.escape(clean(label))}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>\n?", "", svg)
    return re.sub(r"#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), svg)


def legend(names: Sequence[str], *, lines: bool = True, boxes: Sequence[str] | None = None) -> list[Key]:
    """Returns the legend of series 0, 1, and so on.

    Args:
        names: of the series.
        lines: whether they are drawn as lines with markers, or as markers alone.
        boxes: colours instead, where areas are drawn.
    """
    if boxes is not None:
        return [Key(name, _VARIABLES[box]) for name, box in zip(names, boxes, strict=True)]
    found = []
    for number, name in enumerate(names):
        colour, marker, dashes = series(number)
        pattern = "" if dashes == "-" else " ".join(map(str, dashes[1]))
        found.append(Key(name, _VARIABLES[colour], marker, pattern if lines else None))
    return found


def slug(name: str) -> str:
    """Returns a name as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def row_axis(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Writes the names of rows at the left, without ticks or a line."""
    axes.set_yticks(places, [clean(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def percent_axis(axes: Axes) -> None:
    """Sets the vertical axis to 0 to 100, a little wider so that points at its ends are not cut."""
    axes.set_ylim(-3, 103)
    axes.yaxis.grid(visible=True, linewidth=0.8)
