"""Published numbers: checks that can fail, and reasons for what cannot be checked."""

import dataclasses
import json

import numpy as np
import pytest

from RobustART.cli import main
from RobustART.errors import ConfigError
from RobustART.metrics import published
from RobustART.metrics.baselines import alexnet_corruption_errors
from RobustART.metrics.published import FAIL, PASS, SKIPPED, Row, check_runs, packaged_checks, published_rows
from RobustART.metrics.runs import read_run
from RobustART.metrics.summaries import SUMMARIES
from tests.metrics.conftest import write_records

ROW = Row("net.tag", "net", "", "clean", "top1", 75.0, 0.5, 4, ("input_size=224",), "imagenet", "a paper")


def one_run(folder, ranks=((0,), (0,), (0,), (1,)), source="timm:net.tag", size=224, benchmark="clean", options=None):
    conditions = {
        "model": {"source": source, "arguments": {}, "weights": "w"}, "preprocessing": {"input_size": size},
        "data": [{"name": "val"}],
    }  # fmt: skip
    path = folder / "results" / f"{benchmark}.jsonl"
    write_records(path, benchmark, [("", ["clean"], np.array(ranks), {})], conditions=conditions, options=options)
    return folder


def statuses(runs, row=ROW, claimed=None):
    checks = check_runs([(read_run(run), claimed) for run in runs], rows=[row])
    return [(check.status, check.value) for check in checks], checks[-1].reason


def test_published_errors_give_the_published_scores():
    checks = {check.what: check for check in packaged_checks()}
    assert len(checks) == 2 + 15 + 15 + 2
    assert all(check.status == PASS for check in checks.values())
    assert checks["AlexNet, mCE of its own errors"].value == pytest.approx(100)
    assert checks["ResNet-50, mCE"].value == pytest.approx(76.70, abs=0.005)


def test_a_wrong_table_fails(monkeypatch):
    """A single digit of AlexNet's errors: the denominators and ResNet-50's scores are off."""
    errors = {name: list(values) for name, values in alexnet_corruption_errors().items()}
    errors["fog"][2] += 0.01
    monkeypatch.setattr(published, "alexnet_corruption_errors", lambda: errors)
    failed = [check.what for check in packaged_checks() if check.status == FAIL]
    assert failed == ["AlexNet, mean error of fog", "ResNet-50, CE of fog", "ResNet-50, mCE"]


def test_every_row_names_a_benchmark_and_a_source():
    rows = published_rows()
    assert len({(row.model, row.benchmark, row.metric, row.source) for row in rows}) == len(rows)
    for row in rows:
        assert row.benchmark in SUMMARIES
        assert row.source
        assert 0 < row.value <= 100
        assert 0 <= row.tolerance <= 0.3


def test_a_run_passes_or_fails_by_its_value(tmp_path):
    assert statuses([one_run(tmp_path / "a")]) == ([(PASS, 75.0)], str(tmp_path / "a"))
    off = dataclasses.replace(ROW, value=75.6)
    assert statuses([tmp_path / "a"], off)[0] == [(FAIL, 75.0)]
    close = dataclasses.replace(ROW, value=75.4)
    assert statuses([tmp_path / "a"], close)[0] == [(PASS, 75.0)]


@pytest.mark.parametrize(
    ("run", "row", "reason"),
    [
        ({"ranks": [[0]] * 3}, {}, "is of 3 images, the published number of 4"),
        ({"size": 288}, {}, "has input_size 288, the published number 224"),
        (
            {"options": {"masked": False}},
            {"conditions": ("masked=true",)},
            "has masked false, the published number true",
        ),
        ({"options": {"root_dir": None}}, {"conditions": ("files",)}, "was corrupted on the fly"),
        ({}, {"conditions": ("data=foolbox_photos",)}, "has data val, the published number foolbox_photos"),
        ({}, {"metric": "mFR"}, "has no mFR; it is over AlexNet's result file"),
    ],
)
def test_another_protocol_is_not_checked_and_says_why(tmp_path, run, row, reason):
    found, why = statuses([one_run(tmp_path / "a", **run)], dataclasses.replace(ROW, **row))
    assert found == [(SKIPPED, None)]
    assert reason in why


def test_who_a_run_is_of(tmp_path):
    other = one_run(tmp_path / "a", source="my_models:build")
    found, why = statuses([other])
    assert found == [(SKIPPED, None), (SKIPPED, None)]
    assert why == "no run of it on clean was given"
    assert statuses([other], claimed="net.tag")[0] == [(PASS, 75.0)]
    with pytest.raises(ConfigError, match="no published number is of 'net.tga'; did you mean 'net.tag'"):
        statuses([other], claimed="net.tga")


def test_command_without_data(tmp_path, capsys):
    path = tmp_path / "checks.json"
    assert main(["verify", "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "pass         ResNet-50, mCE; 76.69" in printed
    assert "game-of-noise" in printed
    assert "resnet50.tv_in1k, imagenet_c, mCE; published 76.7 +- 0.15" in printed
    assert "no run of it on imagenet_c was given" in printed
    checks = json.loads(path.read_text())
    assert {check["status"] for check in checks} == {PASS, SKIPPED}


def test_command_fails_by_its_exit_status(tmp_path, capsys):
    """50,000 images of which 70 % are right are not the published 76.16."""
    run = one_run(tmp_path / "a", source="timm:resnet50.tv_in1k")
    path = run / "results" / "clean.jsonl"
    header, line = path.read_text().splitlines()[:2]
    lines = [line.replace('"id": 0,', f'"id": {i},').replace("[0]", f"[{int(i >= 35000)}]") for i in range(50000)]
    path.write_text("\n".join([header.replace('"ids": 4', '"ids": 50000'), *lines]) + "\n")
    assert main(["verify", str(run)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL         resnet50.tv_in1k, clean, top1; 70.0000; published 76.13 +- 0.1" in printed
    few = one_run(tmp_path / "b", source="timm:resnet50.tv_in1k")
    assert main(["verify", str(few)]) == 0
    assert "is of 4 images, the published number of 50000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "resnet50.tv_in1k"], "--as says whose weights runs are of; name the runs"),
        (["--weights", "a=b"], "are for --run DIR"),
        (["--run", "x", "--weights", "a"], "--weights takes NAME=PLACE"),
        (["--run", "x", "--data", "imagnet=b"], "no published number is of 'imagnet'; did you mean 'imagenet'"),
        (["nothing"], "there is no run nothing"),
    ],
)
def test_what_the_command_refuses(arguments, message, capsys):
    assert main(["verify", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_models_are_evaluated_where_weights_and_images_are_here(tmp_path, capsys):
    """EfficientNet-Lite0 on the 20 photos: 18 right, as by the weights' own implementation."""
    missing = ["--weights", f"resnet18.tv_in1k={tmp_path / 'none.pth'}", "--data", f"imagenet={tmp_path}"]
    assert main(["verify", "--run", str(tmp_path / "runs"), *missing]) == 0
    printed = capsys.readouterr().out
    assert "pass         tf_efficientnet_lite0, clean, top1; 90.0000" in printed
    assert "its weights are not here (--weights resnet50.tv_in1k=FILE)" in printed
    assert "its images are not here (--data imagenet_a=FOLDER)" in printed
    assert f"there is no weights file {tmp_path / 'none.pth'}" in printed
    assert "no library here builds this model" in printed
