"""Reading the original RobustART's result files: JSON lines without a header, one file or one per process."""

from __future__ import annotations

import dataclasses
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import RecordError
from RobustART.metrics import functional


def result_files(res_file: str | Path) -> list[Path]:
    """Returns the file; else ``res_file.all``; else all of ``res_file.rank0``, ``.rank1``, ... in order.

    Raises:
        RecordError: there is neither, or one of the ranks is missing.
    """
    path = Path(res_file)
    if path.is_file():
        return [path]
    whole = path.with_name(f"{path.name}.all")
    if whole.is_file():
        return [whole]
    ranks = {int(p.suffix[5:]): p for p in path.parent.glob(f"{path.name}.rank*") if p.suffix[5:].isdigit()}
    if not ranks:
        raise RecordError(f"there is no result file {path} (nor {path.name}.all or .rank0 beside it)")
    missing = sorted(set(range(max(ranks) + 1)) - set(ranks))
    if missing:
        raise RecordError(f"of the files {path.name}.rank0 to .rank{max(ranks)}, .rank{missing[0]} is missing")
    return [ranks[rank] for rank in sorted(ranks)]


def original_lines(res_file: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place for messages, data) of each line of the original's files."""
    for path in result_files(res_file):
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                place = f"line {number} of {path}"
                try:
                    data = json.loads(line)
                except ValueError:
                    raise RecordError(f"{place} is not JSON: {line[:80]!r}") from None
                if not isinstance(data, dict):
                    raise RecordError(f"{place} must be a JSON object, got {line[:80]!r}")
                yield place, data


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """What the original's lines of one data set say, one row for each image."""

    place: str
    """The file, for messages."""
    names: dict[str, list[Any]]
    """How images are called, by the kind of name: ``filename``, ``image_id``; only kinds that all lines have."""
    labels: NDArray[np.int64]
    """True classes, (N,)."""
    prediction: NDArray[np.int64]
    """Predicted classes, (N,)."""
    correct: NDArray[np.bool_]
    """Whether they are right, (N,)."""
    ranks: NDArray[np.int64] | None
    """Classes scored above the true one, (N,); None where lines hold predictions only."""
    confidence: NDArray[np.float64] | None
    """Highest score, (N,); None where lines hold predictions only, or a mask was applied to logits."""
    classes: int | None
    """Scores in a line; None where lines hold predictions only."""


def read_verdicts(res_file: str | Path, competing: ArrayLike | None = None) -> Verdicts:
    """Returns what lines ``{"filename", "image_id", "prediction", "label", "score": [K floats]}`` say.

    Lines without ``score`` are taken by ``prediction``. An image that the original's sampler padded in twice counts once;
    with another score it is an error. Lines are taken in one by one: whole files of 1,000 scores need little memory.

    Args:
        res_file: the file, or the name before ``.rank0``, ``.rank1``, ...
        competing: classes that compete alone, sorted; None is all. Needs scores of all 1,000 classes.

    Raises:
        RecordError: the file is missing or damaged.
    """
    batch = _Batch(res_file, None if competing is None else np.asarray(competing))
    seen: dict[Any, int] = {}
    names: dict[str, list[Any]] = {"filename": [], "image_id": []}
    count = 0
    for place, data in original_lines(res_file):
        own = {kind: data[kind] for kind in names if isinstance(data.get(kind), (str, int))}
        text = _hash(data)
        # The padded repeat of an image has the same names, all of them.
        key = tuple(own.items())
        if own and key in seen:
            if seen[key] != text:
                raise RecordError(f"{place} repeats the image {next(iter(own.values()))!r} with another score or label")
            continue
        seen[key] = text
        for kind, values in names.items():
            values += [own[kind]] if kind in own else []
        batch.add(place, data)
        count += 1
    if not count:
        raise RecordError(f"{res_file} holds no records")
    return batch.finish({kind: values for kind, values in names.items() if len(values) == count})


def _hash(data: dict[str, Any]) -> int:
    try:
        return hash((tuple(data.get("score") or ()), str(data.get("prediction")), str(data.get("label"))))
    except TypeError:
        return 0  # something that is no list of numbers, which will be refused


