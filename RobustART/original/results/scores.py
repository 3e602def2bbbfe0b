"""Reads the original's score lines: predictions, labels and scores of images."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import RecordError
from RobustART.metrics import functional
from RobustART.metrics.formats import Verdicts
from RobustART.original.results.lines import NUMBERS, original_lines, whole
from RobustART.records.header import shown

REPEAT = 1e-3
"""Largest difference between the highest scores of one image in two batches."""
ROUNDING = 0.02
"""Largest excess over 1 of the sum of a softmax over 1,000 classes, for instance in bfloat16."""
LEAST_MASS = 1e-5
"""Least sum of a softmax with 8 decimals over the competing classes, so that its digits distinguish them."""


def read_verdicts(res_file: str | Path, competing: ArrayLike | None = None) -> Verdicts:
    """Returns the verdicts of lines ``{"filename", "image_id", "prediction", "label", "score": [K floats]}``.

    Without ``score``, ``prediction`` is used; it also decides among equal scores. An image that the original's sampler
    repeated as padding counts once; a repeat with another label, or with scores that differ by more than :data:`REPEAT`, is
    an error. Lines are read one by one, so that whole files of 1,000 scores need little memory.

    Args:
        res_file: the file, or the name before ``.rank0``, ``.rank1``, ...
        competing: the classes that compete, sorted; None is all. They need scores of all 1,000 classes.

    Raises:
        RecordError: the file is missing or damaged, or a line's prediction is not one of its highest scores.
    """
    batch = _Batch(res_file, None if competing is None else np.asarray(competing))
    seen: dict[Any, tuple[int, Any, float]] = {}
    names: dict[str, list[Any]] = {"filename": [], "image_id": []}
    count = 0
    for place, data in original_lines(res_file):
        own = _names(data, place)
        batch.check(place, data)
        score = data.get("score")
        verdict = data["label"], None if score else data["prediction"], max(score or [0.0])
        # A repeat of an image as padding has all the same names.
        key = tuple(own.items())
        if own and key in seen:
            if seen[key][:2] != verdict[:2] or not math.isclose(
                seen[key][2], verdict[2], rel_tol=REPEAT, abs_tol=REPEAT
            ):
                raise RecordError(f"{place} repeats the image {next(iter(own.values()))!r} with another score or label")
            continue
        seen[key] = verdict
        for kind, values in names.items():
            values += [own[kind]] if kind in own else []
        batch.add(place, data)
        count += 1
    if not count:
        raise RecordError(f"{res_file} holds no records")
    return batch.finish({kind: values for kind, values in names.items() if len(values) == count})


def _names(data: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns the names of a line's image by their kind."""
    own: dict[str, Any] = {kind: data[kind] for kind in ("filename", "image_id") if kind in data}
    for kind, name in own.items():
        if type(name) not in (str, int):
            raise RecordError(f"{place} needs {kind!r}, a string or an integer, got {shown(name)}")
    return own


class _Batch:
    """Score lines while they are read; every :attr:`SIZE` of them are reduced to ranks, and their scores are dropped."""

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

    def check(self, place: str, data: dict[str, Any]) -> None:
        """Raises a RecordError that names ``place`` if a line is incomplete or contradicts itself."""
        score, label, prediction = data.get("score"), data.get("label"), data.get("prediction")
        if not whole(label) or (score is None and not whole(prediction)) or score == []:
            raise RecordError(
                f"{place} needs 'score' (a list of numbers) or 'prediction', and 'label', a class from 0, got {shown(data)}"
            )
        if score is not None and (not isinstance(score, list) or not NUMBERS.issuperset(map(type, score))):
            raise RecordError(f"{place} needs 'score', a list of numbers, got {shown(score)}")
        width = len(score or ())
        if self.width is None:
            self.width = width
        if width != self.width:
            raise RecordError(f"{self.res_file} has lines with different numbers of scores: {place} has {width}")
        if score is None:
            return
        if data["label"] >= width:
            raise RecordError(f"{place} has the label {label}, but {width} scores")
        # Rounding makes ties, of which any may be first. With a mask, the first of its classes may be the prediction.
        if "prediction" in data and not (
            whole(prediction) and data["prediction"] < width and self._first(data["prediction"], score)
        ):
            raise RecordError(
                f"{place} contradicts itself: it has the prediction {shown(prediction)}, but the highest score is that of "
                f"{score.index(max(score))}"
            )

    def _first(self, prediction: int, score: list[float]) -> bool:
        top = max(score)
        if score[prediction] == top or top != top:  # nan is refused with the batch
            return True
        own = () if self.competing is None or len(score) <= self.competing.max() else self.competing.tolist()
        return prediction in own and score[prediction] == max(score[i] for i in own)

    def add(self, place: str, data: dict[str, Any]) -> None:
        """Adds one checked line; ``place`` names it in messages."""
        try:
            self.scores.extend(data.get("score") or ())
        except OverflowError:
            raise RecordError(f"{place} has a score that is too large, got {shown(max(data['score']))}") from None
        self.labels.append(data["label"])
        self.predictions.append(data.get("prediction", -1))
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
            with np.errstate(over="ignore"):  # logits may be huge
                self.logits |= bool((table < 0).any() or (table.sum(axis=1) > 1 + ROUNDING).any())
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
            if not self.logits:  # a softmax over some classes alone is the full one divided by their sum
                sums = table.sum(axis=1)
                if (sums < LEAST_MASS).any():
                    place = self.places[int((sums < LEAST_MASS).argmax())]
                    raise RecordError(
                        f"{place} gives the {len(classes)} classes that compete {sums.min():.1g} of its scores, too little "
                        f"for its digits to tell them apart (at least {LEAST_MASS:g}); evaluate the model here instead"
                    )
                table = table / sums[:, None]
        ranks, best = functional.label_rank(table, labels), table.argmax(axis=1)
        stated = np.searchsorted(classes, self.predictions)
        stated[stated == len(classes)] = 0
        own = np.take_along_axis(table, stated[:, None], axis=1)[:, 0]
        among = (classes[stated] == self.predictions) & (own == table.max(axis=1))
        best[among] = stated[among]
        right = best == labels
        self.columns["ranks"].append(np.where(right, 0, np.maximum(ranks, 1)))
        self.columns["prediction"].append(classes[best])
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
