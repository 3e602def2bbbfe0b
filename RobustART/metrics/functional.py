"""Arrays in, numbers out. Percentages are 0 to 100. An undefined result raises, with the reason; it is never 0 or nan."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UserError

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class UndefinedError(UserError):
    """A number that the data do not define; the message is the reason."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a proportion, in percent (Wilson 1927, JASA 22, 209-212).

    >>> [round(x, 2) for x in wilson(18, 20)]
    [69.9, 97.21]
    """
    if n < 1:
        raise UndefinedError("a proportion of no images is undefined")
    p, z = successes / n, Z95
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else 100 * max(center - half, 0.0)
    high = 100.0 if successes == n else 100 * min(center + half, 1.0)
    return low, high


def bootstrap_mean(values: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % percentile interval of the mean over images (Efron 1979, Annals of Statistics 7, 1-26).

    Args:
        values: one number per image, (N,).
        resamples: how many samples are drawn with replacement.
        seed: of the draws; the same seed and N draw the same images.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise UndefinedError("an interval over no images is undefined")
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, 2_000_000 // array.size)
    for i in range(0, resamples, step):
        draws = rng.integers(0, array.size, size=(min(step, resamples - i), array.size))
        means[i : i + step] = array[draws].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def label_rank(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Returns how many classes are scored above the true one, (N,); ties count for the class of the lower number.

    Args:
        scores: (N, K).
        labels: (N,), from 0 to K - 1.
    """
    table, classes = np.asarray(scores), np.asarray(labels, dtype=np.int64)
    own = np.take_along_axis(table, classes[:, None], axis=1)
    before = np.arange(table.shape[1])[None, :] < classes[:, None]
    return np.asarray(((table > own) | ((table == own) & before)).sum(axis=1), dtype=np.int64)


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


def rms_calibration_error(confidence: ArrayLike, correct: ArrayLike, bin_size: int = 100) -> float:
    """Returns the root mean square calibration error in percent, over bins of equally many images.

    The bins of ``bin_size`` images, sorted by confidence, are those of Hendrycks et al. (natural-adv-examples); the last
    one takes the remainder, and fewer than ``bin_size`` images make a single bin.

    Args:
        confidence: probability of the predicted class, (N,).
        correct: whether the prediction is right, (N,).
        bin_size: images in each bin.
    """
    conf, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if conf.size == 0:
        raise UndefinedError("the calibration error over no images is undefined")
    order = np.argsort(conf, kind="stable")
    conf, right = conf[order], right[order]
    bins = max(1, conf.size // bin_size)
    edges = [i * bin_size for i in range(bins)] + [conf.size]
    total = 0.0
    for start, end in itertools.pairwise(edges):
        gap = conf[start:end].mean() - right[start:end].mean()
        total += (end - start) / conf.size * gap**2
    return 100.0 * math.sqrt(total)


def aurra(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Returns the area under the response rate accuracy curve in percent: the mean, over k, of the accuracy among the k
    most confident images (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).
    """
    conf, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if conf.size == 0:
        raise UndefinedError("AURRA over no images is undefined")
    order = np.argsort(-conf, kind="stable")
    return float(100.0 * (np.cumsum(right[order]) / np.arange(1, conf.size + 1)).mean())


def adversarial_robustness(clean: ArrayLike, attacked: ArrayLike) -> tuple[int, int]:
    """Returns (images right on both, images right when clean): AR is 100 times their ratio.

    With several attacks, ``attacked`` of shape (N, attacks), the image must be right on all of them: that is WCAR.

    Raises:
        UndefinedError: no image is right when clean.
    """
    right, table = np.asarray(clean, dtype=bool), np.asarray(attacked, dtype=bool)
    held = table.reshape(len(right), -1).all(axis=1)
    if not right.any():
        raise UndefinedError("adversarial robustness is undefined: no image is classified right when clean")
    return int((right & held).sum()), int(right.sum())


def mean_corruption_error(errors: dict[str, list[float]], baseline: dict[str, list[float]]) -> float:
    """Returns mCE in percent: the mean over corruptions of error over the baseline's error, both summed over severities
    (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261).

    Args:
        errors: per corruption the top-1 error at each severity, in any unit.
        baseline: the same of the baseline model, in the same unit; corruptions only it has do not count.
    """
    if not errors:
        raise UndefinedError("mCE over no corruptions is undefined")
    return 100.0 * float(np.mean([sum(errors[name]) / sum(baseline[name]) for name in errors]))
