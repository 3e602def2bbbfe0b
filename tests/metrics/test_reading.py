"""Result files of ours by what their benchmark needs: one cell, cells that there are, one model; anything else is refused."""

import json

import numpy as np
import pytest

from RobustART.benchmarks import Companions, imagenet_c
from RobustART.cli import main
from RobustART.errors import RecordError
from RobustART.metrics import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
)
from RobustART.metrics.corruption import SCORED
from RobustART.metrics.reading import read_result
from RobustART.metrics.runs import read_run
from tests.metrics.conftest import write_records

ALL = [f"{name}/{severity}" for name in SCORED for severity in range(1, 6)]


def one(path, benchmark, cells, **more):
    """A result file of one pass of four images, half of them right."""
    return write_records(path, benchmark, [("", cells, [[i % 2] * len(cells) for i in range(4)], {})], **more)


@pytest.mark.parametrize(
    ("benchmark", "cells", "message"),
    [
        (
            "imagenet_c",
            ["fog/1", "fog/2"],
            "has 2 in 1 pass: fog/1, fog/2; ImageNetCEvaluator takes files of imagenet_c",
        ),
        ("imagenet_s", ["pil/a", "pil/b"], "has 2 in 1 pass: pil/a, pil/b; ImageNetSEvaluator takes"),
        (
            "adversarial",
            ["clean", "fgsm/1", "fgsm/2", "fgsm/3"],
            "has 4 in .* clean, fgsm/1, fgsm/2, ...; AdvRobustEval",
        ),
        ("transfer", ["clean", "clean@b"], "has 2 in 1 pass: clean, clean@b; the command `robustart score` takes"),
        ("mine", ["a", "b"], "has 2 in 1 pass: a, b; the command `robustart score` takes files of mine"),
    ],
)
def test_top_k_is_of_files_of_one_cell(tmp_path, benchmark, cells, message):
    """The first column was taken for the whole: of ImageNet-C the mildest noise."""
    path = one(tmp_path / "r", benchmark, cells, models={"clean@b": [None, "b"]} if benchmark == "transfer" else None)
    with pytest.raises(RecordError, match=f"as input of ImageNetEvaluator, must have one cell, but {message}"):
        ImageNetEvaluator().eval(path)
    assert ImageNetEvaluator().eval(one(tmp_path / "fog", "imagenet_c", ["fog/3"]))["top1"] == 50


def test_other_evaluators_take_no_file_by_its_first_column_either(tmp_path):
    with pytest.raises(RecordError, match="imagenet_a, must have one cell, but has 2 in 1 pass: stored, other"):
        ImageNetAEvaluator().eval(one(tmp_path / "a", "imagenet_a", ["stored", "other"], options={"masked": True}))
    path = one(tmp_path / "c", "imagenet_c", ALL)
    with pytest.raises(RecordError, match="clean, must have one cell, but has 2"):
        ImageNetCEvaluator().eval(path, clean=one(tmp_path / "clean", "clean", ["clean", "fog/1"]))
    kinds = [(kind, ["stored", "other"], [[0, 0]], {}) for kind in ("known", "unknown")]
    with pytest.raises(RecordError, match="needs the passes 'known' and 'unknown', of one cell each, but has"):
        ImageNetOEvaluator().eval(write_records(tmp_path / "o", "imagenet_o", kinds))
    with pytest.raises(RecordError, match="must have one cell, but has 2"):
        read_result(one(tmp_path / "r", "imagenet_r", ["stored", "other"]))


@pytest.mark.parametrize(
    ("benchmark", "cells", "message"),
    [
        ("imagenet_c", ["snow/1", "snow/9"], "has a cell 'snow/9'; allowed are corruption/severity, from 1 to 5"),
        ("imagenet_c", ["foo"], "has a cell 'foo'; allowed are corruption/severity"),
        ("cifar_c", ["snow/"], "has a cell 'snow/'; allowed are corruption/severity"),
        ("imagenet_c_bar", ["/1"], "has a cell '/1'; allowed are corruption/severity"),
        ("imagenet_3dcc", ["fog_3d/1", "fog_3d/1"], "names the cell 'fog_3d/1' twice"),
        ("adversarial", ["fgsm/8/255"], "have no cell 'clean'"),
        ("adversarial", ["clean", "fgsm"], "has a cell 'fgsm'; allowed are 'clean' and attack/radius, such as"),
        ("adversarial", ["clean", "fgsm/0/0"], "has a cell 'fgsm/0/0'; allowed"),
        ("adversarial", ["clean", "fgsm/nan"], "has a cell 'fgsm/nan'; allowed"),
        ("adversarial", ["clean", "fgsm/-1"], "has a cell 'fgsm/-1'; allowed"),
        ("imagenet_p", ["foo/0", "foo/1"], "has a cell 'foo/0'; perturbations are gaussian_noise, "),
        ("imagenet_p", ["snow/0", "snow/2"], "must have the frames of snow in order from 0, but has"),
        ("imagenet_p", ["snow/0"], "has 1 frames of snow, too few for the difficulty 1"),
        ("imagenet_p", ["snow/0", "snow/1"], "needs 'top5' in 'extra', of 3 dimensions, got none"),
        ("imagenet_o", ["stored"], "needs the passes 'known' and 'unknown'"),
        ("transfer", ["clean", "other"], "the cells 'clean' and 'other' at the same coordinates {'target': 'model'}"),
        ("transfer", ["fgsm/1 a>b"], "has no cell without an attack for the model a of 'fgsm/1 a>b'"),
    ],
)
def test_cells_that_no_benchmark_has(tmp_path, benchmark, cells, message):
    more = {"attacks": {"fgsm/1 a>b": {}}, "models": {"fgsm/1 a>b": ["a", "b"]}} if "fgsm/1 a>b" in cells else {}
    with pytest.raises(RecordError, match=message):
        read_result(one(tmp_path / "r", benchmark, cells, **more))


