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


def top_k_accuracy(ranks: ArrayLike, k: int = 1) -> float:
    """Returns the percentage of images whose true class is among the ``k`` with the highest scores.

    Args:
        ranks: number of classes scored above the true one, (N,).
        k: number of classes that count.

    Raises:
        UndefinedError: there are no images.

    >>> top_k_accuracy([0, 0, 3, 7], k=5)
    75.0
    """
    array = np.asarray(ranks)
    if array.size == 0:
        raise UndefinedError("the accuracy over no images is undefined")
    return float(100.0 * (array < k).mean())


def cell_accuracies(correct: ArrayLike) -> NDArray[np.float64]:
    """Returns the top-1 accuracy of each cell in percent, (C,), from the correctness of each image, (N, C).

    >>> cell_accuracies([[True, False], [True, True]]).tolist()
    [100.0, 50.0]
    """
    array = np.asarray(correct, dtype=bool)
    if array.size == 0:
        raise UndefinedError("the accuracy over no images is undefined")
    return np.asarray(100.0 * array.mean(axis=0))


def spread(accuracies: ArrayLike) -> tuple[float, float, float]:
    """Returns mean, population standard deviation and minimum of the accuracies of all systems, (C,).

    >>> spread([70.0, 72.0, 74.0])[::2]
    (72.0, 70.0)
    """
    array = np.asarray(accuracies, dtype=np.float64)
    if array.size == 0:
        raise UndefinedError("the spread of no accuracies is undefined")
    return float(array.mean()), float(array.std()), float(array.min())


def robust_accuracy(attacked: ArrayLike) -> float:
    """Returns the percentage of all images that are classified correctly under the attack, or under every attack.

    Args:
        attacked: whether each image is correct under the attack, (N,), or under each attack, (N, attacks).

    Raises:
        UndefinedError: there are no images.

    >>> robust_accuracy([[True, False], [True, True]])
    50.0
    """
    table = np.asarray(attacked, dtype=bool)
    if table.size == 0:
        raise UndefinedError("the accuracy over no images is undefined")
    return float(100.0 * table.reshape(len(table), -1).all(axis=1).mean())


def adversarial_robustness(clean: ArrayLike, attacked: ArrayLike) -> tuple[int, int]:
    """Returns the numerator and denominator of adversarial robustness (AR), which is 100 times their ratio in percent.

    The denominator counts the images classified correctly when clean, the numerator those of them still correct under the
    attack; under every attack if there are several, which gives worst-case AR (WCAR).

    Args:
        clean: whether each image is correct when clean, (N,).
        attacked: whether it is correct under the attack, (N,), or under each attack, (N, attacks).

    Raises:
        UndefinedError: no image is correct when clean, or the numbers of images differ.

    >>> adversarial_robustness([True, True, True, False], [True, False, True, True])
    (2, 3)
    """
    right, table = np.asarray(clean, dtype=bool), np.asarray(attacked, dtype=bool)
    if len(right) != len(table):
        raise UndefinedError(f"AR is undefined: {len(right)} clean images, {len(table)} attacked ones")
    held = table.reshape(len(right), -1).all(axis=1)
    if not right.any():
        raise UndefinedError("adversarial robustness is undefined: no image is classified right when clean")
    return int((right & held).sum()), int(right.sum())


def transfer_success(source: ArrayLike, target: ArrayLike, attacked: ArrayLike) -> tuple[int, int]:
    """Returns the numerator and denominator of the transfer success, which is 100 times their ratio in percent.

    The denominator counts the images that source and target both classify correctly when clean, the numerator those of them
    that the target misclassifies after the attack on the source.

    Args:
        source: whether the source model is correct on each clean image, (N,).
        target: whether the target model is correct on each clean image, (N,).
        attacked: whether the target model is correct on each attacked image, (N,).

    Raises:
        UndefinedError: there is no image that both models classify correctly when clean.

    >>> transfer_success([True, True, False], [True, True, True], [False, True, False])
    (1, 2)
    """
    both = np.asarray(source, dtype=bool) & np.asarray(target, dtype=bool)
    if not both.any():
        raise UndefinedError("transfer success is undefined: no image is right for both models when clean")
    return int((both & ~np.asarray(attacked, dtype=bool)).sum()), int(both.sum())
