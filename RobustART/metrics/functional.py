"""Metrics as pure functions of arrays. Percentages are in [0, 100]. An undefined result raises an UndefinedError."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    r"""Returns the lower and upper end of Wilson's 95 % interval of a proportion, in percent.

    .. math::
        \frac{100}{1 + z^2 / n} \left(p + \frac{z^2}{2 n} \pm z \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}}\right)

    where :math:`p` is ``successes / n`` and :math:`z` the 97.5 % quantile of the normal distribution.

    Source: Wilson 1927, JASA 22, 209-212.

    Args:
        successes: number of images that count, from 0 to ``n``.
        n: number of images, at least 1.

    Raises:
        UndefinedError: ``n`` is 0, or ``successes`` is outside 0 to ``n``.

    >>> [round(x, 2) for x in wilson(18, 20)]
    [69.9, 97.21]
    """
    if n < 1:
        raise UndefinedError("a proportion of no images is undefined")
    if not 0 <= successes <= n:
        raise UndefinedError(f"a proportion of {successes} of {n} images is undefined")
    p, z = successes / n, Z95
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else 100 * max(center - half, 0.0)
    high = 100.0 if successes == n else 100 * min(center + half, 1.0)
    return low, high


def label_rank(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Returns how many classes are scored above the true one, (N,); of equal scores the lower class comes first.

    Args:
        scores: logits or probabilities, (N, K).
        labels: true classes, from 0 to K - 1, (N,).

    Raises:
        UndefinedError: a score is nan, or a label is outside 0 to K - 1.

    >>> label_rank([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2]], [2, 1]).tolist()
    [1, 1]
    """
    table, classes = np.asarray(scores), np.asarray(labels, dtype=np.int64)
    if table.ndim != 2 or classes.shape != table.shape[:1]:
        raise UndefinedError(f"ranks are undefined: scores are {table.shape}, labels {classes.shape}")
    if np.isnan(table).any():
        row = int(np.isnan(table).any(axis=1).argmax())
        raise UndefinedError(f"the rank of image {row} is undefined: it has the score nan")
    outside = (classes < 0) | (classes >= table.shape[1])
    if outside.any():
        row = int(outside.argmax())
        raise UndefinedError(f"image {row} has the label {classes[row]}, but {table.shape[1]} scores")
    own = np.take_along_axis(table, classes[:, None], axis=1)
    before = np.arange(table.shape[1])[None, :] < classes[:, None]
    return np.asarray(((table > own) | ((table == own) & before)).sum(axis=1), dtype=np.int64)


def masked_scores(
    scores: ArrayLike, labels: ArrayLike, classes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the scores of the competing classes, (N, C), and the labels as indices into them, (N,).

    This is ImageNet-A's protocol.

    Args:
        scores: logits or probabilities of all classes, (N, K).
        labels: true classes, (N,).
        classes: indices of the competing classes in ascending order, (C,).

    Raises:
        UndefinedError: a label is not among ``classes``.

    >>> scores, labels = masked_scores([[0.1, 0.7, 0.2]], [2], [0, 2])
    >>> scores.tolist(), labels.tolist()
    ([[0.1, 0.2]], [1])
    """
    table, own, inside = np.asarray(scores, dtype=np.float64), np.asarray(labels), np.asarray(classes)
    foreign = ~np.isin(own, inside)
    if foreign.any():
        row = int(foreign.argmax())
        raise UndefinedError(
            f"image {row} has the label {own[row]}, which is not among the {len(inside)} competing classes"
        )
    return table[:, inside], np.searchsorted(inside, own)
