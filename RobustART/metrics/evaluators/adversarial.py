"""Evaluators of adversarial noise: adversarial robustness (AR), and worst-case AR (WCAR) over several attacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from RobustART.errors import RecordError
from RobustART.metrics import estimates
from RobustART.metrics.evaluators.common import check_list, joined, numbers_of, ours, records_for
from RobustART.metrics.results import Estimate, Metric, Summary


class AdvRobustEvaluator:
    """Adversarial robustness (AR): of the images classified correctly when clean, those still correct under an attack."""

    def eval(self, res_file: str | Path, attacked_file: str | Path | None = None) -> Metric:
        """Returns ``AR/<attack>/<eps>`` in percent; for the original's files ``clean_accuracy`` and ``AR``.

        Args:
            res_file: a result file of the benchmark ``adversarial``; or, with ``attacked_file``, the original's file of
                the clean images (``none_0/results.txt.all``).
            attacked_file: the original's file of the attacked images, matched by file name or image id.

        Raises:
            RecordError: a file is missing or damaged, or the files are of different images.
        """
        if attacked_file is None:
            return Metric(Summary(_of_ours(self, res_file, "AR")))
        summary = _of_originals(res_file, [attacked_file], "AR")
        return Metric(summary)


class WorstCaseAdvRobustEvaluator:
    """Worst-case AR (WCAR): of the images classified correctly when clean, those correct under every attack of a radius."""

    def eval(self, res_file: str | Path, attacked_files: Sequence[str | Path] | None = None) -> Metric:
        """Returns ``WCAR/<attacks>/<eps>`` in percent; for the original's files ``clean_accuracy`` and ``WCAR``.

        Args:
            res_file: a result file of the benchmark ``adversarial``; or, with ``attacked_files``, the original's file of
                the clean images (``none_0/results.txt.all``).
            attacked_files: the original's files of each attack of one magnitude, matched by file name or image id.

        Raises:
            ConfigError: ``attacked_files`` is not a list.
            RecordError: a file is missing or damaged, the files are of different images, or no radius has several attacks.
        """
        if attacked_files is None:
            return Metric(Summary(_of_ours(self, res_file, "WCAR")))
        return Metric(_of_originals(res_file, check_list(attacked_files, "attacked_files"), "WCAR"))


def _of_ours(evaluator: object, res_file: str | Path, title: str) -> dict[str, Estimate]:
    if not ours(res_file) and Path(res_file).exists():
        raise RecordError(
            f"{res_file} is not a result file of the benchmark adversarial; for the original's files, name the clean file, "
            "then those under attack"
        )
    table = numbers_of(records_for(evaluator, res_file)).tables.get(title)
    if table is None:
        raise RecordError(f"{res_file} has no radius with several attacks; WCAR needs two or more")
    return {f"{title}/{row}/{column}": cell for row, cells in table.items() for column, cell in cells.items()}


def _of_originals(clean: str | Path, attacked: Sequence[str | Path], title: str) -> Summary:
    right, *others = joined([clean, *attacked])
    reason = "adversarial robustness is undefined: no image is classified right when clean"
    held = {title: (np.all(others, axis=0), right)}
    return Summary({"clean_accuracy": estimates.accuracy(right), **estimates.ratios(held, reason)})
