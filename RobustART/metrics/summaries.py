"""From the records of a benchmark to its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from RobustART.errors import RecordError
from RobustART.metrics import estimates, functional
from RobustART.metrics.baselines import alexnet_corruption_errors
from RobustART.metrics.estimates import Estimate, Summary, Table
from RobustART.options import attack_norm
from RobustART.records import PassRecords, Records

SCORED = tuple(list(alexnet_corruption_errors())[:15])
"""The 15 corruptions that ImageNet-C's scores count; the other 4 of the 19 are extra."""


def single_pass(records: Records) -> PassRecords:
    """Returns the pass of a benchmark that has one."""
    if len(records.passes) != 1:
        raise RecordError(f"one pass is expected here, the records have {len(records.passes)}")
    return records.passes[0]


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


def adversarial(records: Records) -> Summary:
    """Returns robust accuracy, AR and WCAR from a cell ``clean`` and cells named ``attack/eps``.

    * robust accuracy: images right under the attack, of all;
    * AR (adversarial robustness): of the images right when clean, those still right;
    * WCAR (worst-case AR) of one eps: of the images right when clean, those right under every attack of that eps.
    """
    table = single_pass(records)
    correct = table.correct
    clean = correct[:, table.cell("clean")]
    metrics: dict[str, Estimate] = {"clean_accuracy": estimates.accuracy(clean)}
    robust: Table = {}
    ratio: Table = {}
    by_eps: dict[str, list[int]] = {}
    settings = records.header["conditions"].get("attacks", {})
    for column, cell in enumerate(table.cells):
        if cell == "clean":
            continue
        attack, _, eps = cell.partition("/")
        norm = settings.get(cell, {}).get("norm") or attack_norm(attack)
        by_eps.setdefault(f"{norm} {eps}", []).append(column)
        robust.setdefault(attack, {})[eps] = estimates.accuracy(correct[:, column])
        ratio.setdefault(attack, {})[eps] = _ratio(clean, correct[:, column])
    worst: Table = {}
    for label, columns in by_eps.items():
        if len(columns) > 1:
            family, _, eps = label.partition(" ")
            name = f"all {len(columns)} {family} attacks"
            worst.setdefault(name, {})[eps] = _ratio(clean, correct[:, columns])
    tables = {"robust_accuracy": robust, "AR": ratio}
    if worst:
        tables["WCAR"] = worst
    stages = _stages(table)
    if stages:
        tables["broken_by"] = stages
    return Summary(metrics, tables)


def _stages(table: PassRecords) -> Table:
    """Returns, for attacks of several stages, which share of all images each stage broke."""
    if table.broken_by is None:
        return {}
    rows: Table = {}
    for column, cell in enumerate(table.cells):
        verdicts = [row[column] for row in table.broken_by]
        stages = [stage for stage in dict.fromkeys(verdicts) if stage not in (None, "clean", cell.partition("/")[0])]
        for stage in stages:
            rows.setdefault(cell, {})[str(stage)] = estimates.proportion(verdicts.count(stage), len(verdicts))
    return rows


def attack_costs(table: PassRecords) -> dict[str, dict[str, int]]:
    """Returns the forward and backward passes of each attacked cell, over all images."""
    if table.forward is None or table.backward is None:
        return {}
    forward, backward = table.forward.sum(axis=0).tolist(), table.backward.sum(axis=0).tolist()
    return {
        cell: {"forward": forward[i], "backward": backward[i]}
        for i, cell in enumerate(table.cells)
        if forward[i] or backward[i]
    }


def _ratio(clean: np.ndarray, attacked: np.ndarray) -> Estimate:
    try:
        return estimates.proportion(*functional.adversarial_robustness(clean, attacked))
    except functional.UndefinedError as error:
        return estimates.undefined(error, 0)


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
