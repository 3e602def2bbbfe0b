"""``report.html``, the self-contained page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.files import open_whole
from RobustART.errors import RecordError
from RobustART.report.context import Section, about, key_numbers, sections
from RobustART.report.gallery import Tile, read_gallery
from RobustART.report.heat_map import SCALE
from RobustART.report.rendering import render_page
from RobustART.report.text import model_line, not_imported


def write_page(results: Path, report: Mapping[str, Any]) -> None:
    """Writes ``report.html`` to a results folder; equal reports and example images give equal bytes.

    Args:
        results: the results folder, which also has the example images.
        report: contents of ``report.json``.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: the page cannot be written.
    """
    try:
        page = render(report, read_gallery(results, report))
    except RecordError as error:
        page = render(report, missing=str(error))
    with open_whole(results / "report.html") as file:
        file.write(page.encode())


def render(report: Mapping[str, Any], tiles: Sequence[Tile] = (), missing: str = "this run stored none") -> str:
    """Returns the page of a report.

    Args:
        report: contents of ``report.json``.
        tiles: example images, from :func:`~RobustART.report.gallery.read_gallery`.
        missing: why there are no example images.
    """
    *measured, conditions = sections(report)
    return render_page(
        "report.html.j2", title=f"{report['model']['source']}: RobustART report", report=report, about=about(report),
        model_line=model_line(report),
        warnings=[*report["warnings"], *not_imported(report["benchmarks"])], key_numbers=key_numbers(report),
        scale_steps=SCALE, parts=[*measured, _examples(tiles, missing), conditions],
    )  # fmt: skip


def _examples(tiles: Sequence[Tile], missing: str) -> Section:
    strips: dict[str, list[Tile]] = {}
    for tile in tiles:
        strips.setdefault(tile["row"], []).append(tile)
    return {"id": "examples", "heading": "Examples", "kind": "examples", "strips": strips, "missing": missing}
