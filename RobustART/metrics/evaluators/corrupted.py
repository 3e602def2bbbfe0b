"""Evaluators of natural and system noise: ImageNet-C, ImageNet-P, ImageNet-S."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from RobustART.core.options import as_path
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.corrupted import corrupted
from RobustART.metrics.evaluators.common import check_top, joined, numbers_of, ours, records_for
from RobustART.metrics.evaluators.photos import top_of
from RobustART.metrics.formats import original
from RobustART.metrics.reading import check_one_model, matched_clean, read_result, single_pass
from RobustART.metrics.results import Metric
from RobustART.metrics.spec import spec_of
from RobustART.metrics.stability import flips
from RobustART.metrics.systems import systems
from RobustART.records.lines import CLEAN


class ImageNetCEvaluator:
    """ImageNet-C's mean errors, mCE and relative mCE.

    Args:
        topk: values of k of the top-k accuracies, for one of the original's files alone.
    """

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        self.topk = check_top(topk)

    def eval(self, res_file: str | Path | Sequence[str | Path], clean: str | Path | None = None) -> Metric:
        """Returns ``mCE`` (normalised by AlexNet's errors), ``mean_error_15`` and ``mean_error_19`` (not normalised).

        :func:`~RobustART.metrics.corrupted.corrupted` lists all numbers. For a single cell they are ``top1`` and ``top5``;
        for ``imagenet_c_bar``, ``imagenet_3dcc`` and ``cifar_c``, which have no published AlexNet errors, ``mean_error``.

        Args:
            res_file: a result file of one of these benchmarks. Or the original's score lines: a folder of
                ``{group}-{corruption}-{severity}-results.txt``, with ``.all`` or one file for each process, a list of such
                files, or a single one.
            clean: a result file of the same model on the clean images, for relative mCE; of the same format as
                ``res_file``.

        Raises:
            RecordError: a file is missing or damaged, or the files are of different images or models.
        """
        if not isinstance(res_file, (list, tuple)):
            res_file = as_path(res_file, "a result file")
            if ours(res_file):
                return self._ours(res_file, clean)
        if isinstance(res_file, Path) and not res_file.is_dir():
            if clean is not None:
                raise RecordError(
                    f"relative mCE needs all cells, but {res_file} is one cell; name the folder of all cells"
                )
            return Metric(top_of(original().verdicts(res_file), self.topk))
        cells = original().cells(res_file)
        columns = joined([*cells.values(), *([] if clean is None else [clean])])
        without_noise = None if clean is None else columns.pop()
        return Metric(corrupted(list(cells), np.stack(columns, axis=1), without_noise))

    def _ours(self, res_file: str | Path, clean: str | Path | None) -> Metric:
        records = records_for(self, res_file)
        if clean is None:
            return Metric(numbers_of(records))
        name = records.header["benchmark"]
        if not spec_of(name).companions:
            raise RecordError(f"relative mCE is defined for ImageNet-C alone; {res_file} is of {name}")
        without_noise = read_result(clean)
        if without_noise.header["benchmark"] != CLEAN:
            raise RecordError(
                f"{clean} is of the benchmark {without_noise.header['benchmark']}, but must be of {CLEAN}"
            )
        check_one_model({str(res_file): records, str(clean): without_noise})
        matched_clean(single_pass(records), without_noise)  # raises if the clean results are of other images
        return Metric(numbers_of(records, run={CLEAN: without_noise}))


class ImageNetPEvaluator:
    """Stability of predictions over ImageNet-P's videos (Hendrycks and Dietterich 2019).

    Args:
        difficulty: distance of the frames that are compared, 1 to 3, for the original's files; our files state it.
    """

    def __init__(self, difficulty: int = 1) -> None:
        if type(difficulty) is not int or difficulty not in (1, 2, 3):
            raise ConfigError(f"difficulty must be 1, 2 or 3, got {difficulty!r}")
        self.difficulty = difficulty

    def eval(self, res_file: str | Path, perturbation: str | None = None, baseline: str | Path | None = None) -> Metric:
        """Returns ``mFP`` in percent; ``mFR`` with a baseline.

        Result files of ours also define ``mean_T5D`` and ``mean_zipf``, and ``mT5D`` with a baseline.

        Args:
            res_file: a result file of the benchmark ``imagenet_p``; or the original's ``{perturbation}-results.txt.all``
                (or its ``.rank0``, ``.rank1``, ...), or a folder of them.
            perturbation: perturbation of one of the original's files, if its name does not contain it.
            baseline: files of the same format of the model to normalise by; AlexNet in the paper.

        Raises:
            RecordError: a file is missing or damaged.
        """
        if ours(res_file):
            if perturbation is not None:
                raise RecordError(
                    f"{res_file} states its perturbations itself; perturbation must be None, got {perturbation!r}"
                )
            other = None if baseline is None else records_for(self, baseline)
            return Metric(numbers_of(records_for(self, res_file), baseline=other))
        predictions = original().video_predictions(res_file, perturbation, self.difficulty)
        if baseline is None:
            return Metric(flips(predictions, self.difficulty))
        if ours(baseline):
            raise RecordError(f"the baseline {baseline} is a result file of ours, but {res_file} is the original's")
        other_predictions = original().video_predictions(baseline, perturbation, self.difficulty)
        return Metric(flips(predictions, self.difficulty, other_predictions))


class ImageNetSEvaluator:
    """Spread of the accuracy over decoders and resizes, ImageNet-S."""

    def eval(self, res_file: str | Path | Sequence[str | Path]) -> Metric:
        """Returns ``mean_top1``, ``std_top1`` and ``worst_top1`` in percent.

        Args:
            res_file: a result file of the benchmark ``imagenet_s``; or a list of the original's score files, one for each
                decoder or resize.

        Raises:
            RecordError: a file is missing or damaged, the files are of different images, or there are fewer than two.
        """
        if not isinstance(res_file, (list, tuple)):
            res_file = as_path(res_file, "a result file")
            if not ours(res_file):
                raise RecordError(
                    f"{res_file} must be a result file of imagenet_s; for the original's files, give a list with one for "
                    "each decoder or resize"
                )
            return Metric(numbers_of(records_for(self, res_file)))
        names = [str(as_path(path, "a result file")) for path in res_file]
        if len(names) < 2 or len(set(names)) < len(names):
            raise RecordError(
                f"ImageNet-S compares systems and needs two or more different result files, got {len(set(names))}"
            )
        return Metric(systems(names, np.stack(joined(names), axis=1)))
