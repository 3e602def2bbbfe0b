"""Numbers of clean images and natural noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from RobustART.metrics import estimates, functional
from RobustART.metrics.baselines import alexnet_corruption_errors
from RobustART.metrics.estimates import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.records import Records

SCORED = tuple(list(alexnet_corruption_errors())[:15])
"""The 15 corruptions that ImageNet-C's scores count; the other 4 of the 19 are extra."""


def classification(records: Records) -> Summary:
    """Returns top-1 and top-5 accuracy of the first cell."""
    table = single_pass(records)
    ranks = table.label_rank[:, 0]
    metrics = {"top1": estimates.accuracy(ranks < 1), "top5": estimates.accuracy(ranks < 5)}
    return Summary(metrics)


def imagenet_c(records: Records) -> Summary:
    """Returns ImageNet-C's numbers from cells named ``corruption/severity``.

    ``mean_error_15`` and ``mean_error_19`` are plain means of top-1 error over corruptions and severities (what the
    original RobustART reports as ``all_without_extra`` and ``all_with_extra``); ``mCE`` divides by AlexNet's errors, as
    the official benchmark does. Each is only given when all its cells were run.
    """
    table = single_pass(records)
    wrong = ~table.correct
    rows: dict[str, dict[int, int]] = {}
    for column, cell in enumerate(table.cells):
        name, _, severity = cell.rpartition("/")
        rows.setdefault(name, {})[int(severity)] = column
    top1: Table = {
        name: {str(severity): estimates.accuracy(~wrong[:, column]) for severity, column in columns.items()}
        for name, columns in rows.items()
    }
    baseline = alexnet_corruption_errors()
    for name, columns in rows.items():
        errors = 100.0 * wrong[:, list(columns.values())].mean(axis=1)
        top1[name]["mean"] = estimates.mean(100.0 - errors)
        if sorted(columns) == [1, 2, 3, 4, 5] and name in baseline:
            top1[name]["CE"] = estimates.mean(errors / np.mean(baseline[name]))
    complete = [name for name in rows if sorted(rows[name]) == [1, 2, 3, 4, 5]]
    metrics: dict[str, Estimate] = {}

    def mean_error(names: Sequence[str], weight: dict[str, float] | None = None) -> Estimate:
        parts = [
            100.0 * wrong[:, list(rows[name].values())].mean(axis=1) / (weight[name] if weight else 1.0)
            for name in names
        ]
        return estimates.mean(np.mean(parts, axis=0))

    if set(SCORED) <= set(complete):
        metrics["mCE"] = mean_error(SCORED, {name: float(np.mean(baseline[name])) for name in SCORED})
        metrics["mean_error_15"] = mean_error(SCORED)
    if set(baseline) <= set(complete):
        metrics["mean_error_19"] = mean_error(list(baseline))
    if not metrics:
        metrics["mean_error_of_these_cells"] = mean_error(list(rows))
    return Summary(metrics, {"top1": top1})


def imagenet_a(records: Records) -> Summary:
    """Returns top-1 accuracy, RMS calibration error and AURRA of the first cell.

    The engine restricts predictions, confidences and ranks to the 200 classes of ImageNet-A where the benchmark says so.
    """
    table = single_pass(records)
    return calibration(table.confidence[:, 0], table.correct[:, 0])


def calibration(confidence: np.ndarray, correct: np.ndarray) -> Summary:
    """Returns top-1 accuracy, RMS calibration error and AURRA.

    Args:
        confidence: probability of the predicted class, (N,).
        correct: whether it is right, (N,).
    """
    n = len(correct)
    rms = functional.rms_calibration_error(confidence, correct)
    return Summary(
        {
            "top1": estimates.accuracy(correct),
            "rms_calibration_error": Estimate(rms, None, None, n),
            "aurra": Estimate(functional.aurra(confidence, correct), None, None, n),
        }
    )
