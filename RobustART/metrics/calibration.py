"""Calibration errors and AURRA of confidences, with their values on bootstrap resamples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics import estimates
from RobustART.metrics.resampling import RESAMPLES, distance_interval, draw_counts, resampled_sums
from RobustART.metrics.results import Summary

BIN_SIZE = 100
"""Number of images in a bin of the RMS calibration error, as in hendrycks/natural-adv-examples."""
ECE_BINS = 15
"""Number of bins of the expected calibration error, as in Guo et al. 2017."""
FULL = 100
"""Images per bin below which calibration errors have a note: the accuracy of 100 images has a standard error of up to 5
percentage points, so that a perfectly calibrated model has an ECE of up to 5."""
_GRID = 2.0**40
"""Confidences are rounded to multiples of ``1 / _GRID``, so that sums over images are exact in any order."""


def rms_calibration_error(confidence: ArrayLike, correct: ArrayLike, bin_size: int = BIN_SIZE) -> float:
    r"""Returns the root mean square (RMS) calibration error in percent, over bins with equal numbers of images.

    .. math::
        \text{RMS} = 100 \sqrt{\sum_b \frac{n_b}{N} (\text{conf}_b - \text{acc}_b)^2}

    where :math:`\text{conf}_b` and :math:`\text{acc}_b` are the mean confidence and the accuracy of the :math:`n_b` images
    in bin :math:`b`.

    Images are sorted by confidence and cut into bins of ``bin_size`` as in the official code
    (hendrycks/natural-adv-examples). The last bin also takes the remainder; fewer than ``bin_size`` images form a single
    bin. Where a bin edge falls among images of equal confidence, each bin counts its share of them with their mean
    correctness, so the result does not depend on the order of the images.

    Args:
        confidence: probability of the predicted class, in [0, 1], shape (N,).
        correct: whether the prediction is correct, shape (N,).
        bin_size: number of images in a bin.

    Raises:
        UndefinedError: there are no images, the shapes differ, or a confidence is not finite.

    >>> round(rms_calibration_error([0.9, 0.8, 0.6, 0.7], [True, True, False, False], bin_size=2), 2)
    47.17
    """
    conf, right = _checked(confidence, correct, "the calibration error")
    order, starts = _rising(conf)
    return float(_rms(_gaps(conf, right)[order], np.ones((1, len(conf)), np.int64), starts, bin_size)[0])


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = ECE_BINS) -> float:
    r"""Returns the expected calibration error (ECE) in percent, over bins of equal width.

    .. math::
        \text{ECE} = 100 \sum_b \frac{n_b}{N} |\text{conf}_b - \text{acc}_b|

    where :math:`\text{conf}_b` and :math:`\text{acc}_b` are the mean confidence and the accuracy of the :math:`n_b` images
    in bin :math:`b`. A bin includes its upper edge and excludes its lower one.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599.

    Args:
        confidence: probability of the predicted class, in [0, 1], shape (N,).
        correct: whether the prediction is correct, shape (N,).
        bins: number of bins.

    Raises:
        UndefinedError: there are no images, the shapes differ, or a confidence is not finite.

    >>> round(expected_calibration_error([0.95, 0.85, 0.25, 0.15], [True, False, False, False], bins=2), 2)
    30.0
    """
    conf, right = _checked(confidence, correct, "the calibration error")
    return float(_ece(_gaps_by_bin(conf, right, bins).sum(axis=0), len(conf)))


def aurra(confidence: ArrayLike, correct: ArrayLike) -> float:
    r"""Returns the area under the response rate accuracy curve (AURRA) in percent.

    .. math::
        \text{AURRA} = \frac{100}{N} \sum_{k=1}^{N} \text{acc}_k

    where :math:`\text{acc}_k` is the accuracy of the :math:`k` most confident images. Images of equal confidence each count
    with their mean correctness, the average over all their orders; the result does not depend on the order of images.

    Source: Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174.

    Args:
        confidence: probability of the predicted class, shape (N,).
        correct: whether the prediction is correct, shape (N,).

    Raises:
        UndefinedError: there are no images, the shapes differ, or a confidence is not finite.

    >>> round(aurra([0.9, 0.8, 0.7], [True, False, True]), 2)
    72.22
    """
    conf, right = _checked(confidence, correct, "AURRA")
    order, starts = _rising(-conf)
    return float(_aurra(right[order], np.ones((1, len(conf)), np.int64), starts)[0])


def calibration_draws(
    confidence: ArrayLike, correct: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Returns ``rms_calibration_error``, ``ece`` and ``aurra`` of each bootstrap resample, (resamples,), by name."""
    conf, right = _checked(confidence, correct, "an interval")
    n, gaps = len(conf), _gaps(conf, right)
    (rising, first), (falling, last) = _rising(conf), _rising(-conf)
    rms, area = [], []
    for counts in draw_counts(n, resamples=resamples, seed=seed):
        rms.append(_rms(gaps[rising], counts[:, rising], first, BIN_SIZE))
        area.append(_aurra(right[falling], counts[:, falling], last))
    sums = resampled_sums(_gaps_by_bin(conf, right, ECE_BINS), resamples=resamples, seed=seed)
    return {"rms_calibration_error": np.concatenate(rms), "ece": _ece(sums, n), "aurra": np.concatenate(area)}


