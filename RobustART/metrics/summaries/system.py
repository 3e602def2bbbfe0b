"""Numbers of system noise."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from RobustART.metrics import estimates
from RobustART.metrics.resampling import distance_interval
from RobustART.metrics.results import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.records.lines import Records


def imagenet_s(records: Records) -> Summary:
    """Returns ImageNet-S's numbers from cells named ``decoder/resize``, the first of which is the reference.

    * ``mean_top1``, ``std_top1`` and ``worst_top1``: mean, standard deviation (of the cells as the whole population) and
      lowest of the cells' top-1 accuracies; a low deviation is robust, and its negative is the original's NSD;
    * the table gives each cell's accuracy, and the mean difference of its pixels from the reference's, in grey levels:
      where that is 0 the comparison is vacuous, and a note says so.
    """
    table = single_pass(records)
    summary = systems(table.cells, table.correct)
    rows = summary.tables["systems"]
    difference = table.extra.get("pixel_difference")
    notes = []
    if difference is not None:
        columns = {cell: functools.partial(_column, place=i) for i, cell in enumerate(table.cells)}
        for cell, estimate in estimates.resampled(difference, columns, upto=None).items():
            same_by_design = cell == table.cells[0]
            own = estimates.exact(0.0, estimate.n) if same_by_design else estimate
            rows[cell]["difference (grey levels)"] = own
        same = [cell for i, cell in enumerate(table.cells) if i and not difference[:, i].any()]
        if same:
            notes.append(
                f"imagenet_s: {', '.join(same)} made the same pixels as {table.cells[0]} for every image, so these "
                "cells measure nothing here"
            )
    return Summary(summary.metrics, {"systems": rows}, tuple(notes))


def systems(cells: Sequence[str], correct: NDArray[np.bool_]) -> Summary:
    """Returns mean, standard deviation and worst of top-1 over cells, and each cell's, from (N, cells) verdicts."""
    n = len(correct)
    means, draws = estimates.drawn_means(correct)
    rows: Table = {cell: {"top1 (%)": estimates.accuracy(correct[:, i])} for i, cell in enumerate(cells)}
    half = (
        100.0 * np.sqrt((len(cells) // 2) * ((len(cells) + 1) // 2)) / len(cells)
    )  # half of the cells right, half wrong
    metrics = {
        "mean_top1": estimates.from_draws(100.0 * float(means.mean()), 100.0 * draws.mean(axis=1), n),
        "std_top1": _spread(100.0 * float(means.std()), 100.0 * draws.std(axis=1), n, half),
        "worst_top1": estimates.lowest(correct),
    }
    return Summary(metrics, {"systems": rows})


def _spread(value: float, draws: NDArray[np.float64], n: int, highest: float) -> Estimate:
    ends = distance_interval(value, draws)
    return estimates.from_draws(value, draws, n, (0.0, highest), ends=ends, one_sided=True)


def _column(means: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    return np.asarray(means[..., place])
