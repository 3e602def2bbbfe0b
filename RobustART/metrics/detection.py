"""Telling two kinds of images apart by a score, ImageNet-O: AUPR, AUROC, false positives at a recall.

The images to be found ("positives") are the unknown ones; a higher score means more unknown. Equal scores are one
threshold, as in scikit-learn. Every function takes weights, one row for each bootstrap draw, so that intervals cost one
sort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.metrics.functional import UndefinedError

NAMES = ("aupr", "auroc", "fpr95")
"""The numbers of :func:`detection`, all in percent."""


def detection(positive: ArrayLike, negative: ArrayLike, *, recall: float = 0.95) -> dict[str, float]:
    """Returns AUPR (average precision), AUROC, and the false positive rate where ``recall`` is first reached, in percent.

    Args:
        positive: scores of the images to be found, (P,).
        negative: scores of the others, (Q,).
        recall: in (0, 1].
    """
    scores, labels = _joined(positive, negative)
    values = _measure(scores, labels, np.ones((1, len(scores))), recall)
    return {name: float(value[0]) for name, value in zip(NAMES, values, strict=True)}


def detection_intervals(
    positive: ArrayLike, negative: ArrayLike, *, recall: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns the 95 % bootstrap intervals of :func:`detection`, the two kinds of images drawn apart."""
    scores, labels = _joined(positive, negative)
    rng = np.random.default_rng(seed)
    counts = int(labels.sum()), int((~labels).sum())
    rows = []
    step = max(1, 4_000_000 // len(scores))
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        weights = np.empty((draws, len(scores)))
        for mask, count in ((labels, counts[0]), (~labels, counts[1])):
            weights[:, mask] = rng.multinomial(count, np.full(count, 1 / count), size=draws)
        rows.append(_measure(scores, labels, weights, recall))
    table = np.concatenate(rows, axis=1)
    low, high = np.percentile(table, [2.5, 97.5], axis=1)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(NAMES)}


def _joined(positive: ArrayLike, negative: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns scores, highest first, and which are positive."""
    first, second = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        raise UndefinedError(f"telling {first.size} unknown from {second.size} known images is undefined")
    scores = np.concatenate([first, second])
    order = np.argsort(-scores, kind="stable")
    return scores[order], order < first.size


def _measure(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64], recall: float
) -> NDArray[np.float64]:
    """Returns AUPR, AUROC and FPR in percent, (3, draws), of sorted scores under ``weights`` (draws, images)."""
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    found = np.cumsum(weights * labels, axis=1)[:, ends]
    wrong = np.cumsum(weights * ~labels, axis=1)[:, ends]
    zero = np.zeros((len(weights), 1))
    precision = found / np.maximum(found + wrong, 1e-300)
    tpr, fpr = found / found[:, -1:], wrong / wrong[:, -1:]
    aupr = (np.diff(tpr, axis=1, prepend=zero) * precision).sum(axis=1)
    before = np.concatenate([zero, tpr[:, :-1]], axis=1)
    auroc = (np.diff(fpr, axis=1, prepend=zero) * (tpr + before) / 2).sum(axis=1)
    # The official rule: the threshold of the nearest recall, of equally near ones the last, up to the first that finds all.
    far = np.abs(tpr - recall)
    far[np.cumsum(tpr >= 1.0, axis=1) > 1] = np.inf
    nearest = far.shape[1] - 1 - far[:, ::-1].argmin(axis=1)
    return np.stack([aupr, auroc, fpr[np.arange(len(fpr)), nearest]]) * 100.0
