"""ImageNet-P's numbers with intervals, from the stability of each video."""

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
