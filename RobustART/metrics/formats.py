"""Registry of readers for result files of other projects, and the type that they return."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.registry import Registry


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """Predictions and scores of one data set, one row for each image."""

    place: str
    """The file, for messages."""
    names: dict[str, list[Any]]
    """Names of the images by kind (``filename``, ``image_id``); only kinds that all lines have."""
    labels: NDArray[np.int64]
    """True classes, (N,)."""
    prediction: NDArray[np.int64]
    """Predicted classes, (N,)."""
    correct: NDArray[np.bool_]
    """Whether the predictions are correct, (N,)."""
    ranks: NDArray[np.int64] | None
    """Number of classes scored above the true one, (N,); None if the lines have predictions only."""
    confidence: NDArray[np.float64] | None
    """Highest score, (N,); None if the lines have predictions only, or a mask was applied to logits."""
    classes: int | None
    """Number of scores in a line; None if the lines have predictions only."""


@dataclasses.dataclass(frozen=True)
class Format:
    """Readers of a project's result files; each raises a RecordError if a file is missing or damaged."""

    verdicts: Callable[..., Verdicts]
    """(file, competing classes or None) -> verdicts."""
    holds_confidences: Callable[[str | Path], bool]
    """Whether a file is a list of confidences and verdicts without image names."""
    confidences: Callable[[str | Path], tuple[list[float], list[bool]]]
    """Confidences of such a file, and whether each prediction is correct."""
    video_predictions: Callable[[str | Path, str | None, int], Mapping[str, NDArray[np.int64]]]
    """(file or folder, perturbation, difficulty) -> predictions of the frames, (N, T), by perturbation."""
    cells: Callable[[str | Path | Sequence[str | Path]], Mapping[tuple[str, int], Path]]
    """(folder or list of files) -> files of ImageNet-C's cells, by corruption and severity."""


ORIGINAL = "original"
"""Name of the 2021 RobustART's format."""
FORMATS: Registry[Format] = Registry("format of result files", ("RobustART.original.results",))
"""Formats by name."""


def original() -> Format:
    """Returns the readers of the 2021 RobustART's files."""
    return FORMATS[ORIGINAL]
