"""Numbers of published sets that are read from files: corruption sets, ImageNet-O, ImageNet-P."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.metrics import detection, estimates, stability
from RobustART.metrics.baselines import C_3D, C_BAR, alexnet_corruption_errors
from RobustART.metrics.estimates import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.metrics.summaries.natural import SCORED
from RobustART.records import Records

CORRUPTION_SETS = {"cifar_c": tuple(alexnet_corruption_errors()), "imagenet_c_bar": C_BAR, "imagenet_3dcc": C_3D}
"""Names of benchmarks and all the corruptions of their sets, each at severities 1 to 5."""


def corruption_errors(records: Records) -> Summary:
    """Returns the mean of top-1 error over corruptions and severities, and each cell's top-1 accuracy.

    Cells are named ``corruption/severity``. ``mean_error`` is the mean over the whole set; ``mean_error_15``, of a set with
    ImageNet-C's 15 scored corruptions among more, the mean over those. Each is only given when all its cells were run, as
    in :func:`imagenet_c`; the mean over other cells is ``mean_error_of_these_cells``.
    """
    table = single_pass(records)
    wrong = 100.0 * ~table.correct
    rows: Table = {}
    for column, cell in enumerate(table.cells):
        name, _, severity = cell.rpartition("/")
        rows.setdefault(name, {})[severity] = estimates.accuracy(table.correct[:, column])
    complete = [name for name, row in rows.items() if sorted(row) == ["1", "2", "3", "4", "5"]]
    every = CORRUPTION_SETS.get(records.header["benchmark"], SCORED)

    def mean_error(names: Collection[str]) -> Estimate:
        columns = [i for i, cell in enumerate(table.cells) if cell.rpartition("/")[0] in names]
        return estimates.mean(wrong[:, columns].mean(axis=1))

    metrics: dict[str, Estimate] = {}
    if set(rows) == set(complete) == set(every):
        metrics["mean_error"] = mean_error(every)
    if set(SCORED) < set(every) and set(SCORED) <= set(complete):
        metrics["mean_error_15"] = mean_error(SCORED)
    if not metrics:
        metrics["mean_error_of_these_cells"] = mean_error(rows)
    return Summary(metrics, {"top1": rows})


def imagenet_o(records: Records) -> Summary:
    """Returns AUPR, AUROC and FPR at the recall nearest to 95 % from the passes ``known`` and ``unknown``.

    The score is minus the confidence among the 200 classes; unknown images are what is to be found. ``chance_aupr`` is
    what a score that says nothing would get: the share of unknown images.
    """
    by_name = {table.name: table.confidence[:, 0] for table in records.passes}
    if set(by_name) != {"known", "unknown"}:
        raise RecordError(f"ImageNet-O needs the passes 'known' and 'unknown', the records have {sorted(by_name)}")
    return unknown_images(by_name["known"], by_name["unknown"])


def unknown_images(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> Summary:
    """Returns the numbers of ImageNet-O from the confidences of known images, (Q,), and of unknown ones, (P,)."""
    values = detection.detection(-unknown, -known)
    draws = detection.detection_draws(-unknown, -known)
    n = len(known) + len(unknown)
    metrics: dict[str, Estimate] = {name: estimates.from_draws(value, draws[name], n) for name, value in values.items()}
    metrics["chance_aupr"] = estimates.exact(100.0 * len(unknown) / n, n)
    return Summary(metrics)


def imagenet_p(records: Records, baseline: Records | None = None) -> Summary:
    """Returns ImageNet-P's numbers from cells named ``perturbation/frame``, in one pass or several.

    * ``mFP``: mean over the 10 scored perturbations of the flip probability (the original RobustART's number), with
      ``mean_T5D`` and ``mean_zipf`` the same of the two distances between rankings;
    * ``mFR`` and ``mT5D``, only with a baseline: mean over perturbations of the number over the baseline's.
    """
    found, distances = _stability(records), _stability(baseline) if baseline is not None else None
    rows: Table = {
        name: {column: estimates.mean(values) for column, values in row.items()} for name, row in found.items()
    }
    scored = [name for name in stability.SCORED_PERTURBATIONS if name in found]
    whole = len(scored) == len(stability.SCORED_PERTURBATIONS)
    names = scored if whole else list(found)
    of = "" if whole else "_of_these"
    metrics = {
        f"{metric}{of}": estimates.mean_of_means([found[name][column] for name in names])
        for metric, column in (("mFP", "FP (%)"), ("mean_T5D", "T5D"), ("mean_zipf", "zipf"))
    }
    if distances is not None:
        _check_baseline(names, distances)
        for metric, column in (("mFR", "FP (%)"), ("mT5D", "T5D")):
            ratios = [_ratio(found[name][column], distances[name][column], name, column) for name in names]
            metrics[f"{metric}{of}"] = estimates.mean_of_means(ratios)
    return Summary(metrics, {"stability": rows})


def _stability(records: Records) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Returns the three numbers of each video, (N,), by perturbation."""
    difficulty = int(records.header["conditions"]["options"].get("difficulty", 1))
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for table in records.passes:
        columns: dict[str, list[int]] = {}
        for column, cell in enumerate(table.cells):
            columns.setdefault(cell.rpartition("/")[0], []).append(column)
        for name, own in columns.items():
            noise = stability.is_noise(name)
            stride = 1 if noise else difficulty
            found[name] = {
                "FP (%)": stability.flip_probability(table.prediction[:, own], noise=noise, stride=stride),
                "T5D": stability.top5_distance(table.extra["top5"][:, own], noise=noise, stride=stride),
                "zipf": stability.mean_over_pairs(table.extra["zipf"][:, own], noise=noise, stride=stride),
            }
    return found


def _ratio(own: NDArray[np.float64], other: NDArray[np.float64], name: str, column: str) -> NDArray[np.float64]:
    if not other.mean():
        raise RecordError(f"the baseline's {column} of {name} is 0, so nothing can be divided by it")
    return np.asarray(100.0 * own / other.mean())


def _check_baseline(names: Sequence[str], baseline: Mapping[str, object]) -> None:
    missing = [name for name in names if name not in baseline]
    if missing:
        raise RecordError(f"the baseline has no perturbation {missing[0]!r}")


def flips(
    predictions: Mapping[str, NDArray[np.int64]],
    difficulty: int = 1,
    baseline: Mapping[str, NDArray[np.int64]] | None = None,
) -> Summary:
    """Returns ``mFP``, and over a baseline ``mFR``, from predictions alone, (N, T) by perturbation.

    They are all that the original's files hold.
    """
    rows, others = (
        {
            name: stability.flip_probability(
                array, noise=stability.is_noise(name), stride=1 if stability.is_noise(name) else difficulty
            )
            for name, array in found.items()
        }
        for found in (predictions, baseline or {})
    )
    whole = set(stability.SCORED_PERTURBATIONS) <= set(rows)
    names = list(stability.SCORED_PERTURBATIONS) if whole else list(rows)
    table: Table = {name: {"FP (%)": estimates.mean(row)} for name, row in rows.items()}
    of = "" if whole else "_of_these"
    metrics = {f"mFP{of}": estimates.mean_of_means([rows[name] for name in names])}
    if baseline is not None:
        _check_baseline(names, others)
        metrics[f"mFR{of}"] = estimates.mean_of_means([_ratio(rows[n], others[n], n, "FP (%)") for n in names])
    return Summary(metrics, {"stability": table})
