"""Result files: the border between the engine, which needs a model, and the metrics, which need only these.

A result file is JSON lines. The first line is the header::

    {"format": "robustart-records/1", "benchmark": "imagenet_c", "hash": "3f2a...", "conditions": {...},
     "passes": [{"name": "", "cells": ["gaussian_noise/1", ...], "ids": 20}], "versions": {...}}

and then comes one line per image, with one entry per cell in each list::

    {"id": 0, "file": "a.jpg", "label": 243, "digest": "9c...",
     "prediction": [243, ...], "confidence": [0.91, ...], "label_rank": [0, ...]}

A line of a pass with attacks also has ``broken_by`` (per cell the stage of the attack that fooled the model, ``clean`` if
it was wrong before, null if the image stands or is not attacked), ``forward`` and ``backward`` (passes spent on it).

A pass may record further numbers of each cell under ``extra``: ``{"pixel_difference": [0.0, 1.2, ...]}``.

``label_rank`` is the number of classes scored above the true one, so 0 is right and anything under 5 is right in the
top 5. Lines of a benchmark's second and later passes carry ``"pass": 1`` and so on.

While a run is on, process 0 appends to the file itself and process r to ``<file>.rank{r}``. The unit of commitment is
the block: the images that stood together in a batch. Its lines are written by one call; a block of which a line is
missing, or is cut off, does not count when a run is taken up again. When all blocks are there they are merged, sorted
by id, under a temporary name, and renamed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
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
        return (int(data.get("pass", 0)), int(data["id"])), data
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


def read_lines(path: Path) -> tuple[dict[str, Any], dict[Key, str]]:
    """Returns the header and the lines by key. A last line that was cut off is dropped; any other damage is an error."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        text = file.read()
    complete = text[: text.rfind("\n") + 1]
    rows = complete.split("\n")[:-1]
    if not rows:
        raise RecordError(f"{path} has no header")
    header = _check_header(rows[0], path)
    lines: dict[Key, str] = {}
    for number, row in enumerate(rows[1:], 2):
        key, _ = _parse_line(row, f"line {number} of {path}")
        if key in lines and lines[key] != row + "\n":
            raise RecordError(f"line {number} of {path} repeats image {key[1]} of pass {key[0]} with other values")
        lines[key] = row + "\n"
    return header, lines


def difference(old: Any, new: Any, path: str = "") -> list[str]:
    """Returns what differs between two plain values, as ``key: old -> new`` texts."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        rows = []
        for key in sorted({*old, *new}, key=str):
            rows += difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return rows
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [row for i, pair in enumerate(pairs) for row in difference(*pair, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


class Journal:
    """The result file of one benchmark while it is being made.

    Args:
        path: the result file.
        header: its header; ``hash`` and ``conditions`` decide whether an existing file belongs to it.
        blocks: the grid: which images of which pass stand together.
        rank: number of this process.
    """

    def __init__(self, path: Path, header: dict[str, Any], blocks: Sequence[Sequence[Key]], rank: int = 0) -> None:
        self.path, self.header, self.blocks, self.rank = path, header, blocks, rank
        self._part = path if rank == 0 else path.with_name(f"{path.name}.rank{rank}")
        self._file: Any = None
        self.lines: dict[Key, str] = {}
        """What :meth:`done` found: the lines of all complete blocks."""

    def parts(self) -> list[Path]:
        """Returns the files of this benchmark that exist."""
        ranks = [p for p in self.path.parent.glob(f"{self.path.name}.rank*") if p.suffix[5:].isdigit()]
        return [p for p in (self.path, *sorted(ranks)) if p.exists()]

    def _read(self) -> dict[Key, str]:
        """Returns the lines of all complete blocks."""
        lines: dict[Key, str] = {}
        for part in self.parts():
            if part.stat().st_size == 0:
                continue
            with open(part, "rb") as file:
                if not file.readline().endswith(b"\n"):
                    continue  # killed while writing the header: nothing is recorded here
            header, found = read_lines(part)
            self._check(header, part)
            for key, line in found.items():
                if lines.setdefault(key, line) != line:
                    raise RecordError(f"{part} and another part of {self.path} differ in image {key[1]}")
        known = {key for block in self.blocks for key in block}
        foreign = [key for key in lines if key not in known]
        if foreign:
            raise RecordError(f"{self.path} holds image {foreign[0][1]}, which this run does not evaluate")
        return {key: lines[key] for block in self.blocks if all(k in lines for k in block) for key in block}

    def _check(self, header: dict[str, Any], part: Path) -> None:
        if header.get("hash") == self.header["hash"]:
            return
        rows = difference(header.get("conditions", {}), self.header["conditions"])
        raise RecordError(
            f"{part} belongs to another config: its hash is {header.get('hash')}, this run's is {self.header['hash']}. "
            f"What differs (file -> run): {'; '.join(rows[:8]) or 'nothing that is recorded'}. "
            "Results are never mixed: take another output_dir, or --fresh to delete the old results."
        )

    def done(self) -> set[int]:
        """Returns the numbers of the blocks that are complete. Writes nothing; a file of another config is refused."""
        lines = self.lines = self._read()
        return {i for i, block in enumerate(self.blocks) if all(key in lines for key in block)}

    def compact(self) -> None:
        """Rewrites all parts as the one result file: complete blocks only, sorted. Called by process 0 alone."""
        lines = self._read()
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                file.write(json.dumps(self.header, ensure_ascii=False) + "\n")
                file.writelines(lines[key] for key in sorted(lines))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
            for part in self.parts():
                if part != self.path:
                    part.unlink()
        except OSError as error:
            raise self._write_error(error) from error

    def delete(self) -> None:
        """Deletes what is recorded. Called by process 0 alone."""
        for part in self.parts():
            part.unlink()

    def open(self) -> None:
        """Opens this process's part for appending; after :meth:`compact` and a barrier."""
        try:
            self._file = open(self._part, "ab", buffering=0)  # noqa: SIM115 - it lives on until close
            if self.rank != 0:
                self._write(json.dumps(self.header, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise self._write_error(error) from error

    def append(self, lines: Iterable[Line]) -> None:
        """Writes one block. If that fails, the file is cut back to the blocks before it.

        Raises:
            RecordError: the disk is full or the file cannot be written.
        """
        data = "".join(line.dump() for line in lines).encode("utf-8", errors="surrogateescape")
        start = self._file.seek(0, os.SEEK_END)
        try:
            self._write(data)
        except OSError as error:
            try:
                self._file.truncate(start)
            except OSError:
                pass  # what is left of the block is dropped when the run is taken up again
            raise self._write_error(error) from error

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _write_error(self, error: OSError) -> RecordError:
        return RecordError(
            f"cannot write {self._part}: {error.strerror or error}. What was recorded before is kept; "
            "when this is mended, the same command goes on from there."
        )

    def close(self) -> None:
        """Closes this process's part; safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


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
    header, lines = read_lines(path)
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
        extra={
            key: np.array([row["extra"][key] for row in data]) for key in (data[0].get("extra", {}) if data else ())
        },
    )
