"""The tiles of ``noise.png`` as pictures of a page: each with what the model says of it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from RobustART.report.markup import element, text
from RobustART.report.terms import readable

SIDE = 120
"""Of a tile in the page, in pixels."""


def read_tiles(path: Path, hashes: Sequence[str]) -> list[tuple[dict[str, Any], str]]:
    """Returns what ``noise.png`` says of each tile, and the tile as an address that holds it.

    There is nothing where the file is missing, or was drawn from other records.

    Args:
        path: of the file.
        hashes: of the conditions of the benchmarks whose report it belongs to, in their order.
    """
    if not path.is_file():
        return []
    with Image.open(path, formats=("PNG",)) as picture:
        texts = getattr(picture, "text", {})
        if "tiles" not in texts or texts.get("records", "").split()[1:] != list(hashes):
            return []
        told = json.loads(texts["tiles"])
        pixels = picture.convert("RGB")
    found = []
    for tile in told:
        box = (tile["x"], tile["y"], tile["x"] + tile["size"], tile["y"] + tile["size"])
        buffer = io.BytesIO()
        small = pixels.crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(buffer, "JPEG", quality=80, optimize=True)
        found.append((tile, f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"))
    return found


def gallery(tiles: list[tuple[dict[str, Any], str]]) -> str:
    """Returns the tiles in strips, one for each noise."""
    strips: dict[str, list[str]] = {}
    for tile, address in tiles:
        strips.setdefault(tile["row"], []).append(_tile(tile, address))
    inner = "".join(
        f'<div class="strip">{element("h3", text(readable(row)))}<ul class="tiles">{"".join(items)}</ul></div>\n'
        for row, items in strips.items()
    )
    return element("div", inner, class_="strips")


def _tile(tile: dict[str, Any], address: str) -> str:
    verdict, sign = ("right", "\N{CHECK MARK}") if tile["right"] else ("wrong", "\N{MULTIPLICATION SIGN}")
    sure = f"{100 * tile['confidence']:.1f}\N{NO-BREAK SPACE}%"
    name = f"{readable(tile['row'])} {tile['column']}".strip()
    image = f'<img src="{address}" width="{SIDE}" height="{SIDE}" alt="{text(name)}">'
    column = element("span", text(tile["column"]), class_="column") + " " if tile["column"] else ""
    says = element(
        "span", f'<span aria-hidden="true">{sign}</span> {text(tile["prediction"])} {sure}'
        f'<span class="spoken"> ({verdict})</span>', class_=verdict,
    )  # fmt: skip
    return f"<li>{image}{column}{says}</li>"
