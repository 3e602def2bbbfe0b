"""Numbers of system noise."""

from __future__ import annotations

import numpy as np

from RobustART.metrics import estimates, functional
from RobustART.metrics.estimates import Estimate, Summary, Table
from RobustART.metrics.summaries.common import single_pass
from RobustART.records import Records


def imagenet_s(records: Records) -> Summary:
    """Returns ImageNet-S's numbers from cells named ``decoder/resize``, the first of which is the reference.

    * ``mean_top1``, ``std_top1`` and ``worst_top1``: mean, standard deviation (of the cells as the whole population) and
      lowest of the cells' top-1 accuracies; a low deviation is robust, and its negative is the original's NSD;
    * the table gives each cell's accuracy, and the mean difference of its pixels from the reference's, in grey levels:
      where that is 0 the comparison is vacuous, and a note says so.
    """
    table = single_pass(records)
    correct = table.correct
    top1 = functional.cell_accuracies(correct)
    _, deviation, _ = functional.spread(top1)
    metrics = {
        "mean_top1": estimates.mean(100.0 * correct.mean(axis=1)),
        "std_top1": Estimate(deviation, None, None, len(correct)),
        "worst_top1": estimates.accuracy(correct[:, int(np.argmin(top1))]),
    }
    rows: Table = {cell: {"top1 (%)": estimates.accuracy(correct[:, i])} for i, cell in enumerate(table.cells)}
    difference = table.extra.get("pixel_difference")
    notes = []
    if difference is not None:
        for i, cell in enumerate(table.cells):
            rows[cell]["difference (grey levels)"] = estimates.mean(difference[:, i])
        same = [cell for i, cell in enumerate(table.cells) if i and not difference[:, i].any()]
        if same:
            notes.append(
                f"imagenet_s: {', '.join(same)} made the same pixels as {table.cells[0]} for every image, so these "
                "cells measure nothing here"
            )
    return Summary(metrics, {"systems": rows}, tuple(notes))
