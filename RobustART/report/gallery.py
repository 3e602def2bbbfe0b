"""Example images of a run: small files in ``results/pictures``, with their captions in ``captions.json``."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.files import open_whole
from RobustART.errors import RecordError
from RobustART.report.schema import object_schema, read_json

FOLDER = "pictures"
CAPTIONS = "captions.json"
FORMAT = "robustart-pictures/1"
_STRING = {"type": "string"}
_TILE = object_schema(
    file=_STRING, row=_STRING, column=_STRING, prediction=_STRING, confidence={"type": "number"}, right={"type": "boolean"}
)  # fmt: skip
_SCHEMA = object_schema(
    format={"const": FORMAT}, key={"type": "array", "items": _STRING}, tiles={"type": "array", "items": _TILE}
)
_JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG file."""
Tile = dict[str, Any]
"""Caption of an image: ``row``, ``column``, ``prediction``, ``confidence`` and ``right``; with the name of its ``file`` if
it is stored, and its ``source`` in a page."""


def write_gallery(results: Path, tiles: Sequence[tuple[Tile, bytes]], key: Sequence[str]) -> None:
    """Writes example images and their captions to a results folder, and deletes older images.

    Args:
        results: the results folder.
        tiles: captions without ``file``, each with its image as JPEG.
        key: identifies the records of the images; it ends in the hashes of their conditions.

    Raises:
        OSError: a file cannot be written.
    """
    folder = results / FOLDER
    folder.mkdir(exist_ok=True)
    names = [f"{number:03}.jpg" for number in range(1, len(tiles) + 1)]
    for name, (_, image) in zip(names, tiles, strict=True):
        with open_whole(folder / name) as file:
            file.write(image)
    data = {
        "format": FORMAT,
        "key": list(key),
        "tiles": [{"file": name, **caption} for name, (caption, _) in zip(names, tiles, strict=True)],
    }
    with open_whole(folder / CAPTIONS) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())
    for path in folder.glob("[0-9]*.jpg"):
        if path.name not in names:
            path.unlink()


def read_captions(results: Path) -> dict[str, Any]:
    """Returns the contents of ``captions.json``: ``key`` and ``tiles``.

    Raises:
        RecordError: the file is missing or damaged.
    """
    return read_json(results / FOLDER / CAPTIONS, _SCHEMA, f"{FOLDER}/{CAPTIONS}")


def read_gallery(results: Path, report: Mapping[str, Any]) -> list[Tile]:
    """Returns the example images of a report, each with its ``source``, a data URL.

    Args:
        results: the results folder.
        report: contents of its ``report.json``.

    Raises:
        RecordError: the images are missing, damaged, or of other records.
    """
    found = read_captions(results)
    hashes = [entry["hash"] for entry in report["benchmarks"].values()]
    if found["key"][-len(hashes) :] != hashes:
        raise RecordError(f"those in {FOLDER} are of other records")
    return [{**tile, "source": _address(results / FOLDER, tile["file"])} for tile in found["tiles"]]


def _address(folder: Path, name: str) -> str:
    """Returns an image as a data URL; raises a RecordError if it is not a JPEG file of the folder."""
    try:
        image = (folder / name).read_bytes() if Path(name).name == name else b""
    except (OSError, ValueError) as error:
        raise RecordError(f"{FOLDER}/{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not image.startswith(_JPEG):
        raise RecordError(f"{FOLDER}/{name} is not a JPEG file of this folder")
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
