"""Arrays in, numbers out. Percentages are 0 to 100. An undefined result raises, with the reason; it is never 0 or nan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a proportion, in percent (Wilson 1927, JASA 22, 209-212).

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
    """Returns how many classes are scored above the true one, (N,); ties count for the class of the lower number.

    Args:
        scores: (N, K).
        labels: (N,), from 0 to K - 1.

    Raises:
        UndefinedError: a score is not a number, or a label is none of the classes.
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
    """Returns the scores of some classes alone, (N, C), and the labels as places among them, (N,): ImageNet-A's protocol.

    Args:
        scores: (N, K), of all classes; logits or probabilities.
        labels: (N,).
        classes: numbers of the classes that compete, sorted, (C,).

    Raises:
        UndefinedError: a label is none of the classes.
    """
    table, own, inside = np.asarray(scores, dtype=np.float64), np.asarray(labels), np.asarray(classes)
    foreign = ~np.isin(own, inside)
    if foreign.any():
        row = int(foreign.argmax())
        raise UndefinedError(f"image {row} has the label {own[row]}, none of the {len(inside)} classes that compete")
    return table[:, inside], np.searchsorted(inside, own)


def top_k_accuracy(ranks: ArrayLike, k: int = 1) -> float:
    """Returns the percentage of images whose true class is among the k highest.

    Args:
        ranks: classes scored above the true one, (N,).
        k: 1 for top-1.
    """
    array = np.asarray(ranks)
    if array.size == 0:
        raise UndefinedError("the accuracy over no images is undefined")
    return float(100.0 * (array < k).mean())


def cell_accuracies(correct: ArrayLike) -> NDArray[np.float64]:
    """Returns the top-1 accuracy of each cell in percent, (C,), from whether each image is right in it, (N, C)."""
    array = np.asarray(correct, dtype=bool)
    if array.size == 0:
        raise UndefinedError("the accuracy over no images is undefined")
    return np.asarray(100.0 * array.mean(axis=0))


def spread(accuracies: ArrayLike) -> tuple[float, float, float]:
    """Returns mean, standard deviation and lowest of accuracies, (C,), which are the whole population of systems.

    >>> spread([70.0, 72.0, 74.0])[::2]
    (72.0, 70.0)
    """
    array = np.asarray(accuracies, dtype=np.float64)
    if array.size == 0:
        raise UndefinedError("the spread of no accuracies is undefined")
    return float(array.mean()), float(array.std()), float(array.min())


def robust_accuracy(attacked: ArrayLike) -> float:
    """Returns the percentage of images, of all, that are right under the attack, or under every one of (N, attacks)."""
    table = np.asarray(attacked, dtype=bool)
    if table.size == 0:
        raise UndefinedError("the accuracy over no images is undefined")
    return float(100.0 * table.reshape(len(table), -1).all(axis=1).mean())


def adversarial_robustness(clean: ArrayLike, attacked: ArrayLike) -> tuple[int, int]:
    """Returns (images right on both, images right when clean): AR is 100 times their ratio.

    With several attacks, ``attacked`` of shape (N, attacks), the image must be right on all of them: that is WCAR.

    Raises:
        UndefinedError: no image is right when clean.
    """
    right, table = np.asarray(clean, dtype=bool), np.asarray(attacked, dtype=bool)
    if len(right) != len(table):
        raise UndefinedError(f"AR is undefined: {len(right)} clean images, {len(table)} attacked ones")
    held = table.reshape(len(right), -1).all(axis=1)
    if not right.any():
        raise UndefinedError("adversarial robustness is undefined: no image is classified right when clean")
    return int((right & held).sum()), int(right.sum())


def transfer_success(source: ArrayLike, target: ArrayLike, attacked: ArrayLike) -> tuple[int, int]:
    """Returns (images that fool the target, images right on both when clean): the rate is 100 times their ratio.

    Args:
        source: whether the source classifies each image right when clean, (N,).
        target: whether the target does, (N,).
        attacked: whether the target is right after the attack on the source, (N,).

    Raises:
        UndefinedError: no image is right for both.
    """
    both = np.asarray(source, dtype=bool) & np.asarray(target, dtype=bool)
    if not both.any():
        raise UndefinedError("transfer success is undefined: no image is right for both models when clean")
    return int((both & ~np.asarray(attacked, dtype=bool)).sum()), int(both.sum())
