"""Thin evaluators over result files: ``Evaluator().eval(res_file) -> Metric``. They need neither a model nor torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from RobustART.errors import RecordError
from RobustART.metrics import estimates, formats, functional, summaries
from RobustART.metrics.baselines import imagenet_a_classes
from RobustART.metrics.estimates import Estimate, Metric, Summary
from RobustART.records import Records, is_result_file, read_records


def _ours(res_file: str | Path) -> bool:
    return Path(res_file).is_file() and is_result_file(res_file)


def _records(res_file: str | Path, *benchmarks: str) -> Records:
    """Returns a result file's records, or raises a RecordError if it is of none of these benchmarks."""
    records = read_records(res_file)
    if records.header["benchmark"] not in benchmarks:
        raise RecordError(
            f"{res_file} is of the benchmark {records.header['benchmark']}, but this evaluator reads "
            f"{' or '.join(benchmarks)}"
        )
    return records


class ImageNetEvaluator:
    """Top-1 and top-5 accuracy."""

    def eval(self, res_file: str | Path) -> Metric:
        """Returns ``top1`` and ``top5`` in percent.

        Args:
            res_file: a result file of the benchmark ``clean``, or the original's score lines (``results.txt.all``, or
                the name before ``.rank0``, ``.rank1``, ...).

        Raises:
            RecordError: the file is missing or damaged.
        """
        if _ours(res_file):
            return Metric(summaries.classification(read_records(res_file)))
        scores, labels = formats.read_scores(res_file)
        ranks = functional.label_rank(scores, labels)
        return Metric(Summary({"top1": estimates.accuracy(ranks < 1), "top5": estimates.accuracy(ranks < 5)}))


