"""Detection of unknown images by a score, ImageNet-O: AUPR, AUROC and the false positive rate at a recall.

Positives are the unknown images; a higher score means more likely unknown. Equal scores form one threshold, as in
scikit-learn. Bootstrap resamples are weights of the images, so that an interval costs a single sort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics import estimates
from RobustART.metrics.resampling import RESAMPLES, draw_counts, reflected_interval
from RobustART.metrics.results import Estimate, Summary

NAMES = ("aupr", "auroc", "fpr95")
"""Names of the numbers that :func:`detection` returns."""


def detection(positive: ArrayLike, negative: ArrayLike, *, recall: float = 0.95) -> dict[str, float]:
    r"""Returns ``aupr``, ``auroc`` and ``fpr95`` in percent.

    .. math::
        \text{AUPR} = 100 \sum_t (R_t - R_{t-1}) P_t, \quad
        \text{AUROC} = 100 \sum_t (F_t - F_{t-1}) \frac{R_t + R_{t-1}}{2}, \quad
        \text{FPR95} = 100 F_{t^*}

    where :math:`P_t`, :math:`R_t` and :math:`F_t` are precision, recall and false positive rate at the threshold :math:`t`,
    from the highest score down, and :math:`t^*` is the threshold whose recall is nearest to ``recall``. As in the official
    code (hendrycks/natural-adv-examples), that recall may be below or above ``recall``; of equally near thresholds the
    lowest one counts, and none below the first that finds all positives.

    Args:
        positive: scores of the positive (unknown) images, (P,).
        negative: scores of the negative (known) images, (Q,).
        recall: recall at which the false positive rate is taken, in (0, 1].

    Raises:
        UndefinedError: there are no positives or no negatives, or a score is not finite.

    >>> {name: round(value, 2) for name, value in detection([0.9, 0.6], [0.7, 0.2, 0.1]).items()}
    {'aupr': 83.33, 'auroc': 83.33, 'fpr95': 33.33}
    """
    scores, order, known = _joined(positive, negative)
    values = _measure(scores, order < known, np.ones((1, len(scores))), recall)
    return {name: float(value[0]) for name, value in zip(NAMES, values, strict=True)}


def detection_draws(
    positive: ArrayLike, negative: ArrayLike, *, recall: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Returns the numbers of :func:`detection` on each resample, (resamples,); both kinds are resampled separately."""
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
    """Returns all scores in descending order, their indices before sorting, and the number of positives."""
    first, second = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        raise UndefinedError(f"detection of {first.size} unknown among {second.size} known images is undefined")
    scores = np.concatenate([first, second])
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        raise UndefinedError(f"detection of unknown images is undefined: {count} scores are not numbers")
    order = np.argsort(-scores, kind="stable")
    return scores[order], order, first.size


def _measure(
    scores: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64], recall: float
) -> NDArray[np.float64]:
    """Returns AUPR, AUROC and FPR in percent, (3, draws), of sorted scores with ``weights`` (draws, images)."""
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    found = np.cumsum(weights * labels, axis=1)[:, ends]
    wrong = np.cumsum(weights * ~labels, axis=1)[:, ends]
    zero = np.zeros((len(weights), 1))
    precision = found / np.maximum(found + wrong, 1e-300)
    tpr, fpr = found / found[:, -1:], wrong / wrong[:, -1:]
    aupr = (np.diff(tpr, axis=1, prepend=zero) * precision).sum(axis=1)
    before = np.concatenate([zero, tpr[:, :-1]], axis=1)
    auroc = (np.diff(fpr, axis=1, prepend=zero) * (tpr + before) / 2).sum(axis=1)
    # The official rule: the nearest recall, the last of equally near ones, no later than the first recall of 1.
    far = np.abs(tpr - recall)
    far[np.cumsum(tpr >= 1.0, axis=1) > 1] = np.inf
    nearest = far.shape[1] - 1 - far[:, ::-1].argmin(axis=1)
    return np.stack([aupr, auroc, fpr[np.arange(len(fpr)), nearest]]) * 100.0


def unknown_images(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> Summary:
    """Returns ImageNet-O's numbers from the confidences of known images, (Q,), and of unknown images, (P,)."""
    values = detection(-unknown, -known)
    draws = detection_draws(-unknown, -known)
    n = len(known) + len(unknown)
    metrics: dict[str, Estimate] = {}
    for name, value in values.items():
        # The rarer kind of images bounds the precision; the number is of all images.
        ends = reflected_interval(value, draws[name])
        metrics[name] = estimates.from_draws(value, draws[name], n, ends=ends, fewest=min(len(known), len(unknown)))
    metrics["chance_aupr"] = estimates.exact(100.0 * len(unknown) / n, n)
    return Summary(metrics)
