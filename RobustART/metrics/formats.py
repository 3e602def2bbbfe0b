"""Result files of other projects: what a reader of one returns, and the registry of readers."""

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
    """What the lines of one data set say, one row for each image."""

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


@dataclasses.dataclass(frozen=True)
class Format:
    """Readers of one project's result files; each raises a RecordError if a file is missing or damaged."""

    verdicts: Callable[..., Verdicts]
    """(file, classes that compete or None) -> verdicts."""
    holds_confidences: Callable[[str | Path], bool]
    """Whether a file is a list of confidences and verdicts without names of images."""
    confidences: Callable[[str | Path], tuple[list[float], list[bool]]]
    """Confidences of such a file, and whether each prediction is right."""
    video_predictions: Callable[[str | Path, str | None, int], Mapping[str, NDArray[np.int64]]]
    """(file or folder, perturbation, difficulty) -> predictions of frames, (N, T), by perturbation."""
    cells: Callable[[str | Path | Sequence[str | Path]], Mapping[tuple[str, int], Path]]
    """The files of ImageNet-C's cells in a folder or list, by corruption and severity."""


ORIGINAL = "original"
"""The format of the 2021 RobustART."""
FORMATS: Registry[Format] = Registry("format of result files", ("RobustART.original.results",))
"""Names to formats."""


def original() -> Format:
    """Returns the readers of the 2021 RobustART's files."""
    return FORMATS[ORIGINAL]