class ImageNetAEvaluator:
    """Accuracy on ImageNet-A, RMS calibration error and AURRA (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).

    Args:
        masked: whether the 200 classes of ImageNet-A compete alone, as in the official code (default), or all 1,000.
    """

    def __init__(self, masked: bool = True) -> None:
        self.masked = masked

    def eval(self, res_file: str | Path) -> Metric:
        """Returns ``top1``, ``rms_calibration_error`` and ``aurra`` in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_a``; the original's score lines of all 1,000 classes; or
                the original's ``a-results.txt`` with one line of confidences per process (or the name before
                ``.rank0``, ``.rank1``, ...).

        Raises:
            RecordError: the file is missing or damaged, or holds the other kind of mask.
        """
        if _ours(res_file):
            return self._ours(res_file)
        first = next(formats.original_lines(res_file), None)
        if first is not None and "confidence" in first[1]:
            if not self.masked:
                raise RecordError(
                    f"{res_file} holds masked confidences only; the 1,000-way result cannot be made from it"
                )
            confidence, correct = formats.read_confidences(res_file)
            return Metric(summaries.calibration(np.array(confidence), np.array(correct)))
        scores, labels = formats.read_scores(res_file)
        table, classes = np.array(scores), np.array(labels)
        if self.masked:
            inside = np.array(imagenet_a_classes())
            if table.shape[1] != 1000 or not np.isin(classes, inside).all():
                raise RecordError(f"{res_file} must hold 1,000 scores an image and labels of ImageNet-A's 200 classes")
            table, classes = table[:, inside], np.searchsorted(inside, classes)
        if (table < 0).any() or (table.sum(axis=1) > 1.001).any():
            raise RecordError(f"{res_file} holds logits; ImageNet-A's calibration needs softmax scores")
        if self.masked:
            # A softmax over the 200 alone is the full one divided by their sum.
            table = table / np.maximum(table.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        return Metric(summaries.calibration(table.max(axis=1), functional.label_rank(table, classes) == 0))

    def _ours(self, res_file: str | Path) -> Metric:
        records = _records(res_file, "imagenet_a")
        masked = bool(records.header["conditions"]["options"].get("masked", False))
        if masked != self.masked:
            raise RecordError(
                f"{res_file} was made with masked: {str(masked).lower()}, but this evaluator is for masked: "
                f"{str(self.masked).lower()}"
            )
        return Metric(summaries.imagenet_a(records))


class ImageNetCEvaluator:
    """ImageNet-C's errors and mCE."""

    def eval(self, res_file: str | Path) -> Metric:
        """Returns ``mCE`` (divided by AlexNet's errors), ``mean_error_15`` and ``mean_error_19`` (not divided).

        Args:
            res_file: a result file of the benchmark ``imagenet_c``; of ``imagenet_c_bar``, ``imagenet_3dcc`` and
                ``cifar_c``, for which no AlexNet errors are published, it gives ``mean_error``.

        Raises:
            RecordError: the file is missing or damaged.
        """
        others = ("cifar_c", "imagenet_3dcc", "imagenet_c_bar")
        records = _records(res_file, "imagenet_c", *others)
        if records.header["benchmark"] in others:
            return Metric(summaries.corruption_errors(records))
        return Metric(summaries.imagenet_c(records))


class AdvRobustEvaluator:
    """Adversarial robustness: of the images right when clean, those still right under each attack."""

    def eval(self, res_file: str | Path) -> Metric:
        """Returns ``AR/<attack>/<eps>`` for each attack in percent.

        Args:
            res_file: a result file of the benchmark ``adversarial``.

        Raises:
            RecordError: the file is missing or damaged.
        """
        summary = summaries.adversarial(_records(res_file, "adversarial"))
        rows = summary.tables["AR"].items()
        return Metric(Summary({f"AR/{attack}/{eps}": cell for attack, cells in rows for eps, cell in cells.items()}))


class ImageNetSEvaluator:
    """Spread of accuracy over decoders and resizes, ImageNet-S."""

    def eval(self, res_file: str | Path | Sequence[str | Path]) -> Metric:
        """Returns ``mean_top1``, ``std_top1`` and ``worst_top1`` in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_s``; or the original's score lines, a list of files (or
                of names before ``.rank0``, ``.rank1``, ...), one for each decoder or resize.

        Raises:
            RecordError: a file is missing or damaged, or the list has fewer than two.
        """
        if isinstance(res_file, (str, Path)):
            if not _ours(res_file):
                raise RecordError(
                    f"{res_file} must be a result file of imagenet_s; of the original's files give a list, one for each "
                    "decoder or resize"
                )
            return Metric(summaries.imagenet_s(_records(res_file, "imagenet_s")))
        if len(res_file) < 2:
            raise RecordError(
                f"ImageNet-S compares systems, so two result files or more are needed, got {len(res_file)}"
            )
        correct = []
        for path in res_file:
            scores, labels = formats.read_scores(path)
            correct.append(functional.label_rank(scores, labels) == 0)
        top1 = [estimates.accuracy(right) for right in correct]
        mean, deviation, _ = functional.spread([value.value or 0.0 for value in top1])
        worst = min(top1, key=lambda value: value.value or 0.0)
        count = min(len(right) for right in correct)
        rows = {str(path): {"top1": value} for path, value in zip(res_file, top1, strict=True)}
        metrics = {
            "mean_top1": Estimate(mean, None, None, count),
            "std_top1": Estimate(deviation, None, None, count),
            "worst_top1": worst,
        }
        return Metric(Summary(metrics, {"systems": rows}))


class ImageNetOEvaluator:
    """Are unknown images told apart by their confidence? (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174)."""

    def eval(self, res_file: str | Path, unknown_file: str | Path | None = None) -> Metric:
        """Returns ``aupr``, ``auroc``, ``fpr95`` and the chance level of AUPR in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_o``; or, with ``unknown_file``, the original's confidences
                of known images (``o-part1-results.txt``, or the name before ``.rank0``, ``.rank1``, ...).
            unknown_file: the original's confidences of ImageNet-O (``o-part2-results.txt``).

        Raises:
            RecordError: a file is missing or damaged, or the second one is not named.
        """
        if unknown_file is None:
            if not _ours(res_file):
                raise RecordError(
                    f"{res_file} must be a result file of imagenet_o; of the original's files name both: eval(part1, part2)"
                )
            return Metric(summaries.imagenet_o(_records(res_file, "imagenet_o")))
        known, _ = formats.read_confidences(res_file)
        unknown, _ = formats.read_confidences(unknown_file)
        return Metric(summaries.unknown_images(np.array(known), np.array(unknown)))


class ImageNetPEvaluator:
    """Steadiness of predictions over ImageNet-P's videos (Hendrycks and Dietterich 2019).

    Args:
        difficulty: of the original's files, 1 to 3: frames this many apart are compared. Our files say it themselves.
    """

    def __init__(self, difficulty: int = 1) -> None:
        self.difficulty = difficulty

    def eval(self, res_file: str | Path, baseline: str | Path | None = None) -> Metric:
        """Returns ``mFP`` in percent; from our files the distances of rankings too, and over a baseline mFR and mT5D.

        Args:
            res_file: a result file of the benchmark ``imagenet_p``; or the original's ``{perturbation}-results.txt.all``
                (or its ``.rank0``, ``.rank1``, ...), or a folder of them.
            baseline: a result file of the benchmark ``imagenet_p`` of the model to divide by; AlexNet's in papers.

        Raises:
            RecordError: a file is missing or damaged.
        """
        if _ours(res_file):
            records = _records(res_file, "imagenet_p")
            other = None if baseline is None else _records(baseline, "imagenet_p")
            for option in ("difficulty", "preprocess") if other else ():
                mine, theirs = (r.header["conditions"]["options"].get(option) for r in (records, other) if r)
                if mine != theirs:
                    raise RecordError(f"the baseline {baseline} has {option} {theirs}, {res_file} has {mine}")
            return Metric(summaries.imagenet_p(records, other))
        if baseline is not None:
            raise RecordError(f"a baseline needs a result file of imagenet_p, {res_file} is none")
        return Metric(summaries.flips(formats.read_video_predictions(res_file), self.difficulty))
