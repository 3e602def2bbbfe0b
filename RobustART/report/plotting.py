"""Converts matplotlib figures to SVG inside a page: text remains text, and equal figures give equal bytes.

Figures are drawn in placeholder colours, which are replaced by the variables of ``page.css``, so that a plot fits light and
dark backgrounds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
import io
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from RobustART.core.optional import require
from RobustART.report.rendering import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#010203", "#020304", "#030405", "#040506"
"""Placeholders for the colours of text, of less important text, of grids, and of the background."""
SERIES = tuple(f"#0a0b{i:02x}" for i in range(8))
"""Placeholders for the colours of series, which differ in markers too."""
MARKERS = "osD^vPX*"
DASHES = (5, 2)
"""Lengths of dash and gap of a series whose numbers are not trustworthy; the lines of all others are solid."""
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


def series(number: int) -> tuple[str, str]:
    """Returns colour and marker of a series; they repeat together after 64 series."""
    return SERIES[number % len(SERIES)], MARKERS[(number + number // len(SERIES)) % len(MARKERS)]


@dataclasses.dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    name: str
    """Name of the series."""
    colour: str
    """CSS colour."""
    marker: str = ""
    """Marker; empty for areas."""
    dashes: str | None = None
    """Dash pattern of the line, empty for a solid one; None if no line is drawn."""


@dataclasses.dataclass
class Panel:
    """A plot with its legend."""

    svg: str = ""
    """SVG element, written to the page unescaped."""
    legend: Sequence[Key] = ()
    """Entries of the legend, which the page lays out so that its lines can wrap."""


@contextlib.contextmanager
def plot(name: str, label: str, width: float, height: float) -> Iterator[tuple[Figure, Panel]]:
    """Yields a figure to draw in, and a panel that has its SVG after the block.

    Args:
        name: name, unique in the page; the ids in the SVG begin with it.
        label: description of the plot, for screen readers.
        width: width in inches of 72 CSS pixels.
        height: height in inches of 72 CSS pixels.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib")
    figures, backend = require("matplotlib.figure"), require("matplotlib.backends.backend_svg")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has other fonts
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)  # a user's settings must not change the bytes
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = figures.Figure(figsize=(width, height))
        backend.FigureCanvasSVG(figure)
        panel = Panel()
        yield figure, panel
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    panel.svg = inline(buffer.getvalue(), name, label)


def inline(svg: str, name: str, label: str) -> str:
    """Returns matplotlib's SVG as an element of a page, without prolog and metadata, with unique ids and CSS variables.

    Args:
        svg: contents of the SVG file.
        name: prefix of the ids.
        label: description of the plot, for screen readers.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)  # matplotlib repeats strings in comments
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


def legend(
    names: Sequence[str], *, lines: bool = True, boxes: Sequence[str] | None = None, doubted: Collection[str] = ()
) -> list[Key]:
    """Returns the legend of the series 0, 1, and so on.

    Args:
        names: names of the series.
        lines: whether the series are lines with markers, instead of markers alone.
        boxes: colours of areas, if the series are areas.
        doubted: names of the series whose numbers are not trustworthy.
    """
    if boxes is not None:
        return [Key(name, _VARIABLES[box]) for name, box in zip(names, boxes, strict=True)]
    found = []
    for number, name in enumerate(names):
        colour, marker = series(number)
        doubt, pattern = (" (not trustworthy)", " ".join(map(str, DASHES))) if name in doubted else ("", "")
        found.append(Key(f"{name}{doubt}", _VARIABLES[colour], marker, pattern if lines else None))
    return found


def slug(name: str) -> str:
    """Returns a name in a form that is valid in an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def row_axis(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Labels the rows of a plot at the left, without ticks and spine."""
    axes.set_yticks(places, [clean(name) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def percent_axis(axes: Axes) -> None:
    """Sets the vertical axis to 0 to 100, with a margin so that points at its ends are not clipped."""
    axes.set_ylim(-3, 103)
    axes.yaxis.grid(visible=True, linewidth=0.8)
