"""Evaluators on the original RobustART's result files: every format, joined by names, never by the order of lines."""

import json

import numpy as np
import pytest

from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.benchmarks.photos import imagenet_a_classes
from RobustART.errors import ConfigError, RecordError
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
from RobustART.metrics.baselines import alexnet_corruption_errors
from RobustART.metrics.corruption import GROUPS
from tests.metrics.conftest import score_lines, verdict_lines


def test_score_lines(tmp_path):
    rng = np.random.default_rng(0)
    scores, labels = rng.random((300, 12)), rng.integers(0, 12, 300)
    path = score_lines(tmp_path / "results.txt.all", scores, labels)
    result = ImageNetEvaluator().eval(path)
    assert result["top1"] == pytest.approx(100 * (scores.argmax(1) == labels).mean())
    expected = [(np.argsort(-s)[:5] == t).any() for s, t in zip(scores, labels, strict=True)]
    assert result["top5"] == pytest.approx(100 * np.mean(expected))
    shuffled = score_lines(tmp_path / "b", scores, labels, order=rng.permutation(300))
    assert dict(ImageNetEvaluator().eval(shuffled)) == dict(result)
    assert dict(ImageNetEvaluator().eval(tmp_path / "results.txt")) == dict(result)


def test_lines_without_names_are_counted_but_not_joined(tmp_path):
    """The original's DALI path writes neither file name nor image id."""
    path = score_lines(tmp_path / "r", np.eye(4), [0, 1, 2, 0], keys=("prediction",))
    assert ImageNetEvaluator().eval(path)["top1"] == 75
    with pytest.raises(RecordError, match="the order of lines does not identify images"):
        AdvRobustEvaluator().eval(path, path)


def test_rank_files_join_and_padding_counts_once(tmp_path):
    scores, labels = np.eye(5)[[0, 1, 2, 3]], [0, 1, 2, 4]
    score_lines(tmp_path / "results.txt.rank0", scores, labels, order=[0, 2])
    score_lines(tmp_path / "results.txt.rank1", scores, labels, order=[1, 3, 0])
    assert ImageNetEvaluator().eval(tmp_path / "results.txt")["top1"] == 75
    (tmp_path / "results.txt.rank3").write_text("")
    with pytest.raises(RecordError, match=r"\.rank2 is missing"):
        ImageNetEvaluator().eval(tmp_path / "results.txt")


def test_predictions_without_scores_say_top1_alone(tmp_path):
    path = verdict_lines(tmp_path / "r", [1, 0, 1, 1])
    assert ImageNetEvaluator(topk=(1,)).eval(path)["top1"] == 75
    with pytest.raises(RecordError, match="which define top-1 alone"):
        ImageNetEvaluator().eval(path)


def test_imagenet_a_masks_the_200_classes(tmp_path):
    inside = imagenet_a_classes()
    scores = np.full((2, 1000), 1e-6)
    scores[0, 0], scores[0, inside[3]] = 0.6, 0.3  # class 0 is not one of the 200
    scores[1, inside[5]] = 0.8
    path = score_lines(tmp_path / "a", scores, [inside[3], inside[4]])
    masked = ImageNetAEvaluator().eval(path)
    assert masked["top1"] == 50
    confidence = [0.3 / (0.3 + 199e-6), 0.8 / (0.8 + 199e-6)]
    assert masked["rms_calibration_error"] == pytest.approx(100 * abs(np.mean(confidence) - 0.5))
    assert masked["aurra"] == pytest.approx(25)
    whole = ImageNetAEvaluator(masked=False).eval(path)
    assert whole["top1"] == 0
    assert whole["rms_calibration_error"] == pytest.approx(70)
    logits = score_lines(tmp_path / "logits", scores * 10 - 5, [inside[3], inside[4]])
    with pytest.raises(RecordError, match="has logits.*needs softmax scores"):
        ImageNetAEvaluator().eval(logits)
    foreign = score_lines(tmp_path / "foreign", scores, [inside[3], 0])
    with pytest.raises(RecordError, match="labels of the 200 classes that"):
        ImageNetAEvaluator().eval(foreign)


def test_imagenet_a_from_the_lists(tmp_path):
    (tmp_path / "a-results.txt.rank0").write_text('{"confidence": [0.9, 0.8], "correct": [1, 0], "num_correct": 1}\n')
    (tmp_path / "a-results.txt.rank1").write_text('{"confidence": [0.7], "correct": [1], "num_correct": 1}\n')
    result = ImageNetAEvaluator().eval(tmp_path / "a-results.txt")
    assert result["top1"] == pytest.approx(200 / 3)
    assert result["aurra"] == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3)
    assert result["rms_calibration_error"] == pytest.approx(100 * (0.8 - 2 / 3))
    with pytest.raises(RecordError, match="masked confidences only"):
        ImageNetAEvaluator(masked=False).eval(tmp_path / "a-results.txt")
    (tmp_path / "bad").write_text('{"confidence": [0.9], "correct": [1, 0], "num_correct": 1}\n')
    with pytest.raises(RecordError, match="contradicts itself"):
        ImageNetAEvaluator().eval(tmp_path / "bad")


