"""Arrays of one pass of a result file, checked during and after reading."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.records.header import field, shown


@dataclasses.dataclass(frozen=True)
class PassRecords:
    """Records of one pass: arrays over its images, sorted by id."""

    name: str
    """Name of the pass; empty in a benchmark of one pass."""
    cells: tuple[str, ...]
    """Names of the columns."""
    ids: NDArray[np.int64]
    """Ids of the images, (N,)."""
    files: tuple[str, ...]
    """File names of the images."""
    labels: NDArray[np.int64]
    """True classes, (N,)."""
    prediction: NDArray[np.int64]
    """Predicted class, (N, cells)."""
    confidence: NDArray[np.float64]
    """Softmax probability of the predicted class, (N, cells)."""
    label_rank: NDArray[np.int64]
    """Number of classes scored above the true one, (N, cells)."""
    digests: tuple[str, ...] = ()
    """Digest of each file's content, 16 hexadecimal digits."""
    broken_by: tuple[tuple[str | None, ...], ...] | None = None
    """For each image and cell the stage that fooled the model; None in a pass without attacks."""
    forward: NDArray[np.int64] | None = None
    """Forward passes of the attacks, (N, cells); None in a pass without attacks."""
    backward: NDArray[np.int64] | None = None
    """Backward passes of the attacks, (N, cells); None in a pass without attacks."""
    flags: tuple[dict[str, dict[str, str]], ...] = ()
    """For each image the warnings of attacks by cell, name and meaning; empty in a pass without attacks."""
    probes: tuple[dict[str, dict[str, int]], ...] = ()
    """For each image the attacks without gradients that tried it, by name: ``broken`` (0 or 1) and ``forward`` passes."""
    extra: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    """Extra numbers of the benchmark by name, each (N, cells, ...)."""
    coordinates: tuple[dict[str, Any], ...] = ()
    """Coordinates of each cell in its benchmark, such as ``{"corruption": "fog", "severity": 3}``; empty if unknown."""
    answers: NDArray[np.int64] | None = None
    """Which of several answers are correct, as bits, (N, cells); None for a single answer."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is correct, (N, cells)."""
        return np.asarray(self.label_rank == 0)

    def cell(self, name: str) -> int:
        """Returns the index of a cell; raises a RecordError if the name is unknown."""
        if name not in self.cells:
            raise RecordError(f"the records have no cell {name!r}; they have {', '.join(self.cells)}")
        return self.cells.index(name)


_PER_CELL = ("prediction", "confidence", "label_rank")
_PER_ATTACK = ("forward", "backward")
_SEVERAL = "answers"
_WHOLE, _NUMBERS = frozenset({int}), frozenset({int, float})
"""Types of JSON numbers; booleans, which are integers in Python, are excluded."""


