"""ImageNet-P's numbers: stability of predictions over frames (Hendrycks and Dietterich 2019, section 4.3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import RecordError, UndefinedError
from RobustART.metrics import estimates
from RobustART.metrics.estimates import Sample
from RobustART.metrics.results import Estimate, Summary, Table

SCORED_PERTURBATIONS = (
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate", "tilt",
    "scale",
)  # fmt: skip
"""The 10 perturbations that ImageNet-P's metrics average."""
PUBLISHED_PERTURBATIONS = (*SCORED_PERTURBATIONS, "speckle_noise", "gaussian_blur", "spatter", "shear")
"""All published perturbations: the scored ones and the 4 extra ones."""
T5D_MAX = 15.0
"""Upper bound of :func:`top5_distance`, reached when all five classes have left the top five."""
ZIPF_MAX = 1.85
"""Upper bound of the Zipf distance for any number of classes; for 3,000 the most distant ranking is at 1.848."""


def is_noise(perturbation: str) -> bool:
    """Returns whether a perturbation's frames are compared with the first frame, instead of the previous one."""
    return "noise" in perturbation


def references(frames: int, *, noise: bool, stride: int = 1) -> list[int]:
    """Returns the index of the frame that each frame is compared with; a frame without a reference is its own.

    Args:
        frames: number of frames of the video.
        noise: whether the reference is the first frame.
        stride: distance of the reference frame otherwise; the first ``stride`` frames have none.
    """
    return [0 if noise else (t - stride if t >= stride else t) for t in range(frames)]


