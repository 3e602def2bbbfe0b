"""How far confidence can be trusted: calibration errors and AURRA, each with its values on the bootstrap's resamples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError
from RobustART.metrics import estimates
from RobustART.metrics.resampling import RESAMPLES, distance_interval, draw_counts, resampled_sums
from RobustART.metrics.results import Summary

BIN_SIZE = 100
"""Images in each bin of the RMS calibration error, as in hendrycks/natural-adv-examples."""
ECE_BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017."""
_GRID = 2.0**40
"""Sums over images are of whole multiples of 1 / this, so that they are exact in any order."""


def rms_calibration_error(confidence: ArrayLike, correct: ArrayLike, bin_size: int = BIN_SIZE) -> float:
    """Returns the root mean square calibration error in percent, over bins of equally many images.

    The bins of ``bin_size`` images, sorted by confidence, are those of Hendrycks et al. (natural-adv-examples); the last
    one takes the remainder and counts, and fewer than ``bin_size`` images make a single bin. Images of equal confidence
    have no order of their own: where a bin ends among them, each bin takes its number of them with their mean correctness,
    so that the order in which images come does not matter.

    Args:
        confidence: probability of the predicted class, (N,).
        correct: whether the prediction is right, (N,).
        bin_size: images in each bin.

    Raises:
        UndefinedError: there are no images, or a confidence is not a number.
    """
    conf, right = _checked(confidence, correct, "the calibration error")
    order, starts = _rising(conf)
    return float(_rms(_gaps(conf, right)[order], np.ones((1, len(conf)), np.int64), starts, bin_size)[0])


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = ECE_BINS) -> float:
    """Returns the expected calibration error in percent: the mean gap of confidence and accuracy, over bins of equal width.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599. A bin holds confidences above its lower edge, up to its
    upper one.

    Args:
        confidence: probability of the predicted class, (N,), in [0, 1].
        correct: whether the prediction is right, (N,).
        bins: number of bins.

    Raises:
        UndefinedError: there are no images, or a confidence is not a number.
    """
    conf, right = _checked(confidence, correct, "the calibration error")
    return float(_ece(_gaps_by_bin(conf, right, bins).sum(axis=0), len(conf)))


def aurra(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Returns the area under the response rate accuracy curve in percent: the mean, over k, of the accuracy among the k
    most confident images (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).

    Images of equal confidence share their places: each of these counts their mean correctness, which is the mean over all
    the orders that they could have; so the order in which images come does not matter.

    Args:
        confidence: probability of the predicted class, (N,).
        correct: whether the prediction is right, (N,).

    Raises:
        UndefinedError: there are no images, or a confidence is not a number.
    """
    conf, right = _checked(confidence, correct, "AURRA")
    order, starts = _rising(-conf)
    return float(_aurra(right[order], np.ones((1, len(conf)), np.int64), starts)[0])


def calibration_draws(
    confidence: ArrayLike, correct: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Returns ``rms_calibration_error``, ``ece`` and ``aurra`` of each sample of images, (resamples,), by name."""
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
    """Returns the order of rising values, (N,), and the places in it where each run of equal ones begins, (G,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def _of_ties(
    values: NDArray[np.int64], counts: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the sum of values of drawn images, and how many they are, in each run of equal confidence, (B, G) each."""
    return np.add.reduceat(counts * values, starts, axis=1), np.add.reduceat(counts, starts, axis=1)


def _gaps(conf: NDArray[np.float64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns confidence minus correctness of each image, in units of 1 / ``_GRID``."""
    return np.rint(conf * _GRID).astype(np.int64) - right * int(_GRID)


def _rms(
    gaps: NDArray[np.int64], counts: NDArray[np.int64], starts: NDArray[np.int64], bin_size: int
) -> NDArray[np.float64]:
    """Returns the RMS calibration error in percent, (B,).

    Args:
        gaps: in the order of confidence, (N,).
        counts: how often each image is drawn, (B, N), N in all. Images that are drawn may fall into two bins.
        starts: where in that order each run of equal confidence begins, (G,).
        bin_size: images in each bin.
    """
    n = len(gaps)
    edges = np.arange(1, max(1, n // bin_size)) * bin_size
    own, sizes = _of_ties(gaps, counts, starts)
    ends, sums = np.cumsum(sizes, axis=1), np.cumsum(own, axis=1)
    totals = np.zeros((len(counts), len(edges) + 2))
    totals[:, -1] = sums[:, -1]
    for row, (end, total, gap, size) in enumerate(zip(ends, sums, own, sizes, strict=True)):
        place = np.searchsorted(end, edges)  # the run that the edge falls into, or the last before it
        totals[row, 1:-1] = total[place] - (end[place] - edges) * (gap[place] / size[place])
    widths = np.diff(edges, prepend=0, append=n)
    means = np.diff(totals, axis=1) / (_GRID * widths)
    return np.asarray(100.0 * np.sqrt((widths * means**2).sum(axis=1) / n))


def _gaps_by_bin(conf: NDArray[np.float64], right: NDArray[np.int64], bins: int) -> NDArray[np.float64]:
    """Returns confidence minus correctness of each image in the column of its bin, (N, bins)."""
    table = np.zeros((len(conf), bins))
    table[np.arange(len(conf)), np.clip(np.ceil(conf * bins) - 1, 0, bins - 1).astype(np.int64)] = conf - right
    return table


def _ece(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Returns the expected calibration error in percent, (...), from the sums of each bin's gaps, (..., bins)."""
    return np.asarray(100.0 * np.abs(sums).sum(axis=-1) / n)


def _aurra(right: NDArray[np.int64], counts: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns AURRA in percent, (B,).

    The mean over k of the accuracy among the first k is a sum over places j of 1/j + 1/(j+1) + ... + 1/N, times the share
    of right images among those that share the place; an image that is drawn several times takes several places.

    Args:
        right: whether predictions are right, most confident first, (N,).
        counts: how often each image is drawn, (B, N), N in all.
        starts: where in that order each run of equal confidence begins, (G,).
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
    """Returns ``top1``, ``rms_calibration_error``, ``ece`` (expected calibration error, 15 bins) and ``aurra``.

    Args:
        confidence: probability of the predicted class, (N,).
        correct: whether it is right, (N,).
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
    return Summary({"top1": estimates.accuracy(correct), **found})
