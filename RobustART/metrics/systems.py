"""Numbers of system noise: spread of the accuracy over decoders and resizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from RobustART.metrics import estimates
from RobustART.metrics.resampling import distance_interval
from RobustART.metrics.results import Estimate, Summary, Table


def systems(cells: Sequence[str], correct: NDArray[np.bool_]) -> Summary:
    """Returns mean, standard deviation and minimum of top-1 accuracy over cells, and each cell's.

    Args:
        cells: names of the cells.
        correct: whether each image is classified correctly in each cell, (N, cells).
    """
    n = len(correct)
    means, draws = estimates.drawn_means(correct)
    rows: Table = {cell: {"top1 (%)": estimates.accuracy(correct[:, i])} for i, cell in enumerate(cells)}
    # The largest standard deviation: half of the cells at 100 %, half at 0 %.
    half = 100.0 * np.sqrt((len(cells) // 2) * ((len(cells) + 1) // 2)) / len(cells)
    metrics = {
        "mean_top1": estimates.from_draws(100.0 * float(means.mean()), 100.0 * draws.mean(axis=1), n),
        "std_top1": _spread(100.0 * float(means.std()), 100.0 * draws.std(axis=1), n, half),
        "worst_top1": estimates.lowest(correct),
    }
    return Summary(metrics, {"systems": rows})


def _spread(value: float, draws: NDArray[np.float64], n: int, highest: float) -> Estimate:
    ends = distance_interval(value, draws)
    return estimates.from_draws(value, draws, n, (0.0, highest), ends=ends, one_sided=True)