class Table:
    """Collects the records of one pass; numbers are stored in compact arrays to save memory.

    Args:
        name: name of the pass.
        cells: names of the columns.
        coordinates: coordinates of each cell.
    """

    def __init__(self, name: str, cells: tuple[str, ...], coordinates: tuple[dict[str, Any], ...]) -> None:
        self.name, self.cells, self.coordinates = name, cells, coordinates
        self.ids, self.labels = array("q"), array("q")
        self.files: list[str] = []
        self.digests: list[str] = []
        kinds = {"confidence": "d"}
        self.numbers = {key: array(kinds.get(key, "q")) for key in (*_PER_CELL, *_PER_ATTACK, _SEVERAL)}
        self.broken_by: list[tuple[str | None, ...]] = []
        self.flags: list[dict[str, dict[str, str]]] = []
        self.probes: list[dict[str, dict[str, int]]] = []
        self.extra: dict[str, list[Any]] = {}

    def add(self, row: dict[str, Any], place: str) -> None:
        """Adds the record of one image; raises a RecordError that names ``place`` if an entry is invalid."""
        attacked = "broken_by" in row
        extra = field(row, "extra", dict, place) if "extra" in row else {}
        several = (_SEVERAL,) * (_SEVERAL in row)
        others = attacked != bool(self.broken_by) or bool(several) != bool(self.numbers[_SEVERAL])
        if self.files and (others or extra.keys() != self.extra.keys()):
            raise RecordError(f"{place} has other entries than the previous images")
        for key in (*_PER_CELL, *(_PER_ATTACK if attacked else ()), *several):
            values = self._list(row, key, place)
            kinds, title = (_NUMBERS, "numbers") if key == "confidence" else (_WHOLE, "integers")
            if not kinds.issuperset(map(type, values)):
                raise RecordError(f"{place} needs {key!r}, a list of {title}, got {shown(values)}")
            try:
                self.numbers[key].extend(values)
            except OverflowError:
                raise RecordError(f"{place} has a number in {key!r} that is too large: {shown(values)}") from None
        for key, numbers in (("id", self.ids), ("label", self.labels)):
            number = field(row, key, int, place)
            if not 0 <= number < 2**63:
                raise RecordError(f"{place} needs {key!r}, an integer from 0 to 2^63 - 1, got {shown(number)}")
            numbers.append(number)
        self.files.append(field(row, "file", str, place))
        self.digests.append(field(row, "digest", str, place))
        if attacked:
            self._add_attacks(row, place)
        for key in extra:
            self.extra.setdefault(key, []).append(self._list(extra, key, f"{place}, in 'extra',"))

    def _list(self, row: dict[str, Any], key: str, place: str) -> list[Any]:
        values: list[Any] = field(row, key, list, place)
        if len(values) != len(self.cells):
            raise RecordError(f"{place} must have {len(self.cells)} entries in {key!r}, got {len(values)}")
        return values

    def _add_attacks(self, row: dict[str, Any], place: str) -> None:
        stages = self._list(row, "broken_by", place)
        if not all(stage is None or isinstance(stage, str) for stage in stages):
            raise RecordError(f"{place} needs 'broken_by', a list of stage names or null, got {shown(stages)}")
        flags = field(row, "flags", dict, place) if "flags" in row else {}
        for cell, found in flags.items():
            texts = isinstance(found, dict) and all(isinstance(meaning, str) for meaning in found.values())
            if cell not in self.cells or not texts:
                raise RecordError(
                    f"{place} needs 'flags', names with meanings for each of its cells, got {shown({cell: found})}"
                )
        probes = field(row, "probes", dict, place) if "probes" in row else {}
        for name, tried in probes.items():
            if not isinstance(tried, dict) or not all(type(tried.get(key)) is int for key in ("broken", "forward")):
                raise RecordError(
                    f"{place} needs 'probes', names with the integers 'broken' and 'forward', got {shown({name: tried})}"
                )
        self.broken_by.append(tuple(stages))
        self.flags.append(flags)
        self.probes.append(probes)

    def finish(self, place: str) -> PassRecords:
        """Returns the arrays, sorted by id; raises a RecordError that names ``place`` if values are inconsistent."""
        ids = np.frombuffer(self.ids, dtype=np.int64) if self.ids else np.zeros(0, np.int64)
        labels = np.array(self.labels, dtype=np.int64)
        order = np.argsort(ids, kind="stable")
        rows = order.tolist()
        attacked = bool(self.broken_by)

        def table(key: str) -> NDArray[Any]:
            values: NDArray[Any] = np.array(self.numbers[key]).reshape(len(ids), len(self.cells))
            return values if (order[1:] > order[:-1]).all() else values[order]

        found = PassRecords(
            name=self.name,
            cells=self.cells,
            coordinates=self.coordinates,
            ids=ids[order],
            files=tuple(self.files[row] for row in rows),
            labels=labels[order],
            prediction=table("prediction"),
            confidence=table("confidence"),
            label_rank=table("label_rank"),
            digests=tuple(self.digests[row] for row in rows),
            broken_by=tuple(self.broken_by[row] for row in rows) if attacked else None,
            forward=table("forward") if attacked else None,
            backward=table("backward") if attacked else None,
            flags=tuple(self.flags[row] for row in rows) if attacked else (),
            probes=tuple(self.probes[row] for row in rows) if attacked else (),
            extra={
                key: _extra(values, f"in 'extra' {key!r}", self.ids, place)[order] for key, values in self.extra.items()
            },
            answers=table(_SEVERAL) if self.numbers[_SEVERAL] else None,
        )
        _check_values(found, place)
        return found


def _extra(rows: Sequence[list[Any]], what: str, ids: Sequence[int], place: str) -> NDArray[Any]:
    """Returns extra numbers as one array, (N, cells, ...); raises a RecordError that names the first invalid image."""
    table = _plain_array(rows)
    if table is not None:
        return table
    alone = [_plain_array(row) for row in rows]
    first = next((own.shape for own in alone if own is not None), None)
    number = next(i for i, own in enumerate(alone) if own is None or own.shape != first)
    raise RecordError(
        f"{place}: image {ids[number]} needs {what} finite numbers of the other images' shape, got {shown(rows[number])}"
    )


def _plain_array(rows: Sequence[Any]) -> NDArray[Any] | None:
    """Returns ``rows`` as an array; None if they are ragged or a value is not a finite number."""
    try:
        table = np.array(rows)
    except (ValueError, OverflowError):
        return None
    return table if table.dtype.kind in "if" and np.isfinite(table).all() else None


def _check_values(table: PassRecords, place: str) -> None:
    """Raises a RecordError that names the first image and cell whose values are invalid or inconsistent."""

    def refuse(wrong: NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            row, column = (int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
            raise RecordError(
                f"{place}: image {table.ids[row]} has in the cell {table.cells[column]!r} the prediction "
                f"{table.prediction[row, column]}, confidence {table.confidence[row, column]:g} and label rank "
                f"{table.label_rank[row, column]} for the label {table.labels[row]}: {what}"
            )

    refuse(~((table.confidence >= 0) & (table.confidence <= 1 + 1e-6)), "a confidence must be from 0 to 1")
    refuse((table.label_rank < 0) | (table.prediction < 0), "a rank and a class must be at least 0")
    refuse(
        (table.prediction == table.labels[:, None]) != table.correct,
        "the prediction must be the label if and only if the label rank is 0",
    )
    for key in (*_PER_ATTACK, _SEVERAL):
        spent: NDArray[np.int64] | None = getattr(table, key)
        if spent is not None and (spent < 0).any():
            row, of = int((spent < 0).any(axis=1).argmax()), " of passes" * (key != _SEVERAL)
            raise RecordError(f"{place}: image {table.ids[row]} has a negative number{of} in {key!r}")
