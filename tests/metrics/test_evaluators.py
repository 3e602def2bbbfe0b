"""Evaluators on our files and on the original's."""

import json

import numpy as np
import pytest

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
)
from RobustART.metrics.baselines import alexnet_corruption_errors, imagenet_a_classes
from RobustART.records import FORMAT, Line


def write(path, cells, ranks, confidence=0.5, options=None):
    """Writes a result file of label ranks (images x cells); its name says of which benchmark."""
    names = {"a": "imagenet_a", "c": "imagenet_c", "p": "imagenet_c", "s": "imagenet_s"}
    header = {
        "format": FORMAT, "benchmark": names.get(path.name, "adversarial"), "hash": "0", "conditions": {"options": options or {}}, "versions": {},
        "passes": [{"name": "", "cells": cells, "ids": len(ranks)}],
    }  # fmt: skip
    lines = [
        Line(0, i, f"{i}.png", 0, "ab", row, np.broadcast_to(confidence, len(row)).tolist(), row)
        for i, row in enumerate(ranks)
    ]
    path.write_text(json.dumps(header) + "\n" + "".join(line.dump() for line in lines))
    return path


def score_lines(path, scores, labels, order=None):
    rows = [
        {
            "filename": f"{i}.JPEG",
            "image_id": i,
            "prediction": int(np.argmax(s)),
            "label": int(t),
            "score": [float(v) for v in s],
        }
        for i, (s, t) in enumerate(zip(scores, labels, strict=True))
    ]
    path.write_text("".join(json.dumps(rows[i]) + "\n" for i in (order or range(len(rows)))))
    return path


def test_imagenet_four_rows(tmp_path):
    result = ImageNetEvaluator().eval(write(tmp_path / "a", ["clean"], [[0], [0], [4], [5]]))
    assert dict(result) == {"top1": 50.0, "top5": 75.0}
    assert "top1  50.00 [15.00, 85.00]  (n = 4)" in str(result)


def test_imagenet_from_the_originals_score_lines(tmp_path):
    rng = np.random.default_rng(0)
    scores, labels = rng.random((30, 12)), rng.integers(0, 12, 30)
    path = score_lines(tmp_path / "results.txt.all", scores, labels)
    result = ImageNetEvaluator().eval(path)
    assert result["top1"] == pytest.approx(100 * (scores.argmax(1) == labels).mean())
    shuffled = score_lines(tmp_path / "b", scores, labels, order=rng.permutation(30).tolist())
    assert dict(ImageNetEvaluator().eval(shuffled)) == dict(result)


def test_rank_files_join_and_padding_counts_once(tmp_path):
    scores, labels = np.eye(5)[[0, 1, 2, 3]], [0, 1, 2, 4]
    score_lines(tmp_path / "results.txt.rank0", scores, labels, order=[0, 2])
    score_lines(tmp_path / "results.txt.rank1", scores, labels, order=[1, 3, 0])
    assert ImageNetEvaluator().eval(tmp_path / "results.txt")["top1"] == 75
    (tmp_path / "results.txt.rank3").write_text("")
    with pytest.raises(RecordError, match=r"\.rank2 is missing"):
        ImageNetEvaluator().eval(tmp_path / "results.txt")


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
    assert ImageNetAEvaluator(masked=False).eval(path)["top1"] == 0


def test_imagenet_a_from_the_originals_lists(tmp_path):
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


def test_imagenet_a_from_our_file(tmp_path):
    path = write(tmp_path / "a", ["clean"], [[0], [1]], confidence=0.75, options={"masked": True})
    assert ImageNetAEvaluator().eval(path)["rms_calibration_error"] == pytest.approx(25)
    with pytest.raises(RecordError, match="was made with masked: true"):
        ImageNetAEvaluator(masked=False).eval(path)


def test_imagenet_c_names_its_numbers_apart(tmp_path):
    names = list(alexnet_corruption_errors())
    cells = [f"{name}/{severity}" for name in names for severity in range(1, 6)]
    ranks = [[0] * len(cells), [1] * 75 + [0] * 20]
    result = ImageNetCEvaluator().eval(write(tmp_path / "c", cells, ranks))
    assert result["mean_error_15"] == 50
    assert result["mean_error_19"] == pytest.approx(50 * 75 / 95)
    expected = np.mean([0.5 / np.mean(alexnet_corruption_errors()[name]) for name in names[:15]])
    assert result["mCE"] == pytest.approx(100 * expected)
    table = result.summary.tables["top1"]
    assert table["fog"]["3"].value == 50
    assert table["saturate"]["CE"].value == 0
    partial = ImageNetCEvaluator().eval(write(tmp_path / "p", cells[:10], [row[:10] for row in ranks]))
    assert list(partial) == ["mean_error_of_these_cells"]