class _Batch:
    """Lines of scores while they are read: some hundred at once become ranks, and their scores are let go."""

    SIZE = 256

    def __init__(self, res_file: str | Path, competing: NDArray[np.int64] | None) -> None:
        self.res_file, self.competing = res_file, competing
        self.columns: dict[str, list[NDArray[Any]]] = {"labels": [], "prediction": [], "ranks": [], "confidence": []}
        self.scores, self.places = array("d"), []  # type: tuple[array[float], list[str]]
        self.labels: list[int] = []
        self.predictions: list[int] = []
        self.width: int | None = None
        """Scores in a line; 0 where lines hold predictions only."""
        self.logits = False

    def add(self, place: str, data: dict[str, Any]) -> None:
        """Takes one line in; ``place`` names it in messages."""
        score, label, prediction = data.get("score"), data.get("label"), data.get("prediction")
        whole = isinstance(label, int) and not isinstance(label, bool)
        if not whole or not ((isinstance(score, list) and score) or (score is None and isinstance(prediction, int))):
            raise RecordError(
                f"{place} needs 'score' (a list of numbers) or 'prediction', and 'label', got {str(data)[:80]}"
            )
        width = len(score or ())
        assert isinstance(label, int)
        if self.width is None:
            self.width = width
        if width != self.width:
            raise RecordError(f"{self.res_file} has lines with different numbers of scores: {place} has {width}")
        if width and not 0 <= label < width:
            raise RecordError(f"{place} has the label {label}, but {width} scores")
        try:
            self.scores.extend(score or ())
        except TypeError:
            raise RecordError(f"{place} needs 'score', a list of numbers, got {str(score)[:80]}") from None
        self.labels.append(label)
        self.predictions.append(prediction if isinstance(prediction, int) else -1)
        self.places.append(place)
        if len(self.labels) == self.SIZE:
            self._flush()

    def _flush(self) -> None:
        labels = np.array(self.labels, dtype=np.int64)
        if not len(labels):
            return
        self.columns["labels"].append(labels)
        if not self.width:
            self.columns["prediction"].append(np.array(self.predictions, dtype=np.int64))
        else:
            table = np.array(self.scores).reshape(len(labels), self.width)
            strange = ~np.isfinite(table).all(axis=1)
            if strange.any():
                raise RecordError(f"{self.places[int(strange.argmax())]} has a score that is not a finite number")
            self.logits |= bool((table < 0).any() or (table.sum(axis=1) > 1.001).any())
            self._reduce(table, labels)
        self.scores, self.labels, self.predictions, self.places = array("d"), [], [], []

    def _reduce(self, table: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        classes = np.arange(table.shape[1])
        if self.competing is not None:
            if table.shape[1] != 1000 or not np.isin(labels, self.competing).all():
                raise RecordError(
                    f"{self.res_file} must hold 1,000 scores an image and labels of the {len(self.competing)} classes that "
                    "compete"
                )
            classes = self.competing
            table, labels = functional.masked_scores(table, labels, classes)
            # A softmax over some classes alone is the full one divided by their sum.
            table = (
                table / np.maximum(table.sum(axis=1, keepdims=True), np.finfo(float).tiny) if not self.logits else table
            )
        self.columns["ranks"].append(functional.label_rank(table, labels))
        self.columns["prediction"].append(classes[table.argmax(axis=1)])
        self.columns["confidence"].append(table.max(axis=1))

    def finish(self, names: dict[str, list[Any]]) -> Verdicts:
        """Returns the rows of all lines."""
        self._flush()
        found = {key: np.concatenate(parts) for key, parts in self.columns.items() if parts}
        ranks = found.get("ranks")
        return Verdicts(
            place=str(self.res_file), names=names, labels=found["labels"], prediction=found["prediction"],
            correct=found["prediction"] == found["labels"] if ranks is None else ranks == 0, ranks=ranks,
            confidence=None if self.logits else found.get("confidence"), classes=self.width or None,
        )  # fmt: skip


def holds_confidences(res_file: str | Path) -> bool:
    """Returns whether lines are lists of confidences, as the original writes for ImageNet-A and -O, not scores."""
    first = next(original_lines(res_file), None)
    return first is not None and "confidence" in first[1]


def read_confidences(res_file: str | Path) -> tuple[list[float], list[bool]]:
    """Returns confidences and whether each is right from lines ``{"confidence": [...], "correct": [...], "num_correct"}``,
    one line per process.
    """
    confidence: list[float] = []
    correct: list[bool] = []
    for place, data in original_lines(res_file):
        try:
            values, rights = [float(v) for v in data["confidence"]], [bool(v) for v in data["correct"]]
        except (KeyError, TypeError, ValueError):
            raise RecordError(f"{place} needs the lists 'confidence' and 'correct', got {str(data)[:80]}") from None
        if len(values) != len(rights) or data.get("num_correct", sum(rights)) != sum(rights):
            raise RecordError(f"{place} contradicts itself: its lists or num_correct do not agree")
        confidence += values
        correct += rights
    if not correct:
        raise RecordError(f"{res_file} holds no records")
    return confidence, correct


def _stems(folder: Path, kind: str) -> list[Path]:
    """Returns the names of a folder's result files without ``.all`` and ``.rank0``, sorted, each once."""
    names = {re.sub(r"\.(all|rank\d+)$", "", p.name) for p in folder.iterdir() if "-results.txt" in p.name}
    if not names:
        raise RecordError(f"{folder} holds no files named {{{kind}}}-results.txt")
    return [folder / name for name in sorted(names)]


def corruption_files(res_files: str | Path | Sequence[str | Path]) -> dict[tuple[str, int], Path]:
    """Returns the original's files of ImageNet-C by corruption and severity.

    Args:
        res_files: a folder of ``{group}-{corruption}-{severity}-results.txt``, with ``.all`` or one file for each process,
            or a list of such files. Other files of the folder, such as the original's ``-metric``, are not looked at.

    Raises:
        RecordError: there are none, a name is not of this form, or a cell is there twice.
    """
    if isinstance(res_files, (str, Path)):
        places = _stems(Path(res_files), "group}-{corruption}-{severity")
    else:
        places = [Path(path) for path in res_files]
    found: dict[tuple[str, int], Path] = {}
    for place in places:
        match = re.fullmatch(r"[^-]+-([^-]+)-([1-5])-results\.txt(?:\.all|\.rank\d+)?", place.name)
        if match is None:
            raise RecordError(f"{place} must be named {{group}}-{{corruption}}-{{severity}}-results.txt")
        cell = match[1], int(match[2])
        if cell in found:
            raise RecordError(f"{found[cell]} and {place} are both of {cell[0]}/{cell[1]}")
        found[cell] = place
    if not found:
        raise RecordError("ImageNet-C needs at least one result file")
    return found


def read_video_predictions(res_file: str | Path, perturbation: str | None = None) -> dict[str, NDArray[np.int64]]:
    """Returns predictions, (videos, frames) by perturbation, from lines ``{"predictions": [class of each frame]}``.

    Args:
        res_file: ``{perturbation}-results.txt``, with ``.all`` or one file for each process; or a folder of them.
        perturbation: of a file whose name does not say it.
    """
    path = Path(res_file)
    if perturbation is not None and path.is_dir():
        raise RecordError(f"{path} is a folder of several perturbations, but got the one {perturbation!r}")
    found = {}
    for place in _stems(path, "perturbation") if path.is_dir() else [path]:
        name, separator, _ = (perturbation, "given", "") if perturbation else place.name.partition("-results.txt")
        if not separator:
            raise RecordError(
                f"{place} must be named {{perturbation}}-results.txt..., which says how frames are compared"
            )
        rows = []
        for where, data in original_lines(place):
            row = data.get("predictions")
            if not isinstance(row, list) or len(row) < 2 or not all(isinstance(value, int) for value in row):
                raise RecordError(
                    f"{where} needs 'predictions', a list of the class of each frame, got {str(data)[:80]}"
                )
            rows.append(row)
        if not rows or len({len(row) for row in rows}) > 1:
            raise RecordError(
                f"{place} must hold videos of one length, got lengths {sorted({len(row) for row in rows})}"
            )
        found[name] = np.array(rows, dtype=np.int64)
    return found
