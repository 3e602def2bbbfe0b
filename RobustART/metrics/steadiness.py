"""Numbers of ImageNet-P, with intervals: how steady a model is over the frames of videos."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.metrics import estimates
from RobustART.metrics.estimates import Sample
from RobustART.metrics.results import Estimate, Summary, Table
from RobustART.metrics.stability import SCORED_PERTURBATIONS, T5D_MAX, ZIPF_MAX, flip_probability, is_noise


class _Measure(NamedTuple):
    """One of the numbers of a video."""

    mean: str
    """Name of its mean over perturbations."""
    ratio: str
    """Name of its mean over a baseline's; empty where nothing is published."""
    upto: float
    """The highest that it can be."""


_MEASURES = {
    "FP (%)": _Measure("mFP", "mFR", 100.0),
    "T5D": _Measure("mean_T5D", "mT5D", T5D_MAX),
    "zipf": _Measure("mean_zipf", "", ZIPF_MAX),
}

Found = Mapping[str, Mapping[str, Sample]]
"""By perturbation the numbers of each video, by column."""


def flips(
    predictions: Mapping[str, NDArray[np.int64]],
    difficulty: int = 1,
    baseline: Mapping[str, NDArray[np.int64]] | None = None,
) -> Summary:
    """Returns ``mFP``, and over a baseline ``mFR``, from predictions alone, (N, T) by perturbation.

    They are all that the original's files hold: no names, so each perturbation's videos are drawn apart, and so are the
    baseline's.
    """
    return steadiness(
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


def steadiness(found: Found, baseline: Found | None = None) -> Summary:
    """Returns the numbers of ImageNet-P from those of each video.

    * ``mFP``: mean over the 10 scored perturbations of the flip probability (the original RobustART's number), with
      ``mean_T5D`` and ``mean_zipf`` the same of the two distances between rankings;
    * ``mFR`` and ``mT5D``, only with a baseline: mean over perturbations of the number over the baseline's.

    Where not all scored perturbations are there, names end in ``_of_these``.
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
    """Returns the mean over perturbations of a number over the baseline's; both vary with the videos that are drawn."""
    for name in names:
        if name not in baseline:
            raise RecordError(f"the baseline has no perturbation {name!r}")
        if not np.asarray(baseline[name][column].values).any():
            raise RecordError(f"the baseline's {column} of {name} is 0, so nothing can be divided by it")
    count = len(names)

    def ratio(means: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(100.0 * (means[..., :count] / means[..., count:]).mean(axis=-1))

    others = [baseline[name][column] for name in names]
    highest = np.concatenate(
        [np.full(count, _MEASURES[column].upto), [np.asarray(other.values).mean() for other in others]]
    )
    samples = [*(found[name][column] for name in names), *others]
    return estimates.of_means(samples, ratio, (0.0, float(ratio(highest))))