def test_imagenet_o_from_the_lists_and_from_scores(tmp_path):
    """Known photos with confidences 0.9 and 0.6, an unknown one with 0.7: of four pairs... of two, one is in order."""
    inside = imagenet_o_classes()
    for name, values in (("o-part1-results.txt.rank0", [0.9, 0.6]), ("o-part2-results.txt.rank0", [0.7])):
        line = {"confidence": values, "correct": [0] * len(values), "num_correct": 0}
        (tmp_path / name).write_text(json.dumps(line) + "\n")
    result = ImageNetOEvaluator().eval(tmp_path / "o-part1-results.txt", tmp_path / "o-part2-results.txt")
    assert result["auroc"] == 50
    assert result["aupr"] == 50
    assert result["chance_aupr"] == pytest.approx(100 / 3)
    files = []
    for name, values in (("known", [0.9, 0.6]), ("unknown", [0.7])):
        scores = np.zeros((len(values), 1000))
        scores[:, inside[0]], scores[:, inside[1]] = values, 1 - np.array(values)
        files.append(score_lines(tmp_path / name, scores, [inside[0]] * len(values)))
    assert dict(ImageNetOEvaluator().eval(*files)) == pytest.approx(dict(result))
    with pytest.raises(RecordError, match="name both: eval"):
        ImageNetOEvaluator().eval(files[0])


def c_folder(folder, wrong, names, n=6, order=None, file="{name}/{severity}/n01/{i}.JPEG"):
    """The original's files of ImageNet-C: image i of a cell is wrong if i < wrong(name, severity)."""
    groups = {name: group for group, members in GROUPS.items() for name in members}
    for name in names:
        for severity in range(1, 6):
            scores = np.eye(3)[[1 if i < wrong(name, severity) else 0 for i in range(n)]]
            template = file.replace("{name}", name).replace("{severity}", str(severity)).replace("{i}", "{}")
            path = folder / f"{groups[name]}-{name}-{severity}-results.txt.all"
            score_lines(path, scores, [0] * n, order=None if order is None else order(severity), names=template)
    return folder


def test_imagenet_c_of_one_cell_gives_its_accuracies(tmp_path):
    c_folder(tmp_path, lambda name, severity: severity, ["fog"])
    cell = tmp_path / "weather-fog-2-results.txt.all"
    assert dict(ImageNetCEvaluator(topk=(1, 2)).eval(str(cell))) == {"top1": pytest.approx(400 / 6), "top2": 100}


def test_imagenet_c_of_a_folder_gives_the_whole(tmp_path):
    """File names begin with corruption and severity; image ids differ, and every cell has an order of its own."""
    names = list(alexnet_corruption_errors())
    rng = np.random.default_rng(0)
    c_folder(tmp_path, lambda name, severity: severity, names, order=lambda severity: rng.permutation(6))
    (tmp_path / "weather-fog-2-metric").write_text('{"top1": 1}')
    (tmp_path / "robust.json").write_text("{}")
    clean = score_lines(
        tmp_path / "clean" / "results.txt.all", np.eye(3)[[1, 0, 0, 0, 0, 0]], [0] * 6, names="val/n01/{}.JPEG"
    )
    result = ImageNetCEvaluator().eval(tmp_path, clean=clean)
    assert result["mean_error_15"] == result["mean_error_19"] == 50
    errors = alexnet_corruption_errors()
    assert result["mCE"] == pytest.approx(100 * np.mean([0.5 / np.mean(errors[name]) for name in names[:15]]))
    assert result["relative_mCE"] > 0
    # All cells are wrong on the same images, so the interval is that of one number, not of 75 independent ones.
    own = result.summary.metrics["mean_error_15"]
    assert own.high - own.low > 30
    assert ImageNetCEvaluator().eval([tmp_path / "weather-fog-2-results.txt.all"])["mean_error_of_these_cells"] > 0