def test_passes_of_which_there_can_be_one(tmp_path):
    for benchmark in ("imagenet_c", "imagenet_s", "adversarial", "transfer"):
        passes = [(name, ["clean"], [[0]], {}) for name in "ab"]
        with pytest.raises(RecordError, match="must have one pass, but has 2"):
            read_result(write_records(tmp_path / "r", benchmark, passes))
    more = {"top5": np.zeros((1, 2, 5)), "zipf": np.zeros((1, 2))}
    passes = [(name, ["snow/0", "snow/1"], [[0, 0]], more) for name in "ab"]
    with pytest.raises(RecordError, match="has snow in two passes"):
        read_result(write_records(tmp_path / "r", "imagenet_p", passes))
    for difficulty in (0, 4, "2", True):
        with pytest.raises(RecordError, match="has the option difficulty .*; allowed are 1, 2, 3"):
            read_result(write_records(tmp_path / "r", "imagenet_p", passes[:1], options={"difficulty": difficulty}))
    flat = [("", ["snow/0", "snow/1"], [[0, 0]], {**more, "top5": np.zeros((1, 2))})]
    with pytest.raises(RecordError, match=r"needs 'top5' in 'extra', of 3 dimensions, got numbers of shape \(1, 2\)"):
        ImageNetPEvaluator().eval(write_records(tmp_path / "r", "imagenet_p", flat))
    for key, value in (("zipf", -0.1), ("zipf", 2.1), ("top5", -1)):
        other = {**more, key: np.full_like(more[key], value)}
        with pytest.raises(RecordError, match=f"has for image 0 in 'extra' '{key}' a number outside 0 to 2"):
            read_result(write_records(tmp_path / "r", "imagenet_p", [("", ["snow/0", "snow/1"], [[0, 0]], other)]))
    far = [("", ["pil/a", "pil/b"], [[0, 0]], {"pixel_difference": [[0, 1e308]]})]
    with pytest.raises(RecordError, match="has for image 0 in 'extra' 'pixel_difference' a number outside 0 to 255"):
        ImageNetSEvaluator().eval(write_records(tmp_path / "r", "imagenet_s", far))
    deep = [("", ["pil/a", "pil/b"], [[0, 0]], {"pixel_difference": np.zeros((1, 2, 3))})]
    with pytest.raises(RecordError, match="needs 'pixel_difference' in 'extra', of 2 dimensions"):
        ImageNetSEvaluator().eval(write_records(tmp_path / "r", "imagenet_s", deep))


def test_relative_mce_is_of_one_model(tmp_path, capsys):
    """The clean errors of one model were taken from the noisy errors of another."""
    path = one(tmp_path / "imagenet_c.jsonl", "imagenet_c", ALL)
    other = {"model": {"source": "timm:b", "arguments": {}, "weights": "0"}}
    clean = one(tmp_path / "clean.jsonl", "clean", ["clean"], conditions=other)
    message = 'imagenet_c.jsonl and .*clean.jsonl are not of one model: model.source: "timm:a" -> "timm:b"'
    with pytest.raises(RecordError, match=message):
        ImageNetCEvaluator().eval(path, clean=clean)
    with pytest.raises(
        RecordError,
        match=message.replace("imagenet_c.jsonl and .*clean", "clean.jsonl and .*imagenet_c").replace(
            '"timm:a" -> "timm:b"', '"timm:b" -> "timm:a"'
        ),
    ):
        read_run(tmp_path)
    with pytest.raises(RecordError, match="the result file and the clean result file are not of one model"):
        imagenet_c.summarize(read_result(path), Companions({"clean": read_result(clean)}))
    # The command scores each model's files by themselves.
    assert main(["score", str(path), str(clean)]) == 0
    assert "relative_mCE" not in capsys.readouterr().out
    smaller = one(tmp_path / "clean.jsonl", "clean", ["clean"], conditions={"preprocessing": {"input_size": 192}})
    with pytest.raises(RecordError, match='are not of one model: preprocessing: null -> ."input_size": 192.'):
        ImageNetCEvaluator().eval(path, clean=smaller)
    assert main(["score", str(path), str(clean)]) == 0
    assert "relative_mCE" not in capsys.readouterr().out
    same = one(tmp_path / "clean.jsonl", "clean", ["clean"])
    assert "relative_mCE" in ImageNetCEvaluator().eval(path, clean=same)
    assert main(["score", str(path), str(same)]) == 0
    assert "relative_mCE" in capsys.readouterr().out


def test_damage_reaches_users_as_a_message(tmp_path, capsys):
    path = one(tmp_path / "r", "adversarial", ["clean", "fgsm/8/255"])
    header, *rows = path.read_text().splitlines(keepends=True)
    broken = json.loads(header)
    del broken["conditions"]["model"]
    path.write_text(json.dumps(broken) + "\n" + "".join(rows))
    with pytest.raises(RecordError, match="in 'conditions', needs 'model', an object, got none"):
        AdvRobustEvaluator().eval(path)
    sound = one(tmp_path / "sound", "adversarial", ["clean", "fgsm/8/255"])
    for command in ("score", "compare", "verify"):
        assert main([command, str(sound), str(path)]) == 2
        assert "error: the header of" in capsys.readouterr().err
