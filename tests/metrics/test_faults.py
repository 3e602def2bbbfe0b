"""Faults of the original RobustART's metrics, one test each: what it could not do, or did wrong."""

import inspect
import json

import numpy as np
import pytest

import RobustART.metrics
from RobustART.benchmarks import imagenet_s, transfer
from RobustART.errors import RecordError
from RobustART.metrics import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
    UndefinedError,
    WorstCaseAdvRobustEvaluator,
)
from RobustART.metrics.calibration import rms_calibration_error
from RobustART.metrics.corruption import SCORED
from RobustART.metrics.reading import read_result
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from tests.metrics.conftest import score_lines, verdict_lines, write_records

EVALUATORS = [
    AdvRobustEvaluator, ImageNetAEvaluator, ImageNetCEvaluator, ImageNetEvaluator, ImageNetOEvaluator, ImageNetPEvaluator,
    ImageNetSEvaluator, WorstCaseAdvRobustEvaluator,
]  # fmt: skip


def lists(path, confidence, correct):
    path.write_text(json.dumps({"confidence": confidence, "correct": correct, "num_correct": sum(correct)}) + "\n")
    return path


def test_fault_1_evaluators_are_made_and_their_results_are_their_own(tmp_path):
    """Four of them could not be constructed; the others shared one dictionary of results."""
    for evaluator in EVALUATORS:
        evaluator()
    first = ImageNetEvaluator(topk=(1,)).eval(score_lines(tmp_path / "a", np.eye(3), [0, 1, 2]))
    before = dict(first)
    second = ImageNetEvaluator(topk=(1,)).eval(score_lines(tmp_path / "b", np.eye(3), [0, 0, 0]))
    assert dict(first) == before == {"top1": 100}
    assert second["top1"] == pytest.approx(100 / 3)


def test_fault_2_imagenet_a_is_read_by_its_confidences(tmp_path):
    """The original's evaluator was a copy of ImageNet-P's and looked for ``predictions``."""
    result = ImageNetAEvaluator().eval(lists(tmp_path / "a-results.txt.rank0", [0.9, 0.6], [1, 0]))
    assert dict(result) == {
        "top1": 50, "rms_calibration_error": pytest.approx(25), "ece": pytest.approx(35), "aurra": 75,
    }  # fmt: skip


def test_fault_3_imagenet_s_has_mean_and_deviation(tmp_path):
    """A list was the key of a dictionary, and means were taken over a dictionary's names."""
    files = [score_lines(tmp_path / str(i), np.eye(4), labels) for i, labels in enumerate(([0, 1, 2, 3], [0, 1, 2, 3]))]
    files.append(score_lines(tmp_path / "2", np.eye(4)[[0, 1, 0, 0]], [0, 1, 2, 3]))
    result = ImageNetSEvaluator().eval(files)
    assert result["mean_top1"] == pytest.approx(250 / 3)
    assert result["std_top1"] == pytest.approx(np.std([100, 100, 50]))


def test_fault_4_all_eight_are_exported():
    """Only two were, though the README imports others."""
    names = {name for name in RobustART.metrics.__all__ if name.endswith("Evaluator")}
    assert names == {evaluator.__name__ for evaluator in EVALUATORS}
    assert all(inspect.isclass(getattr(RobustART.metrics, name)) for name in names)


def test_fault_5_ar_is_joined_by_image_of_any_number_in_any_order(tmp_path):
    """The first two values of a line were compared, file name with image id; 50,000 lines in one order were expected."""
    clean = score_lines(tmp_path / "clean", np.eye(4), [0, 1, 2, 0])
    attacked = score_lines(tmp_path / "adv", np.eye(4)[[0, 0, 2, 3]], [0, 1, 2, 0], order=[3, 1, 0, 2])
    assert AdvRobustEvaluator().eval(clean, attacked)["AR"] == pytest.approx(200 / 3)
    assert WorstCaseAdvRobustEvaluator().eval(clean, [attacked, clean])["WCAR"] == pytest.approx(200 / 3)
    fewer = score_lines(tmp_path / "fewer", np.eye(4)[:3], [0, 1, 2])
    with pytest.raises(RecordError, match=r"3 and 4, of which 3 are in both; 3\.JPEG is not"):
        AdvRobustEvaluator().eval(clean, fewer)


def test_fault_5_ar_of_a_model_that_is_never_right_is_undefined(tmp_path):
    """It divided by zero."""
    clean = verdict_lines(tmp_path / "clean", [0, 0])
    for result, name in (
        (AdvRobustEvaluator().eval(clean, clean), "AR"), (WorstCaseAdvRobustEvaluator().eval(clean, [clean]), "WCAR"),
    ):  # fmt: skip
        with pytest.raises(UndefinedError, match="no image is classified right when clean"):
            _ = result[name]


def test_fault_6_top_5(tmp_path):
    """A view of a tensor that is not contiguous failed for k above 1."""
    scores = np.tile(np.linspace(1, 0, 8), (8, 1))
    path = score_lines(tmp_path / "r", scores, range(8))
    assert dict(ImageNetEvaluator().eval(path)) == {"top1": 12.5, "top5": 62.5}


