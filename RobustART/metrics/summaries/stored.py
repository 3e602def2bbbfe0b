"""Numbers of published sets that are read from files: corruption sets, ImageNet-O."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.metrics import detection, estimates
from RobustART.metrics.baselines import C_3D, C_BAR, alexnet_corruption_errors
from RobustART.metrics.resampling import reflected_interval
from RobustART.metrics.results import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.metrics.summaries.natural import SCORED
from RobustART.records.lines import Records

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
    metrics: dict[str, Estimate] = {}
    for name, value in values.items():
        # The rarer kind of images says how far chance may go; the number stands on all.
        ends = reflected_interval(value, draws[name])
        metrics[name] = estimates.from_draws(value, draws[name], n, ends=ends, fewest=min(len(known), len(unknown)))
    metrics["chance_aupr"] = estimates.exact(100.0 * len(unknown) / n, n)
    return Summary(metrics)