def _pairs(frames: int, noise: bool, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    reference = np.array(references(frames, noise=noise, stride=stride))
    later = np.flatnonzero(reference != np.arange(frames))
    if later.size == 0:
        raise UndefinedError(f"a video of {frames} frames has no pairs of frames {stride} apart")
    return reference[later], later


def flip_probability(predictions: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    r"""Returns the flip probability of each video in percent, (N,).

    .. math::
        \text{FP} = \frac{100}{|J|} \sum_{j \in J} [\hat y_j \ne \hat y_{r(j)}]

    where :math:`J` are the frames with a reference frame :math:`r(j)` and :math:`\hat y_j` is the prediction of frame
    :math:`j`.

    Args:
        predictions: predicted class of each frame, (N, T).
        noise: whether the reference is the first frame, instead of the one ``stride`` frames before.
        stride: distance of the reference frame.

    Raises:
        UndefinedError: the videos have no pairs of frames.

    >>> flip_probability([[1, 2, 1, 2], [3, 3, 3, 3]], noise=False).tolist()
    [100.0, 0.0]
    """
    array = np.asarray(predictions)
    before, after = _pairs(array.shape[1], noise, stride)
    return np.asarray(100.0 * (array[:, before] != array[:, after]).mean(axis=1))


def top5_distance(top5: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    r"""Returns the top-5 distance (T5D) of each video, in [0, 15], (N,): its mean over pairs of frames.

    .. math::
        d = \sum_{i=0}^{4} |i - \sigma(i)|

    where :math:`\sigma(i)` is the position, from 0, in a frame's top five of the class at position :math:`i` of the
    reference frame, and 5 if that class has left the top five.

    Args:
        top5: the five classes with the highest scores in each frame, in descending order, (N, T, 5).
        noise: whether the reference is the first frame, instead of the one ``stride`` frames before.
        stride: distance of the reference frame.

    Raises:
        UndefinedError: the videos have no pairs of frames.

    >>> top5_distance([[[0, 1, 2, 3, 4], [1, 0, 2, 3, 9]]], noise=False).tolist()
    [3.0]
    """
    array = np.asarray(top5)
    before, after = _pairs(array.shape[1], noise, stride)
    same = array[:, before, :, None] == array[:, after, None, :]  # (N, pairs, place before, place after)
    places = array.shape[2]
    now = np.where(same.any(axis=-1), same.argmax(axis=-1), places)
    return np.asarray(np.abs(now - np.arange(places)).sum(axis=-1).mean(axis=1), dtype=np.float64)


def mean_over_pairs(distances: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    """Returns the mean over pairs of frames, (N,), of the distance of each frame from its reference, (N, T)."""
    array = np.asarray(distances, dtype=np.float64)
    _, after = _pairs(array.shape[1], noise, stride)
    return np.asarray(array[:, after].mean(axis=1))


class _Measure(NamedTuple):
    """Names of the metrics derived from one number of a video."""

    mean: str
    """Name of the mean over perturbations."""
    ratio: str
    """Name of the mean of ratios to a baseline; empty if there is no such metric."""
    upto: float
    """Upper bound of the number."""


_MEASURES = {
    "FP (%)": _Measure("mFP", "mFR", 100.0),
    "T5D": _Measure("mean_T5D", "mT5D", T5D_MAX),
    "zipf": _Measure("mean_zipf", "", ZIPF_MAX),
}

Found = Mapping[str, Mapping[str, Sample]]
"""For each perturbation the values of the videos, by column."""


def flips(
    predictions: Mapping[str, NDArray[np.int64]],
    difficulty: int = 1,
    baseline: Mapping[str, NDArray[np.int64]] | None = None,
) -> Summary:
    """Returns ``mFP``, and with a baseline ``mFR``, from predictions alone.

    The original's files have predictions without names of videos, so the videos of each perturbation, and those of the
    baseline, are resampled separately.

    Args:
        predictions: for each perturbation the predicted class of each frame, (N, T).
        difficulty: distance of the frames that are compared.
        baseline: predictions of the baseline model.
    """
    return summarize(
        _of_predictions(predictions, difficulty, "own"),
        None if baseline is None else _of_predictions(baseline, difficulty, "baseline"),
    )


def _of_predictions(predictions: Mapping[str, NDArray[np.int64]], difficulty: int, whose: Hashable) -> Found:
    found = {}
    for name, array in predictions.items():
        noise = is_noise(name)
        row = flip_probability(array, noise=noise, stride=1 if noise else difficulty)
        found[name] = {"FP (%)": Sample(row, (whose, name))}
    return found


def summarize(found: Found, baseline: Found | None = None) -> Summary:
    """Returns ImageNet-P's numbers from those of each video.

    * ``mFP``, ``mean_T5D``, ``mean_zipf``: means over the 10 scored perturbations of the flip probability, the top-5
      distance and the Zipf distance.
    * ``mFR``, ``mT5D``: means over the perturbations of the ratio to the baseline, in percent; only if ``baseline`` is
      given.

    The names end in ``_of_these`` if scored perturbations are missing.
    """
    rows: Table = {
        name: {column: estimates.mean(sample.values, _MEASURES[column].upto) for column, sample in row.items()}
        for name, row in found.items()
    }
    whole = set(SCORED_PERTURBATIONS) <= set(found)
    names = list(SCORED_PERTURBATIONS) if whole else list(found)
    of = "" if whole else "_of_these"
    columns = list(found[names[0]])
    metrics = {
        f"{_MEASURES[column].mean}{of}": estimates.of_means(
            [found[name][column] for name in names], _mean, (0.0, _MEASURES[column].upto)
        )
        for column in columns
    }
    for column in columns if baseline is not None else ():
        if baseline is not None and _MEASURES[column].ratio:
            metrics[f"{_MEASURES[column].ratio}{of}"] = _ratio(found, baseline, names, column)
    return Summary(metrics, {"stability": rows})


def _mean(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(means.mean(axis=-1))


def _ratio(found: Found, baseline: Found, names: Sequence[str], column: str) -> Estimate:
    """Returns the mean over perturbations of the ratio to the baseline; the resamples vary both."""
    for name in names:
        if name not in baseline:
            raise RecordError(f"the baseline has no perturbation {name!r}")
        if not np.asarray(baseline[name][column].values).any():
            raise RecordError(f"the baseline's {column} of {name} is 0, so the ratio to it is undefined")
    count = len(names)

    def ratio(means: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(100.0 * (means[..., :count] / means[..., count:]).mean(axis=-1))

    others = [baseline[name][column] for name in names]
    highest = np.concatenate(
        [np.full(count, _MEASURES[column].upto), [np.asarray(other.values).mean() for other in others]]
    )
    samples = [*(found[name][column] for name in names), *others]
    return estimates.of_means(samples, ratio, (0.0, float(ratio(highest))))
