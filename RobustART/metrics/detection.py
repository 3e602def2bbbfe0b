"""Telling two kinds of images apart by a score, ImageNet-O: AUPR, AUROC, false positives at a recall.

The images to be found ("positives") are the unknown ones; a higher score means more unknown. Equal scores are one
threshold, as in scikit-learn. Every function takes weights, one row for each bootstrap draw, so that intervals cost one
sort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics import estimates
from RobustART.metrics.resampling import RESAMPLES, draw_counts, reflected_interval
from RobustART.metrics.results import Estimate, Summary

NAMES = ("aupr", "auroc", "fpr95")
"""The numbers of :func:`detection`, all in percent."""


def detection(positive: ArrayLike, negative: ArrayLike, *, recall: float = 0.95) -> dict[str, float]:
    """Returns AUPR (average precision), AUROC, and the false positive rate at the recall nearest to ``recall``, in percent.

    That rule is the official code's (hendrycks/natural-adv-examples): of all thresholds up to the first that finds every
    image, the one whose recall is nearest, be it below or above, and of equally near ones the lowest.

    Args:
        positive: scores of the images to be found, (P,).
        negative: scores of the others, (Q,).
        recall: in (0, 1].

    Raises:
        UndefinedError: there are no images of one kind, or a score is not a number.
    """
    scores, order, known = _joined(positive, negative)
    values = _measure(scores, order < known, np.ones((1, len(scores))), recall)
    return {name: float(value[0]) for name, value in zip(NAMES, values, strict=True)}


def detection_draws(
    positive: ArrayLike, negative: ArrayLike, *, recall: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Returns the numbers of :func:`detection` on each sample of images, (resamples,), the two kinds drawn apart."""
    scores, order, known = _joined(positive, negative)
    n = len(scores)
    blocks = [
        draw_counts(count, resamples=resamples, seed=[seed, kind], width=n)
        for kind, count in enumerate((known, n - known))
    ]
    rows = []
    for found, wrong in zip(*blocks, strict=True):
        weights = np.concatenate([found, wrong], axis=1)[:, order].astype(np.float64)
        rows.append(_measure(scores, order < known, weights, recall))
    return dict(zip(NAMES, np.concatenate(rows, axis=1), strict=True))


def _joined(positive: ArrayLike, negative: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Returns all scores, highest first, the place of each before, and how many of the places are of positives."""
    first, second = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        raise UndefinedError(f"telling {first.size} unknown from {second.size} known images is undefined")
    scores = np.concatenate([first, second])
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        raise UndefinedError(f"telling images apart is undefined: {count} scores are not numbers")
    order = np.argsort(-scores, kind="stable")
    return scores[order], order, first.size


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


def unknown_images(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> Summary:
    """Returns the numbers of ImageNet-O from the confidences of known images, (Q,), and of unknown ones, (P,)."""
    values = detection(-unknown, -known)
    draws = detection_draws(-unknown, -known)
    n = len(known) + len(unknown)
    metrics: dict[str, Estimate] = {}
    for name, value in values.items():
        # The rarer kind of images says how far chance may go; the number stands on all.
        ends = reflected_interval(value, draws[name])
        metrics[name] = estimates.from_draws(value, draws[name], n, ends=ends, fewest=min(len(known), len(unknown)))
    metrics["chance_aupr"] = estimates.exact(100.0 * len(unknown) / n, n)
    return Summary(metrics)