def test_fault_7_the_last_bin_counts_and_few_images_are_one_bin():
    """The last bin was left out, and under 100 images there was none to take the rest."""
    right, wrong = [1] * 100, [0] * 100
    confidence = [0.5] * 100 + [1.0] * 100
    assert rms_calibration_error(confidence, right + wrong) == pytest.approx(100 * np.sqrt((0.25 + 1) / 2))
    assert rms_calibration_error([0.5, 1.0], [1, 1]) == pytest.approx(25)


def test_fault_7_calibration_prints(tmp_path):
    """The original multiplied the function ``aurra`` by 100."""
    printed = str(ImageNetAEvaluator().eval(lists(tmp_path / "a", [0.9, 0.6], [1, 0])))
    assert "aurra                  75.00 [" in printed


def test_fault_8_evaluating_writes_nothing(tmp_path):
    """The file of the metric was named by a replacement: a result file of another name was written over."""
    path = score_lines(tmp_path / "weather-fog-1-results.txt", np.eye(3), [0, 1, 2])
    other = score_lines(tmp_path / "any name", np.eye(3), [0, 1, 2])
    before = path.read_bytes(), other.read_bytes()
    ImageNetCEvaluator(topk=(1,)).eval(path)
    ImageNetCEvaluator(topk=(1,)).eval(other)
    assert (path.read_bytes(), other.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_fault_16_predictions_without_scores_are_read(tmp_path):
    """Lines of ``dump_no_score``, whose code was never published."""
    assert ImageNetEvaluator(topk=(1,)).eval(verdict_lines(tmp_path / "r", [1, 1, 0, 0]))["top1"] == 50


def test_fault_17_transfer_counts_the_images_that_are_there(tmp_path):
    """The original divided by images right among 50,000, at one radius."""
    cells = ["clean", "clean@b", "fgsm/8/255 model>b", "fgsm/2/255 model>b"]
    models = {cell: [None, "b"] for cell in cells[1:]}
    ranks = [[0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1]]
    attacks = {cell: {} for cell in cells[2:]}
    path = write_records(tmp_path / "t", "transfer", [("", cells, ranks, {})], models=models, attacks=attacks)
    tables = transfer.summarize(read_result(path)).tables
    assert tables["transfer_success fgsm/8/255"]["model"]["b"].value == 100
    assert tables["transfer_success fgsm/2/255"]["model"]["b"].value == pytest.approx(100 / 3)


def test_fault_19_the_deviation_is_no_variance_and_a_vacuous_one_is_named(tmp_path):
    """The original reported the negative variance over runs that were all the same."""
    cells = ["pil/pil-bilinear", "opencv/pil-bilinear", "pil/pil-box"]
    difference = {"pixel_difference": [[0.0, 0.0, 1.5], [0.0, 0.0, 2.5]]}
    path = write_records(tmp_path / "s", "imagenet_s", [("", cells, [[0, 0, 1], [0, 0, 0]], difference)])
    summary = imagenet_s.summarize(read_result(path))
    assert summary.metrics["std_top1"].value == pytest.approx(np.std([100, 100, 50]))
    assert "opencv/pil-bilinear made the same pixels as pil/pil-bilinear" in summary.notes[0]


def test_fault_21_gaussian_noise_is_one_of_ten(tmp_path):
    """The original's list had 13 perturbations without it, extra ones among them, and its mean was over all."""
    assert len(SCORED_PERTURBATIONS) == 10
    for name in (*SCORED_PERTURBATIONS, "shear"):
        frames = [1, 2, 1, 2] if name in ("gaussian_noise", "shear") else [1, 1, 1, 1]
        (tmp_path / f"{name}-results.txt.all").write_text(json.dumps({"predictions": frames}) + "\n")
    assert ImageNetPEvaluator().eval(tmp_path)["mFP"] == pytest.approx(100 * (2 / 3) / 10)


def test_fault_22_a_batch_of_one(tmp_path):
    """One image squeezed to a number, which has no list."""
    result = ImageNetAEvaluator().eval(lists(tmp_path / "a", [0.8], [1]))
    assert result["rms_calibration_error"] == pytest.approx(20)
    known, unknown = lists(tmp_path / "o1", [0.9], [1]), lists(tmp_path / "o2", [0.2], [0])
    assert ImageNetOEvaluator().eval(known, unknown)["auroc"] == 100


def test_fault_23_some_cells_are_enough_and_mce_is_computed(tmp_path):
    """All 19 x 5 files were needed, and the script that computes mCE was missing."""
    few = write_records(tmp_path / "few", "imagenet_c", [("", ["fog/1", "fog/2"], [[0, 1], [1, 1]], {})])
    assert ImageNetCEvaluator().eval(few)["mean_error_of_these_cells"] == 75
    cells = [f"{name}/{severity}" for name in SCORED for severity in range(1, 6)]
    whole = write_records(tmp_path / "all", "imagenet_c", [("", cells, np.ones((2, 75), int), {})])
    assert 100 < ImageNetCEvaluator().eval(whole)["mCE"] < 140


def test_fault_30_an_image_that_the_sampler_pads_in_counts_once(tmp_path):
    """Shards of equal length repeat images, which were counted twice."""
    score_lines(tmp_path / "results.txt.rank0", np.eye(3), [0, 1, 0], order=[0, 1])
    score_lines(tmp_path / "results.txt.rank1", np.eye(3), [0, 1, 0], order=[2, 0])
    result = ImageNetEvaluator(topk=(1,)).eval(tmp_path / "results.txt")
    assert result["top1"] == pytest.approx(200 / 3)
    assert result.summary.metrics["top1"].n == 3