def _checked(confidence: ArrayLike, correct: ArrayLike, what: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    conf, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if conf.size == 0:
        raise UndefinedError(f"{what} over no images is undefined")
    if conf.shape != right.shape or conf.ndim != 1:
        raise UndefinedError(f"{what} is undefined: {conf.shape} confidences for {right.shape} verdicts")
    if not np.isfinite(conf).all():
        raise UndefinedError(f"{what} is undefined: {int((~np.isfinite(conf)).sum())} confidences are not numbers")
    return conf, right.astype(np.int64)


def _rising(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the indices that sort ``values``, (N,), and where each group of equal values begins among them, (G,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def _of_ties(
    values: NDArray[np.int64], counts: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the sum of values and the number of drawn images in each group of equal confidence, (B, G) each."""
    return np.add.reduceat(counts * values, starts, axis=1), np.add.reduceat(counts, starts, axis=1)


def _gaps(conf: NDArray[np.float64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns confidence minus correctness of each image, in units of ``1 / _GRID``."""
    return np.rint(conf * _GRID).astype(np.int64) - right * int(_GRID)


def _rms(
    gaps: NDArray[np.int64], counts: NDArray[np.int64], starts: NDArray[np.int64], bin_size: int
) -> NDArray[np.float64]:
    """Returns the RMS calibration error in percent, (B,).

    Args:
        gaps: confidence minus correctness, sorted by confidence, (N,).
        counts: how often each resample draws each image, (B, N); each row sums to N. The copies of an image may fall into
            two bins.
        starts: where each group of equal confidence begins, (G,).
        bin_size: number of images in a bin.
    """
    n = len(gaps)
    edges = np.arange(1, max(1, n // bin_size)) * bin_size
    own, sizes = _of_ties(gaps, counts, starts)
    ends, sums = np.cumsum(sizes, axis=1), np.cumsum(own, axis=1)
    totals = np.zeros((len(counts), len(edges) + 2))
    totals[:, -1] = sums[:, -1]
    for row, (end, total, gap, size) in enumerate(zip(ends, sums, own, sizes, strict=True)):
        place = np.searchsorted(end, edges)  # the group that contains the edge, or ends at it
        totals[row, 1:-1] = total[place] - (end[place] - edges) * (gap[place] / size[place])
    widths = np.diff(edges, prepend=0, append=n)
    means = np.diff(totals, axis=1) / (_GRID * widths)
    return np.asarray(100.0 * np.sqrt((widths * means**2).sum(axis=1) / n))


def _gaps_by_bin(conf: NDArray[np.float64], right: NDArray[np.int64], bins: int) -> NDArray[np.float64]:
    """Returns a table with each image's confidence minus correctness in the column of its bin, (N, bins)."""
    table = np.zeros((len(conf), bins))
    table[np.arange(len(conf)), np.clip(np.ceil(conf * bins) - 1, 0, bins - 1).astype(np.int64)] = conf - right
    return table


def _ece(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Returns the expected calibration error in percent, (...), from the sum of gaps in each bin, (..., bins)."""
    return np.asarray(100.0 * np.abs(sums).sum(axis=-1) / n)


def _aurra(right: NDArray[np.int64], counts: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns AURRA in percent, (B,).

    The mean over k of the accuracy of the first k images is a sum over positions j: the weight 1/j + 1/(j+1) + ... + 1/N,
    times the share of correct images in the group of equal confidence at j. An image that is drawn several times takes
    several positions.

    Args:
        right: whether predictions are correct, most confident first, (N,).
        counts: how often each resample draws each image, (B, N); each row sums to N.
        starts: where each group of equal confidence begins, (G,).
    """
    n = len(right)
    place = np.arange(1, n + 1)
    worth = np.cumsum(1.0 / place[::-1])[::-1]
    upto = np.concatenate([[0.0], np.cumsum(worth)])
    hits, sizes = _of_ties(right, counts, starts)
    ends = np.cumsum(sizes, axis=1)
    share = hits / np.maximum(sizes, 1)
    return np.asarray(100.0 * ((upto[ends] - upto[ends - sizes]) * share).sum(axis=1) / n)


def calibration(confidence: ArrayLike, correct: ArrayLike) -> Summary:
    """Returns ``top1``, ``rms_calibration_error``, ``ece`` (expected calibration error, 15 bins) and ``aurra`` in percent.

    There is a note if the bins of the ECE have fewer than :data:`FULL` images on average.

    Args:
        confidence: probability of the predicted class, (N,).
        correct: whether the prediction is correct, (N,).
    """
    values = {
        "rms_calibration_error": rms_calibration_error(confidence, correct),
        "ece": expected_calibration_error(confidence, correct),
        "aurra": aurra(confidence, correct),
    }
    draws = calibration_draws(confidence, correct)
    n = len(np.asarray(correct))
    found = {
        name: estimates.from_draws(
            value, draws[name], n, ends=distance_interval(value, draws[name]), one_sided=True
        ) if name != "aurra" else estimates.from_draws(value, draws[name], n)
        for name, value in values.items()
    }  # fmt: skip
    chance = 50 * math.sqrt(ECE_BINS / n)  # the sum over bins of n_b / N * 0.5 / sqrt(n_b) is at most this
    few = (
        f"rms_calibration_error and ece are of {n} images: {n / ECE_BINS:.3g} in each of {ECE_BINS} bins, where chance "
        f"alone makes up to {chance:.2g} percentage points of ece; from {FULL * ECE_BINS:,} images on it is at most 5",
    )
    return Summary({"top1": estimates.accuracy(correct), **found}, notes=few if n < FULL * ECE_BINS else ())