def test_mce_of_files_with_alexnets_errors(tmp_path):
    """1,000 images on which each cell is wrong as often as AlexNet: mCE 100 but for the rounding to 1/1000."""
    errors = alexnet_corruption_errors()
    names = list(errors)[:15]
    cells = [f"{name}/{s + 1}" for name in names for s in range(5)]
    wrong = np.array([round(1000 * errors[name][s]) for name in names for s in range(5)])
    ranks = (np.arange(1000)[:, None] < wrong[None]).astype(int).tolist()
    result = ImageNetCEvaluator().eval(write(tmp_path / "c", cells, ranks))
    assert result["mCE"] == pytest.approx(100, abs=0.02)


def test_ar_and_wcar(tmp_path):
    cells = ["clean", "fgsm/8/255", "pgd_linf/8/255", "pgd_l2/8"]
    ranks = [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0]]
    path = write(tmp_path / "adv", cells, ranks)
    result = AdvRobustEvaluator().eval(path)
    assert result["AR/fgsm/8/255"] == pytest.approx(200 / 3)
    assert result["AR/pgd_linf/8/255"] == pytest.approx(100 / 3)
    from RobustART.metrics.summaries import adversarial
    from RobustART.records import read_records

    tables = adversarial(read_records(path)).tables
    assert tables["robust_accuracy"]["fgsm"]["8/255"].value == 75
    assert list(tables["WCAR"]) == ["all 2 Linf attacks"]
    assert tables["WCAR"]["all 2 Linf attacks"]["8/255"].value == pytest.approx(100 / 3)


def test_undefined_ar_has_its_reason(tmp_path):
    result = AdvRobustEvaluator().eval(write(tmp_path / "adv", ["clean", "fgsm/8/255"], [[1, 0], [2, 0]]))
    with pytest.raises(UndefinedError, match="no image is classified right when clean"):
        _ = result["AR/fgsm/8/255"]
    assert "undefined" in str(result)


def test_imagenet_s_by_hand(tmp_path):
    cells = ["pil/pil-bilinear", "ffmpeg/pil-bilinear", "pil/pil-box"]
    ranks = [[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 3]]
    result = ImageNetSEvaluator().eval(write(tmp_path / "s", cells, ranks))
    assert result["mean_top1"] == pytest.approx((100 + 75 + 25) / 3)
    assert result["std_top1"] == pytest.approx(np.std([100, 75, 25]))
    assert result["worst_top1"] == 25


def test_imagenet_s_from_the_originals_score_lines(tmp_path):
    scores = np.eye(4)
    files = [
        score_lines(tmp_path / f"{i}.txt.all", scores, labels) for i, labels in enumerate(([0, 1, 2, 3], [0, 1, 0, 0]))
    ]
    result = ImageNetSEvaluator().eval(files)
    assert dict(result) == {"mean_top1": 75, "std_top1": 25, "worst_top1": 50}
    with pytest.raises(RecordError, match="two result files or more are needed, got 1"):
        ImageNetSEvaluator().eval(files[:1])
    with pytest.raises(RecordError, match="give a list, one for each"):
        ImageNetSEvaluator().eval(files[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json\n", "line 1 of .* is not JSON"),
        ("[1]\n", "must be a JSON object"),
        ('{"label": 1}\n', "needs 'score'"),
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


def test_a_file_of_another_benchmark_is_refused(tmp_path):
    path = write(tmp_path / "a", ["stored"], [[0]])
    for evaluator, name in (
        (ImageNetCEvaluator, "imagenet_c"), (ImageNetPEvaluator, "imagenet_p"), (ImageNetSEvaluator, "imagenet_s"),
        (AdvRobustEvaluator, "adversarial"), (ImageNetOEvaluator, "imagenet_o"),
    ):  # fmt: skip
        with pytest.raises(RecordError, match=f"is of the benchmark imagenet_a, but this evaluator reads {name}"):
            evaluator().eval(path)
