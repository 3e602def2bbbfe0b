"""Evaluators of natural and system noise: ImageNet-C, ImageNet-P, ImageNet-S."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from RobustART.core.options import as_path
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics import summaries
from RobustART.metrics.evaluators.common import check_top, joined, ours, records_of
from RobustART.metrics.evaluators.photos import top_of
from RobustART.metrics.reading import DIFFICULTIES, check_one_model
from RobustART.metrics.results import Metric
from RobustART.original import results as formats

_OTHER_SETS = ("cifar_c", "imagenet_3dcc", "imagenet_c_bar")


class ImageNetCEvaluator:
    """ImageNet-C's errors, mCE and relative mCE.

    Args:
        topk: of the original's file of one cell, numbers k.
    """

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        self.topk = check_top(topk)

    def eval(self, res_file: str | Path | Sequence[str | Path], clean: str | Path | None = None) -> Metric:
        """Returns ``mCE`` (divided by AlexNet's errors), ``mean_error_15`` and ``mean_error_19`` (not divided), and more.

        See :func:`summaries.corrupted`. Of one cell alone, ``top1`` and ``top5``. Nothing is written.

        Args:
            res_file: a result file of the benchmark ``imagenet_c``; of ``imagenet_c_bar``, ``imagenet_3dcc`` and
                ``cifar_c``, for which no AlexNet errors are published, it gives ``mean_error``. Or the original's score
                lines: a folder of ``{group}-{corruption}-{severity}-results.txt``, with ``.all`` or one file for each
                process, or a list of such files; or one of them, which gives its top-k accuracies.
            clean: a result file of the same model on the clean photos, for relative mCE; ours or the original's as
                ``res_file`` is.

        Raises:
            RecordError: a file is missing or damaged, or they are of different images or models.
        """
        if not isinstance(res_file, (list, tuple)):
            res_file = as_path(res_file, "a result file")
            if ours(res_file):
                return self._ours(res_file, clean)
        if isinstance(res_file, Path) and not res_file.is_dir():
            if clean is not None:
                raise RecordError(f"relative mCE needs all cells; {res_file} is one of them, name their folder")
            return Metric(top_of(formats.read_verdicts(res_file), self.topk))
        cells = formats.corruption_files(res_file)
        columns = joined([*cells.values(), *([] if clean is None else [clean])])
        without_noise = None if clean is None else columns.pop()
        return Metric(summaries.corrupted(list(cells), np.stack(columns, axis=1), without_noise))

    def _ours(self, res_file: str | Path, clean: str | Path | None) -> Metric:
        records = records_of(res_file, "imagenet_c", *_OTHER_SETS)
        if records.header["benchmark"] == "imagenet_c":
            if clean is None:
                return Metric(summaries.imagenet_c(records))
            without_noise = records_of(clean, "clean")
            check_one_model({str(res_file): records, str(clean): without_noise})
            return Metric(summaries.imagenet_c(records, without_noise))
        if clean is not None:
            raise RecordError(f"relative mCE is ImageNet-C's; {res_file} is of {records.header['benchmark']}")
        return Metric(summaries.corruption_errors(records))


class ImageNetPEvaluator:
    """Steadiness of predictions over ImageNet-P's videos (Hendrycks and Dietterich 2019).

    Args:
        difficulty: of the original's files, 1 to 3: frames this many apart are compared. Our files say it themselves.
    """

    def __init__(self, difficulty: int = 1) -> None:
        if type(difficulty) is not int or difficulty not in DIFFICULTIES:
            raise ConfigError(f"difficulty must be 1, 2 or 3, got {difficulty!r}")
        self.difficulty = difficulty

    def eval(self, res_file: str | Path, perturbation: str | None = None, baseline: str | Path | None = None) -> Metric:
        """Returns ``mFP`` in percent; from our files the distances of rankings too; over a baseline mFR (and mT5D).

        Args:
            res_file: a result file of the benchmark ``imagenet_p``; or the original's ``{perturbation}-results.txt.all``
                (or its ``.rank0``, ``.rank1``, ...), or a folder of them.
            perturbation: of one of the original's files, where its name does not say it.
            baseline: files of the same kind of the model to divide by; AlexNet's in papers.

        Raises:
            RecordError: a file is missing or damaged.
        """
        if ours(res_file):
            if perturbation is not None:
                raise RecordError(f"{res_file} says itself which perturbations it is of, but got {perturbation!r}")
            records = records_of(res_file, "imagenet_p")
            other = None if baseline is None else records_of(baseline, "imagenet_p")
            return Metric(summaries.imagenet_p(records, other))
        predictions = formats.read_video_predictions(res_file, perturbation, self.difficulty)
        if baseline is None:
            return Metric(summaries.flips(predictions, self.difficulty))
        if ours(baseline):
            raise RecordError(f"the baseline {baseline} is a result file of ours, {res_file} is the original's")
        other_predictions = formats.read_video_predictions(baseline, perturbation, self.difficulty)
        return Metric(summaries.flips(predictions, self.difficulty, other_predictions))


class ImageNetSEvaluator:
    """Spread of accuracy over decoders and resizes, ImageNet-S."""

    def eval(self, res_file: str | Path | Sequence[str | Path]) -> Metric:
        """Returns ``mean_top1``, ``std_top1`` and ``worst_top1`` in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_s``; or the original's score lines, a list of files, one
                for each decoder or resize.

        Raises:
            RecordError: a file is missing or damaged, they are of different images, or the list has fewer than two.
        """
        if not isinstance(res_file, (list, tuple)):
            res_file = as_path(res_file, "a result file")
            if not ours(res_file):
                raise RecordError(
                    f"{res_file} must be a result file of imagenet_s; of the original's files give a list, one for each "
                    "decoder or resize"
                )
            return Metric(summaries.imagenet_s(records_of(res_file, "imagenet_s")))
        names = [str(as_path(path, "a result file")) for path in res_file]
        if len(names) < 2 or len(set(names)) < len(names):
            raise RecordError(
                f"ImageNet-S compares systems, so two different result files or more are needed, got {len(set(names))}"
            )
        return Metric(summaries.systems(names, np.stack(joined(names), axis=1)))
