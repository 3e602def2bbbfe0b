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
from array import array
from collections.abc import Iterator, Mapping
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
    digests: tuple[str, ...] = ()
    """Per image 16 hexadecimal digits over the file's content."""
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


def _entries(path: Path) -> Iterator[tuple[str, str, Key, dict[str, Any]]]:
    """Yields (place for messages, text, key, data) of each line after the header, but not of a last one that is cut off."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.readline()
        for number, text in enumerate(file, 2):
            if not text.endswith("\n"):
                return
            place = f"line {number} of {path}"
            yield place, text, *_parse_line(text, place)


def _whole_header(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        if not file.readline().endswith(b"\n"):
            raise RecordError(f"{path} has no header")
    return read_header(path)


def read_lines(path: Path) -> tuple[dict[str, Any], dict[Key, str], list[dict[str, Any]]]:
    """Returns the header, the images' lines by key, and the lines of progress.

    A last line that was cut off is dropped; any other damage is an error.
    """
    header = _whole_header(path)
    lines: dict[Key, str] = {}
    progress = []
    for place, text, key, data in _entries(path):
        if "progress" in data:
            progress.append(data)
        elif lines.setdefault(key, text) != text:
            raise RecordError(f"{place} repeats image {key[1]} of pass {key[0]} with other values")
    return header, lines, progress


_PER_CELL = ("prediction", "confidence", "label_rank")
_PER_ATTACK = ("forward", "backward")


def read_records(path: str | Path) -> Records:
    """Returns a finished result file as arrays.

    Raises:
        RecordError: it is missing, not ours, damaged, or images are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"there is no result file {path}")
    header = _whole_header(path)
    tables = [_Table(info["name"], tuple(info["cells"])) for info in header["passes"]]
    seen: dict[Key, int] = {}
    for place, text, key, data in _entries(path):
        if "progress" in data:
            continue
        if not 0 <= key[0] < len(tables):
            raise RecordError(f"{path} has a line of pass {key[0]}, but its header lists {len(tables)} passes")
        if key not in seen:
            tables[key[0]].add(data, f"{path}: image {key[1]}")
        elif seen[key] != hash(text):
            raise RecordError(f"{place} repeats image {key[1]} of pass {key[0]} with other values")
        seen[key] = hash(text)
    for table, info in zip(tables, header["passes"], strict=True):
        if len(table.files) != info["ids"]:
            raise RecordError(
                f"{path} holds {len(table.files)} of {info['ids']} images{' of ' + info['name'] if info['name'] else ''}: "
                "the run has not ended; the same command goes on with it"
            )
    return Records(header, tuple(table.finish(str(path)) for table in tables))


class _Table:
    """The records of one pass while they are read; numbers go into arrays at once, so that they take little memory."""

    def __init__(self, name: str, cells: tuple[str, ...]) -> None:
        self.name, self.cells = name, cells
        self.ids, self.labels = array("q"), array("q")
        self.files: list[str] = []
        self.digests: list[str] = []
        kinds = {"confidence": "d"}
        self.numbers = {key: array(kinds.get(key, "q")) for key in (*_PER_CELL, *_PER_ATTACK)}
        self.broken_by: list[tuple[str | None, ...]] = []
        self.flags: list[dict[str, dict[str, str]]] = []
        self.extra: dict[str, list[Any]] = {}

    def add(self, row: dict[str, Any], place: str) -> None:
        """Takes the record of one image in; ``place`` names it in messages."""
        attacked = "broken_by" in row
        extra = row.get("extra", {})
        if self.files and (attacked != bool(self.broken_by) or extra.keys() != self.extra.keys()):
            raise RecordError(f"{place} holds other entries than the images before it")
        try:
            lists = {key: row[key] for key in (*_PER_CELL, *((*_PER_ATTACK, "broken_by") if attacked else ()))}
            if any(len(values) != len(self.cells) for values in (*lists.values(), *extra.values())):
                raise RecordError(f"{place} does not have {len(self.cells)} entries in each list")
            for key in (*_PER_CELL, *(_PER_ATTACK if attacked else ())):
                # An array refuses what is no number, and a fraction where whole numbers belong.
                self.numbers[key].extend(lists[key])
            self.ids.append(row["id"])
            self.labels.append(row["label"])
            self.files.append(row["file"])
            self.digests.append(row["digest"])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise RecordError(f"{place} is damaged: {type(error).__name__} {error}") from None
        if attacked:
            self.broken_by.append(tuple(lists["broken_by"]))
            self.flags.append(row.get("flags", {}))
        for key, values in extra.items():
            self.extra.setdefault(key, []).append(values)

    def finish(self, place: str) -> PassRecords:
        """Returns the arrays, sorted by id."""
        ids = np.frombuffer(self.ids, dtype=np.int64) if self.ids else np.zeros(0, np.int64)
        order = np.argsort(ids, kind="stable")
        rows = order.tolist()
        attacked = bool(self.broken_by)

        def table(key: str) -> NDArray[Any]:
            values: NDArray[Any] = np.array(self.numbers[key]).reshape(len(ids), len(self.cells))
            return values if (order[1:] > order[:-1]).all() else values[order]

        confidence, label_rank = table("confidence"), table("label_rank")
        wrong = ~((confidence >= 0) & (confidence <= 1 + 1e-6) & (label_rank >= 0)).all(axis=1)
        if wrong.any():
            raise RecordError(
                f"{place}: image {ids[order][wrong.argmax()]} has a confidence outside 0 to 1, or a rank below 0"
            )
        return PassRecords(
            name=self.name,
            cells=self.cells,
            ids=ids[order],
            files=tuple(self.files[row] for row in rows),
            labels=np.array(self.labels, dtype=np.int64)[order],
            prediction=table("prediction"),
            confidence=confidence,
            label_rank=label_rank,
            digests=tuple(self.digests[row] for row in rows),
            broken_by=tuple(self.broken_by[row] for row in rows) if attacked else None,
            forward=table("forward") if attacked else None,
            backward=table("backward") if attacked else None,
            flags=tuple(self.flags[row] for row in rows) if attacked else (),
            extra={key: np.array(values)[order] for key, values in self.extra.items()},
        )
