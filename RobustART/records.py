"""Result files: the border between the engine, which needs a model, and the metrics, which need only these.

A result file is JSON lines. The first line is the header::

    {"format": "robustart-records/1", "benchmark": "imagenet_c", "hash": "3f2a...", "conditions": {...},
     "passes": [{"name": "", "cells": ["gaussian_noise/1", ...], "ids": 20}], "versions": {...}}

and then comes one line per image, with one entry per cell in each list::

    {"id": 0, "file": "a.jpg", "label": 243, "digest": "9c...",
     "prediction": [243, ...], "confidence": [0.91, ...], "label_rank": [0, ...]}

A line of a pass with attacks also has ``broken_by`` (per cell the stage of the attack that fooled the model, ``clean`` if
it was wrong before, null if the image stands or is not attacked), ``forward`` and ``backward`` (passes that the attack
spent on it; the evaluation's own, and the few questions about the model before AutoAttack, are not counted), and,
where an attack found the evaluation itself suspicious, ``flags`` (by cell, name and meaning).

A pass may record further numbers of each cell under ``extra``: ``{"pixel_difference": [0.0, 1.2, ...]}``.

``label_rank`` is the number of classes scored above the true one, so 0 is right and anything under 5 is right in the
top 5. Lines of a benchmark's second and later passes carry ``"pass": 1`` and so on.

How such a file is written and taken up again is told in :mod:`RobustART.journal`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError

FORMAT = "robustart-records/1"
Key = tuple[int, int]
"""Number of the pass and id of the image."""


def config_hash(conditions: Mapping[str, Any]) -> str:
    """Returns 16 hexadecimal digits that differ when anything in ``conditions`` (plain data) does."""
    text = json.dumps(conditions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class PassRecords:
    """The records of one pass: arrays over its images, sorted by id."""

    name: str
    """Name of the pass; empty in a benchmark of one pass."""
    cells: tuple[str, ...]
    """Names of the columns."""
    ids: NDArray[np.int64]
    """Ids of the images, (N,)."""
    files: tuple[str, ...]
    """Their file names."""
    labels: NDArray[np.int64]
    """Their labels, (N,)."""
    prediction: NDArray[np.int64]
    """Predicted class, (N, cells)."""
    confidence: NDArray[np.float64]
    """Softmax probability of the predicted class, (N, cells)."""
    label_rank: NDArray[np.int64]
    """Classes scored above the true one, (N, cells)."""
    broken_by: tuple[tuple[str | None, ...], ...] | None = None
    """Per image and cell the stage that fooled the model; None in a pass without attacks."""
    forward: NDArray[np.int64] | None = None
    """Forward passes spent on the attack, (N, cells); None in a pass without attacks."""
    backward: NDArray[np.int64] | None = None
    """Backward passes, likewise."""
    flags: tuple[dict[str, dict[str, str]], ...] = ()
    """Per image what attacks found suspicious: by cell, name and meaning; empty in a pass without attacks."""
    extra: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    """Further numbers that the benchmark recorded, each (N, cells, ...), by name."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is right, (N, cells)."""
        return np.asarray(self.label_rank == 0)

    def cell(self, name: str) -> int:
        """Returns the column of a cell; an unknown name raises a RecordError."""
        if name not in self.cells:
            raise RecordError(f"the records have no cell {name!r}; they have {', '.join(self.cells)}")
        return self.cells.index(name)


@dataclasses.dataclass(frozen=True)
class Records:
    """A whole result file."""

    header: dict[str, Any]
    """Its first line."""
    passes: tuple[PassRecords, ...]
    """Its passes."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One image's record; the lists have one entry per cell."""

    pass_index: int
    """Number of the pass, from 0."""
    id: int
    """Id of the image in its data set."""
    file: str
    """Its file name."""
    label: int
    """Its label."""
    digest: str
    """16 hexadecimal digits over the file's content."""
    prediction: list[int]
    """Predicted classes."""
    confidence: list[float]
    """Softmax probabilities of the predicted classes."""
    label_rank: list[int]
    """Classes scored above the true one."""
    broken_by: list[str | None] | None = None
    """Stages that fooled the model; None in a pass without attacks."""
    forward: list[int] | None = None
    """Forward passes of the attacks."""
    backward: list[int] | None = None
    """Backward passes of the attacks."""
    flags: dict[str, dict[str, str]] | None = None
    """What attacks found suspicious: by cell, name and meaning; None where nothing was."""
    extra: dict[str, list[Any]] | None = None
    """Further numbers by name; None where the benchmark records none."""

    def dump(self) -> str:
        """Returns the JSON text, ending in a newline."""
        data = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        number = data.pop("pass_index")
        if number:
            data["pass"] = number
        return json.dumps(data, ensure_ascii=False) + "\n"


