"""Converts pixels to model inputs, and logits to predictions, confidences and label ranks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from RobustART.core.logits import average
from RobustART.errors import ModelError


def to_float(pixels: Tensor) -> Tensor:
    """Returns images (N, 3, H, W) in [0, 1] from uint8 (N, H, W, 3), on the same device."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def score_answers(answers: Tensor, labels: Tensor, classes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Returns prediction, confidence and label rank by the averaged softmax, each (N,).

    With several answers a fourth tensor follows, int64 (N,): its bit r is 1 if answer r alone is correct.

    Args:
        answers: logits of each answer about an image, (N, R, K).
        labels: as in :func:`score`.
        classes: as in :func:`score`.
    """
    found = score(average(answers), labels, classes)
    if answers.shape[1] == 1:
        return found
    right = [score(answer, labels, classes)[2] == 0 for answer in answers.unbind(1)]
    return *found, torch.stack([hit.long() << r for r, hit in enumerate(right)]).sum(0)


def score(logits: Tensor, labels: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns prediction, confidence and label rank, each (N,).

    Equal scores are ordered by class, so the prediction is correct if and only if the rank is 0.

    Args:
        logits: logits of all classes, (N, K).
        labels: true classes, (N,).
        classes: competing classes, (C,); a label outside them has rank C. None is all.
    """
    if classes is None:
        classes = torch.arange(logits.shape[1], device=logits.device)
    scores = logits[:, classes].double()
    top = scores.amax(dim=1, keepdim=True)
    prediction = torch.where(scores == top, classes, logits.shape[1]).amin(dim=1)
    confidence = scores.softmax(dim=1).amax(dim=1)
    own = torch.gather(logits, 1, labels[:, None]).double()
    above = (scores > own) | ((scores == own) & (classes < labels[:, None]))
    inside = (classes == labels[:, None]).any(dim=1)
    return prediction, confidence, torch.where(inside, above.sum(dim=1), len(classes))


def check_finite(logits: Tensor, cell: str, names: Sequence[str]) -> None:
    """Raises a ModelError that names the cell and the first image whose logits (N, ..., K) are nan or infinite."""
    finite = logits.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ModelError(f"the model returned nan or infinity in the cell {cell!r} for {names[row]}")


@dataclasses.dataclass
class Verdict:
    """Results of one cell on the N images of a block."""

    prediction: Tensor
    """Predicted classes, int64 (N,)."""
    confidence: Tensor
    """Probabilities of the predicted classes, float64 (N,)."""
    label_rank: Tensor
    """Number of classes scored above the true one, int64 (N,)."""
    broken_by: list[str | None]
    """Stage that fooled the model for each image; None if the prediction is correct."""
    forward: Tensor
    """Forward passes of the attack, int64 (N,)."""
    backward: Tensor
    """Backward passes of the attack, int64 (N,)."""
    flags: list[dict[str, str]]
    """Warnings of the attack for each image, by name with meaning."""
    answers: Tensor | None = None
    """Which of several answers are correct, as bits, int64 (N,); None for a single answer."""

    @classmethod
    def of(cls, answers: Tensor, labels: Tensor, classes: Tensor | None) -> Verdict:
        """Returns the verdict on images without attack; arguments as in :func:`score_answers`."""
        prediction, confidence, rank, *several = (value.cpu() for value in score_answers(answers, labels, classes))
        passes = torch.zeros(len(labels), dtype=torch.int64)
        flags: list[dict[str, str]] = [{} for _ in labels]
        return cls(prediction, confidence, rank, [None] * len(labels), passes, passes.clone(), flags, *several)

    @property
    def right(self) -> Tensor:
        """Whether the prediction is correct, bool (N,)."""
        return self.label_rank == 0

    def put(self, rows: Tensor, values: Iterable[Sequence[float]]) -> None:
        """Replaces what :func:`score_answers` returned for ``rows``, (M,); ``values`` are as many lists of M numbers."""
        mine = (self.prediction, self.confidence, self.label_rank, self.answers)
        for table, numbers in zip((table for table in mine if table is not None), values, strict=True):
            table[rows] = torch.tensor(numbers, dtype=table.dtype)

    @functools.cached_property
    def lists(self) -> dict[str, list[Any]]:
        """The tensors as lists by name, for records; read when all attacks are done, since it is not computed again."""
        names = ("prediction", "confidence", "label_rank", "forward", "backward")
        return {name: getattr(self, name).tolist() for name in names}
