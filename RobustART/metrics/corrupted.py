"""ImageNet-C's numbers with intervals, from the correctness of each image in each cell."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.metrics import estimates
from RobustART.metrics.baselines import ALEXNET_CLEAN_ERROR, alexnet_corruption_errors
from RobustART.metrics.corruption import GROUPS, SCORED, corruption_errors, relative_corruption_errors
from RobustART.metrics.estimates import Statistic
from RobustART.metrics.results import Estimate, Summary, Table

SEVERITIES = (1, 2, 3, 4, 5)
IMAGES = 50_000
"""Number of images of AlexNet's errors, and of published values."""
OTHER_CLASSES = "it divides by AlexNet's errors on ImageNet's 1,000 classes, and these are other labels"
"""Why mCE, relative mCE and CE are undefined for other labels."""


def corrupted(
    cells: Sequence[tuple[str, int]],
    correct: NDArray[np.bool_],
    clean: NDArray[np.bool_] | None = None,
    imagenet: bool = True,
) -> Summary:
    """Returns ImageNet-C's numbers.

    * ``mean_error_15``, ``mean_error_19``: unnormalised means of the top-1 error over corruptions and severities, without
      and with the four extra corruptions (the original RobustART's ``all_without_extra`` and ``all_with_extra``).
    * ``mCE``, ``mCE_19``: the official mean corruption error over the 15 scored, or all 19, corruptions; see
      :func:`~RobustART.metrics.corruption.mean_corruption_error`.
    * ``relative_mCE``, ``relative_mCE_19``: the same of relative CE; only if ``clean`` is given.

    Normalised numbers are undefined if the labels are not ImageNet's, and have a note if the images are not all 50,000.
    A number is present only if all its cells are. The tables hold the top-1 accuracy of each cell, and the mean error, CE
    and relative CE of each corruption and group.

    Args:
        cells: corruption and severity of each column.
        correct: whether each image is classified correctly in each cell, (N, C).
        clean: whether each image is classified correctly without corruption, (N,).
        imagenet: whether the labels are those of ImageNet's 1,000 classes, or of some of them.
    """
    columns: dict[str, dict[int, int]] = {}
    for column, (name, severity) in enumerate(cells):
        columns.setdefault(name, {})[severity] = column
    baseline = alexnet_corruption_errors()
    complete = [name for name, row in columns.items() if sorted(row) == list(SEVERITIES)]
    known = [name for name in complete if name in baseline]
    statistics: dict[tuple[str, str, str], Statistic] = {}

    def measure(place: str, row: str, names: Sequence[str], titles: Sequence[str], normalised: bool) -> None:
        """Adds the mean error over some corruptions, and, if ``normalised``, their CE and relative CE."""
        chosen = {name: [columns[name][severity] for severity in sorted(columns[name])] for name in names}
        asked: list[Statistic] = [functools.partial(_mean_error, columns=chosen)]
        if normalised:
            asked.append(functools.partial(_mean_ce, columns=chosen))
        if normalised and clean is not None:
            asked.append(functools.partial(_mean_ce, columns=chosen, clean=len(cells)))
        for title, statistic in zip(titles, asked, strict=False):
            statistics[place, row, title] = statistic

    scores = ("mean_error_{}", "mCE", "relative_mCE"), ("mean_error_{}", "mCE_{}", "relative_mCE_{}")
    for names, titles in ((SCORED, scores[0]), (tuple(baseline), scores[1])):
        if set(names) <= set(complete):
            measure("metrics", "", names, [title.format(len(names)) for title in titles], imagenet)
    if not statistics:
        measure("metrics", "", list(columns), ["mean_error_of_these_cells"], False)
    titles = ("mean error", "CE", "relative CE")
    for name, row in columns.items():
        measure("corruption_errors", name, [name], titles, imagenet and name in known)
        statistics["top1", name, "mean"] = functools.partial(_mean_accuracy, columns=list(row.values()))
    for group, names in GROUPS.items():
        if set(names) <= set(known):
            measure("group_errors", group, names, titles, imagenet)
    wrong = ~correct if clean is None else ~np.concatenate([correct, clean[:, None]], axis=1)
    found = estimates.resampled(wrong, statistics)
    top1: Table = {
        name: {str(severity): estimates.accuracy(correct[:, column]) for severity, column in row.items()}
        for name, row in columns.items()
    }
    metrics: dict[str, Estimate] = {}
    if not imagenet and set(SCORED) <= set(complete):
        names = scores[0][1 : 2 if clean is None else 3]
        metrics = dict.fromkeys(names, Estimate(None, None, None, len(correct), OTHER_CLASSES))
    tables: dict[str, Table] = {"top1": top1}
    for (place, line, title), estimate in found.items():
        if place == "metrics":
            metrics[title] = estimate
        else:
            tables.setdefault(place, {}).setdefault(line, {})[title] = estimate
    order = ("mCE", "relative_mCE", "mean_error_15", "mCE_19", "relative_mCE_19", "mean_error_19")
    notes = (
        f"mCE, relative mCE and CE of ImageNet-C are of {len(correct):,} images here; AlexNet's errors, which divide them, "
        f"and published values are of {IMAGES:,}",
    )
    ordered = {**{name: metrics[name] for name in order if name in metrics}, **metrics}
    return Summary(ordered, tables, notes if imagenet and known and len(correct) != IMAGES else ())


Columns = Mapping[str, Sequence[int]]


def _mean_error(means: NDArray[np.float64], columns: Columns) -> NDArray[np.float64]:
    """Returns the mean error in percent, (...), from the error rate of each cell, (..., cells)."""
    return np.asarray(100.0 * np.mean([means[..., list(row)].mean(axis=-1) for row in columns.values()], axis=0))


def _mean_accuracy(means: NDArray[np.float64], columns: Sequence[int]) -> NDArray[np.float64]:
    return np.asarray(100.0 * (1.0 - means[..., list(columns)].mean(axis=-1)))


def _mean_ce(means: NDArray[np.float64], columns: Columns, clean: int | None = None) -> NDArray[np.float64]:
    """Returns the mean of CE; of relative CE if ``clean`` is the column of the clean images."""
    errors: dict[str, ArrayLike] = {name: means[..., list(row)] for name, row in columns.items()}
    baseline = alexnet_corruption_errors()
    if clean is None:
        rows = corruption_errors(errors, baseline)
    else:
        rows = relative_corruption_errors(errors, means[..., clean], baseline, ALEXNET_CLEAN_ERROR)
    return np.asarray(np.mean(list(rows.values()), axis=0))