def _parse_line(text: str, place: str) -> tuple[Key, dict[str, Any]]:
    try:
        data = json.loads(text)
        return (int(data.get("pass", 0)), int(data["first" if "progress" in data else "id"])), data
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RecordError(f"{place} is not a record: {text[:80]!r}") from None


def read_header(path: Path) -> dict[str, Any]:
    """Returns the header of a result file, or raises a RecordError if it has none."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.readline()
    return _check_header(text, path)


def _check_header(text: str, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise RecordError(f"{path} is not a result file of this version: its first line must say {FORMAT!r}")
    return header


def is_result_file(path: str | Path) -> bool:
    """Returns whether a file starts with a header of ours (and not with a record of the original's formats)."""
    try:
        read_header(Path(path))
    except (RecordError, UnicodeDecodeError):
        return False
    return True


def read_lines(path: Path) -> tuple[dict[str, Any], dict[Key, str], list[dict[str, Any]]]:
    """Returns the header, the images' lines by key, and the lines of progress.

    A last line that was cut off is dropped; any other damage is an error.
    """
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        text = file.read()
    complete = text[: text.rfind("\n") + 1]
    rows = complete.split("\n")[:-1]
    if not rows:
        raise RecordError(f"{path} has no header")
    header = _check_header(rows[0], path)
    lines: dict[Key, str] = {}
    progress = []
    for number, row in enumerate(rows[1:], 2):
        key, data = _parse_line(row, f"line {number} of {path}")
        if "progress" in data:
            progress.append(data)
            continue
        if key in lines and lines[key] != row + "\n":
            raise RecordError(f"line {number} of {path} repeats image {key[1]} of pass {key[0]} with other values")
        lines[key] = row + "\n"
    return header, lines, progress


_PER_CELL = ("prediction", "confidence", "label_rank")
_PER_ATTACK = ("broken_by", "forward", "backward")


def read_records(path: str | Path) -> Records:
    """Returns a finished result file as arrays.

    Raises:
        RecordError: it is missing, not ours, damaged, or images are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"there is no result file {path}")
    header, lines, _ = read_lines(path)
    rows: list[list[dict[str, Any]]] = [[] for _ in header["passes"]]
    for (number, _), line in sorted(lines.items()):
        if not 0 <= number < len(rows):
            raise RecordError(f"{path} has a line of pass {number}, but its header lists {len(rows)} passes")
        rows[number].append(json.loads(line))
    passes = []
    for data, info in zip(rows, header["passes"], strict=True):
        if len(data) != info["ids"]:
            raise RecordError(
                f"{path} holds {len(data)} of {info['ids']} images{' of ' + info['name'] if info['name'] else ''}: "
                "the run has not ended; the same command goes on with it"
            )
        cells = tuple(info["cells"])
        for row in data:
            lists = [row[key] for key in (*_PER_CELL, *_PER_ATTACK) if key in _PER_CELL or key in row]
            lists += row.get("extra", {}).values()
            if any(len(values) != len(cells) for values in lists):
                raise RecordError(f"{path}: image {row['id']} does not have {len(cells)} entries in each list")
        passes.append(_to_arrays(info["name"], cells, data))
    return Records(header, tuple(passes))


def _to_arrays(name: str, cells: tuple[str, ...], data: list[dict[str, Any]]) -> PassRecords:
    shape = (len(data), len(cells))

    def table(key: str, dtype: type) -> NDArray[Any]:
        return np.array([row[key] for row in data], dtype=dtype).reshape(shape)

    attacked = bool(data) and "broken_by" in data[0]
    return PassRecords(
        name=name,
        cells=cells,
        ids=np.array([row["id"] for row in data], dtype=np.int64),
        files=tuple(row["file"] for row in data),
        labels=np.array([row["label"] for row in data], dtype=np.int64),
        prediction=table("prediction", np.int64),
        confidence=table("confidence", np.float64),
        label_rank=table("label_rank", np.int64),
        broken_by=tuple(tuple(row["broken_by"]) for row in data) if attacked else None,
        forward=table("forward", np.int64) if attacked else None,
        backward=table("backward", np.int64) if attacked else None,
        flags=tuple(row.get("flags", {}) for row in data) if attacked else (),
        extra={
            key: np.array([row["extra"][key] for row in data]) for key in (data[0].get("extra", {}) if data else ())
        },
    )
