"""Reading the original RobustART's result files: JSON lines without a header, one file or one per process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError


def result_files(res_file: str | Path) -> list[Path]:
    """Returns the file, or, where only ``res_file.rank0``, ``.rank1``, ... exist, all of those in order.

    Raises:
        RecordError: there is neither, or one of the ranks is missing.
    """
    path = Path(res_file)
    if path.is_file():
        return [path]
    ranks = {int(p.suffix[5:]): p for p in path.parent.glob(f"{path.name}.rank*") if p.suffix[5:].isdigit()}
    if not ranks:
        raise RecordError(f"there is no result file {path} (nor {path.name}.rank0 beside it)")
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


def read_scores(res_file: str | Path) -> tuple[list[list[float]], list[int]]:
    """Returns scores and labels from lines ``{"filename", "image_id", "prediction", "label", "score": [K floats]}``.

    An image that the original's sampler padded in twice counts once; with other scores it is an error.
    """
    rows: dict[Any, tuple[list[float], int]] = {}
    for place, data in original_lines(res_file):
        try:
            row = ([float(value) for value in data["score"]], int(data["label"]))
        except (KeyError, TypeError, ValueError):
            raise RecordError(f"{place} needs 'score' (a list of numbers) and 'label', got {str(data)[:80]}") from None
        key = data.get("image_id", data.get("filename", place))
        if rows.setdefault(key, row) != row:
            raise RecordError(f"{place} repeats the image {key!r} with another score or label")
        if not 0 <= row[1] < len(row[0]):
            raise RecordError(f"{place} has the label {row[1]}, but {len(row[0])} scores")
    if not rows:
        raise RecordError(f"{res_file} holds no records")
    if len({len(scores) for scores, _ in rows.values()}) > 1:
        raise RecordError(f"{res_file} has lines with different numbers of scores")
    return [scores for scores, _ in rows.values()], [label for _, label in rows.values()]


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


def read_video_predictions(res_file: str | Path) -> dict[str, NDArray[np.int64]]:
    """Returns predictions, (videos, frames) by perturbation, from lines ``{"predictions": [class of each frame]}``.

    Args:
        res_file: ``{perturbation}-results.txt``, with ``.all`` or one file for each process; or a folder of them.
    """
    path = Path(res_file)
    if path.is_dir():
        stems = {re.sub(r"\.(all|rank\d+)$", "", p.name) for p in path.iterdir() if "-results.txt" in p.name}
        places = [path / f"{s}.all" if (path / f"{s}.all").is_file() else path / s for s in sorted(stems)]
        if not places:
            raise RecordError(f"{path} holds no files named {{perturbation}}-results.txt")
    else:
        places = [path]
    found = {}
    for place in places:
        name, separator, _ = place.name.partition("-results.txt")
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