def test_imagenet_c_of_other_images_is_refused(tmp_path):
    c_folder(tmp_path / "a", lambda *_: 1, ["fog"])
    c_folder(tmp_path / "b", lambda *_: 1, ["snow"], file="{name}/{severity}/n01/x{i}.JPEG")
    files = [*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir()]
    with pytest.raises(RecordError, match="has other images than"):
        ImageNetCEvaluator().eval(files)
    with pytest.raises(RecordError, match=r"both of (fog|snow)/"):
        ImageNetCEvaluator().eval([*files, files[0]])
    with pytest.raises(RecordError, match=r"must be named \{group\}-\{corruption\}-\{severity\}"):
        ImageNetCEvaluator().eval([tmp_path / "results.txt.all"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no files named"):
        ImageNetCEvaluator().eval(tmp_path / "empty")


def test_a_label_that_differs_between_files_is_refused(tmp_path):
    score_lines(tmp_path / "a", np.eye(3), [0, 1, 2])
    score_lines(tmp_path / "b", np.eye(3), [0, 1, 1])
    with pytest.raises(RecordError, match=r"has the label 1 for 2\.JPEG, but .* has 2"):
        AdvRobustEvaluator().eval(tmp_path / "a", tmp_path / "b")


def test_imagenet_p(tmp_path):
    (tmp_path / "snow-results.txt.rank0").write_text('{"predictions": [1, 2, 1, 1]}\n')
    (tmp_path / "snow-results.txt.rank1").write_text('{"predictions": [1, 1, 1, 1]}\n')
    (tmp_path / "gaussian_noise-results.txt.all").write_text('{"predictions": [1, 2, 1, 1]}\n')
    result = ImageNetPEvaluator().eval(tmp_path)
    table = result.summary.tables["stability"]
    assert table["snow"]["FP (%)"].value == pytest.approx(100 / 3)
    assert table["gaussian_noise"]["FP (%)"].value == pytest.approx(100 / 3)
    assert result["mFP_of_these"] == pytest.approx(100 / 3)
    assert result.summary.metrics["mFP_of_these"].low is not None  # 2 videos of one, 1 of the other
    over = ImageNetPEvaluator().eval(tmp_path, baseline=tmp_path)
    assert over["mFR_of_these"] == pytest.approx(100)
    (tmp_path / "lines").write_text('{"predictions": [1, 2, 1, 1]}\n')
    named = ImageNetPEvaluator().eval(tmp_path / "lines", "gaussian_noise")
    assert named["mFP_of_these"] == pytest.approx(100 / 3)
    with pytest.raises(RecordError, match="must be named"):
        ImageNetPEvaluator().eval(tmp_path / "lines")
    with pytest.raises(RecordError, match="a folder of several"):
        ImageNetPEvaluator().eval(tmp_path, "snow")


def test_imagenet_s(tmp_path):
    """Decoders are folders of the file names; the second file has another order."""
    files = [
        score_lines(tmp_path / f"{i}.txt.all", np.eye(4), labels, order=order, names=f"{decoder}/bilinear/{{}}.npy")
        for i, (decoder, order, labels) in enumerate((("pil", None, [0, 1, 2, 3]), ("cv", [2, 0, 3, 1], [0, 1, 2, 3])))
    ]
    wrong = score_lines(tmp_path / "2.txt.all", np.eye(4)[[0, 1, 0, 0]], [0, 1, 2, 3])
    result = ImageNetSEvaluator().eval([*files, wrong])
    assert dict(result) == {
        "mean_top1": pytest.approx(250 / 3), "std_top1": pytest.approx(np.std([100, 100, 50])), "worst_top1": 50,
    }  # fmt: skip
    with pytest.raises(RecordError, match="needs two or more different result files, got 1"):
        ImageNetSEvaluator().eval(files[:1])
    with pytest.raises(RecordError, match="give a list with one for each"):
        ImageNetSEvaluator().eval(files[0])


@pytest.mark.parametrize("key", ["filename", "image_id"])
def test_ar_and_wcar(tmp_path, key):
    clean = verdict_lines(tmp_path / "none_0/results.txt.all", [1, 1, 0, 1], keys=(key,))
    first = verdict_lines(tmp_path / "fgsm_0.031/results.txt.all", [1, 0, 1, 1], order=[3, 1, 0, 2], keys=(key,))
    second = verdict_lines(tmp_path / "pgd_linf_0.031/results.txt.all", [0, 1, 1, 1], order=[2, 3, 1, 0], keys=(key,))
    result = AdvRobustEvaluator().eval(clean, first)
    assert result["clean_accuracy"] == 75
    assert result["AR"] == pytest.approx(200 / 3)
    assert WorstCaseAdvRobustEvaluator().eval(clean, [first, second])["WCAR"] == pytest.approx(100 / 3)
    assert AdvRobustEvaluator().eval(clean, clean)["AR"] == 100
    with pytest.raises(ConfigError, match="attacked_files must be a list of result files"):
        WorstCaseAdvRobustEvaluator().eval(clean, first)
    with pytest.raises(RecordError, match="name the clean file, then"):
        AdvRobustEvaluator().eval(clean)


def test_an_id_is_the_same_as_a_text(tmp_path):
    for name, ids in (("clean", [0, 1]), ("adv", ["1", "0"]), ("other", ["1", "2"])):
        rows = [{"image_id": i, "label": 0, "prediction": int(name == "adv" and i == "1")} for i in ids]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert AdvRobustEvaluator().eval(tmp_path / "clean", tmp_path / "adv")["AR"] == 50
    with pytest.raises(RecordError, match="of which 1 are in both; 0 is not"):
        AdvRobustEvaluator().eval(tmp_path / "clean", tmp_path / "other")


def test_undefined_ar_says_why(tmp_path):
    clean = verdict_lines(tmp_path / "clean", [0, 0])
    result = AdvRobustEvaluator().eval(clean, verdict_lines(tmp_path / "adv", [0, 1]))
    with pytest.raises(UndefinedError, match="no image is classified right when clean"):
        _ = result["AR"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json\n", "line 1 of .* is not JSON"),
        ("[1]\n", "must be a JSON object"),
        ('{"label": 1}\n', "needs 'score'"),
        ('{"label": 0, "score": ["a"]}\n', "a list of numbers"),
        ('{"label": 0, "score": [NaN, 1]}\n', "line 1 of .* has a score that is not a finite number"),
        ('{"label": 4, "score": [1, 2]}\n', "has the label 4, but 2 scores"),
        (
            '{"image_id": 1, "label": 0, "score": [1, 2]}\n{"image_id": 1, "label": 1, "score": [1, 2]}\n',
            "repeats the image 1",
        ),
        ('{"label": 0, "score": [1, 2]}\n{"label": 0, "score": [1]}\n', "different numbers of scores"),
        ("", "holds no records"),
    ],
)
def test_broken_files(tmp_path, text, message):
    (tmp_path / "r").write_text(text)
    with pytest.raises(RecordError, match=message):
        ImageNetEvaluator().eval(tmp_path / "r")
    with pytest.raises(RecordError, match="there is no result file"):
        ImageNetEvaluator().eval(tmp_path / "nothing")


def test_the_line_itself_decides_among_equal_scores(tmp_path):
    """The prediction was made before the scores were rounded."""
    lines = [
        {"filename": f"{i}", "prediction": p, "label": 1, "score": [0.4, 0.4, 0.2]} for i, p in enumerate((1, 0, 1))
    ]
    (tmp_path / "r").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ImageNetEvaluator(topk=(1, 2)).eval(tmp_path / "r")["top1"] == pytest.approx(200 / 3)
    assert ImageNetEvaluator(topk=(1, 2)).eval(tmp_path / "r")["top2"] == 100
    for line in lines:
        del line["score"]
    (tmp_path / "attacked").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert AdvRobustEvaluator().eval(tmp_path / "r", tmp_path / "attacked")["AR"] == 100


def test_repeats_may_differ_by_what_another_batch_rounds(tmp_path):
    line = {"filename": "a", "prediction": 0, "label": 0}
    (tmp_path / "r").write_text(
        "".join(json.dumps({**line, "score": s}) + "\n" for s in ([0.5, 0.3, 0.2], [0.50000001, 0.29999999, 0.2]))
    )
    metric = ImageNetEvaluator(topk=(1,)).eval(tmp_path / "r")
    assert metric.summary.metrics["top1"].n == 1
    for other in ({**line, "score": [0.6, 0.2, 0.2]}, {**line, "label": 1, "score": [0.5, 0.3, 0.2]}):
        (tmp_path / "b").write_text(json.dumps({**line, "score": [0.5, 0.3, 0.2]}) + "\n" + json.dumps(other) + "\n")
        with pytest.raises(RecordError, match="repeats the image 'a' with another score or label"):
            ImageNetEvaluator(topk=(1,)).eval(tmp_path / "b")


def test_a_softmax_in_bfloat16_is_no_logits(tmp_path):
    inside = imagenet_a_classes()
    scores = np.full((2, 1000), 2.4e-5)
    scores[:, inside[3]] = 1.0025 - 999 * 2.4e-5
    path = score_lines(tmp_path / "a", scores, [inside[3], inside[4]])
    found = ImageNetAEvaluator().eval(path)
    assert found["top1"] == 50
    assert found.summary.metrics["ece"].value == pytest.approx(50, abs=1)


def test_classes_that_have_next_to_nothing_are_not_told_apart(tmp_path):
    inside = imagenet_a_classes()
    scores = np.zeros((2, 1000))
    scores[0, inside[3]] = 1.0
    scores[1, 0] = 1.0
    path = score_lines(tmp_path / "a", scores, [inside[3], inside[4]])
    with pytest.raises(RecordError, match="line 2 of .* gives the 200 classes that compete 0 of its scores"):
        ImageNetAEvaluator().eval(path)
