"""Reads the original's lists: confidences of ImageNet-A and -O, and predictions of ImageNet-P's frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.original.results.files import video_files
from RobustART.original.results.lines import NUMBERS, original_lines, whole
from RobustART.records.header import shown


def holds_confidences(res_file: str | Path) -> bool:
    """Returns whether lines are lists of confidences, as the original writes for ImageNet-A and -O, not scores."""
    first = next(original_lines(res_file), None)
    return first is not None and "confidence" in first[1]


def read_confidences(res_file: str | Path) -> tuple[list[float], list[bool]]:
    """Returns confidences, and whether each prediction is correct.

    There is one line ``{"confidence": [...], "correct": [...], "num_correct": N}`` for each process.

    Raises:
        RecordError: the file is missing or damaged, a confidence is not in [0, 1], or ``correct`` is neither 0 nor 1.
    """
    confidence: list[float] = []
    correct: list[bool] = []
    for place, data in original_lines(res_file):
        values, rights = _checked(data, place)
        confidence += values
        correct += rights
    if not correct:
        raise RecordError(f"{res_file} holds no records")
    return confidence, correct


def _checked(data: dict[str, Any], place: str) -> tuple[list[float], list[bool]]:
    values, rights = data.get("confidence"), data.get("correct")
    if not isinstance(values, list) or not isinstance(rights, list):
        raise RecordError(f"{place} needs the lists 'confidence' and 'correct', got {shown(data)}")
    for value in values:
        if type(value) not in NUMBERS or not 0 <= value <= 1 + 1e-6:
            raise RecordError(f"{place} needs 'confidence', a list of numbers from 0 to 1, got {shown(value)} in it")
    for value in rights:
        if type(value) not in (*NUMBERS, bool) or value not in (0, 1):
            raise RecordError(f"{place} needs 'correct', a list of 0 and 1, got {shown(value)} in it")
    count = data.get("num_correct", sum(rights))
    if len(values) != len(rights) or count != sum(rights):
        raise RecordError(
            f"{place} contradicts itself: {len(values)} confidences, {len(rights)} in 'correct', of them {sum(rights)} "
            f"right, num_correct {shown(count)}"
        )
    return [float(value) for value in values], [bool(value) for value in rights]


def read_video_predictions(
    res_file: str | Path, perturbation: str | None = None, difficulty: int = 1
) -> dict[str, NDArray[np.int64]]:
    """Returns predictions, (videos, frames) by perturbation, from lines ``{"predictions": [class of each frame]}``."""
    found = {}
    for name, place in video_files(res_file, perturbation, difficulty).items():
        rows = []
        for where, data in original_lines(place):
            row = data.get("predictions")
            if not isinstance(row, list) or len(row) < 2 or not all(map(whole, row)):
                raise RecordError(f"{where} needs 'predictions', a list of the class of each frame, got {shown(data)}")
            rows.append(row)
        if not rows or len({len(row) for row in rows}) > 1:
            raise RecordError(
                f"{place} must hold videos of one length, got lengths {sorted({len(row) for row in rows})}"
            )
        found[name] = np.array(rows, dtype=np.int64)
    return found
