"""Evaluators of natural images: ImageNet, ImageNet-A, ImageNet-O."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.calibration import calibration
from RobustART.metrics.detection import unknown_images
from RobustART.metrics.estimates import top_k
from RobustART.metrics.evaluators.common import check_top, classes_for, numbers_of, ours, records_for
from RobustART.metrics.formats import Verdicts, original
from RobustART.metrics.reading import competing_classes, one_cell, read_result
from RobustART.metrics.results import Metric, Summary
from RobustART.metrics.spec import BENCHMARKS
from RobustART.metrics.trust import answer_signs, doubted_summary
from RobustART.records.lines import Records


class ImageNetEvaluator:
    """Top-k accuracy.

    Args:
        topk: values of k.
    """

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        self.topk = check_top(topk)

    def eval(self, res_file: str | Path) -> Metric:
        """Returns ``top1`` and ``top5`` (or other ``topk``) in percent.

        Args:
            res_file: a result file of one cell, such as ``clean``; or the original's score lines.

        Raises:
            RecordError: the file is missing or damaged, or has several cells.
        """
        if ours(res_file):
            records = _one_cell(res_file)
            summary = top_k(records.passes[0].label_rank[:, 0], self.topk, competing_classes(records))
            return Metric(doubted_summary(summary, answer_signs(records)))
        return Metric(top_of(original().verdicts(res_file), self.topk))


def _one_cell(res_file: str | Path) -> Records:
    records = read_result(res_file)
    benchmark = records.header["benchmark"]
    known = BENCHMARKS[benchmark].evaluator if benchmark in BENCHMARKS else ""
    other = f"{known} takes" if known else "the command `robustart score` takes"
    one_cell(records, f"{res_file}, as input of ImageNetEvaluator,", f"; {other} files of {benchmark}")
    return records


def top_of(verdicts: Verdicts, ks: Sequence[int]) -> Summary:
    """Returns the top-k accuracies of the original's lines; predictions without scores define top-1 alone."""
    if verdicts.ranks is not None:
        return top_k(verdicts.ranks, ks, verdicts.classes)
    if set(ks) != {1}:
        raise RecordError(
            f"{verdicts.place} has predictions without scores, which define top-1 alone; topk must be (1,), got {ks}"
        )
    return top_k(np.where(verdicts.correct, 0, 1), ks)


class ImageNetAEvaluator:
    """Accuracy and calibration on ImageNet-A (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).

    Args:
        masked: whether only the 200 classes of ImageNet-A compete, as in the official code, or all 1,000.
    """

    def __init__(self, masked: bool = True) -> None:
        if not isinstance(masked, bool):
            raise ConfigError(f"masked must be true or false, got {masked!r}")
        self.masked = masked

    def eval(self, res_file: str | Path) -> Metric:
        """Returns ``top1``, ``rms_calibration_error``, ``ece`` and ``aurra`` in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_a``; the original's score lines of all 1,000 classes; or
                the original's ``a-results.txt`` with one line of confidences per process.

        Raises:
            RecordError: the file is missing or damaged, or was made with another ``masked``.
        """
        if ours(res_file):
            return self._ours(res_file)
        if self.masked or not original().holds_confidences(res_file):
            return Metric(calibration(*_confidences(res_file, classes_for(self) if self.masked else None)))
        raise RecordError(f"{res_file} has masked confidences only; they do not define the 1,000-way result")

    def _ours(self, res_file: str | Path) -> Metric:
        records = records_for(self, res_file)
        masked = bool(records.header["conditions"]["options"].get("masked", False))
        if masked != self.masked:
            raise RecordError(
                f"{res_file} was made with masked: {str(masked).lower()}, but this evaluator is for masked: "
                f"{str(self.masked).lower()}"
            )
        return Metric(numbers_of(records))


class ImageNetOEvaluator:
    """Detection of unknown images by low confidence, ImageNet-O (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174)."""

    def eval(self, res_file: str | Path, unknown_file: str | Path | None = None) -> Metric:
        """Returns ``aupr``, ``auroc``, ``fpr95`` and ``chance_aupr``, the AUPR of random scores, in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_o``; or, with ``unknown_file``, the original's confidences
                of the known images (``o-part1-results.txt``), or their score lines of all 1,000 classes.
            unknown_file: the original's confidences or score lines of ImageNet-O (``o-part2-results.txt``).

        Raises:
            RecordError: a file is missing or damaged, or ``unknown_file`` is missing.
        """
        if unknown_file is None:
            if not ours(res_file):
                raise RecordError(
                    f"{res_file} must be a result file of imagenet_o; for the original's files, name both: "
                    "eval(part1, part2)"
                )
            return Metric(numbers_of(records_for(self, res_file)))
        known, unknown = (_confidences(path, classes_for(self))[0] for path in (res_file, unknown_file))
        return Metric(unknown_images(known, unknown))


def _confidences(
    res_file: str | Path, competing: Sequence[int] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns confidences and whether each prediction is correct, from the original's confidences or score lines."""
    if original().holds_confidences(res_file):
        confidence, correct = original().confidences(res_file)
        return np.array(confidence), np.array(correct)
    verdicts = original().verdicts(res_file, competing)
    if verdicts.confidence is None:
        raise RecordError(f"{res_file} has logits, or no scores; calibration needs softmax scores")
    return verdicts.confidence, verdicts.correct
