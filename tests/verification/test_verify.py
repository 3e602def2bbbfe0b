"""Published numbers: checks that can fail, and reasons for what cannot be checked."""

import dataclasses
import json

import numpy as np
import pytest

from RobustART.benchmarks import BENCHMARKS
from RobustART.cli import main
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.baselines import alexnet_corruption_errors
from RobustART.metrics.reading import read_result
from RobustART.metrics.runs import read_run
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from RobustART.records.lines import read_records
from RobustART.verification import published_numbers as published
from RobustART.verification.protocols import read_list, unmet
from RobustART.verification.published_numbers import (
    FAIL,
    PASS,
    SKIPPED,
    Row,
    check_runs,
    packaged_checks,
    published_rows,
)
from tests.metrics.conftest import write_records

ROW = Row(
    "net.tag",
    "net",
    "",
    "clean",
    "top1",
    75.0,
    0.5,
    ("images=4", "preprocessing.input_size=224"),
    "imagenet",
    "a paper",
)


PUBLISHED = {
    "input_size": 224, "resize": 256, "interpolation": "bilinear", "crop_mode": "center", "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}  # fmt: skip
RANKS = ((0,), (0,), (0,), (1,))


def one_run(
    folder, ranks=RANKS, source="timm:net.tag", benchmark="clean", options=None, attacks=None, cells=("clean",),
    stated=True, **other
):  # fmt: skip
    """A run of which ``other`` are fields of preprocessing; not ``stated`` are how photos are read, and precision."""
    conditions = {
        "model": {"source": source, "arguments": {}, "weights": "w"}, "preprocessing": {**PUBLISHED, **other},
        "data": [{"name": "val", **({"decoder": "pil", "exif_orientation": False} if stated else {})}],
        **({"precision": "float32"} if stated else {}),
    }  # fmt: skip
    path = folder / "results" / f"{benchmark}.jsonl"
    passes = [("", cells, np.array(ranks), {})]
    write_records(path, benchmark, passes, conditions=conditions, options=options, attacks=attacks)
    return folder


def whole_set(folder, wrong, images=50000, classes=1000):
    """A run on as many images as ImageNet's validation set has, of which the first ``wrong`` are not right."""
    run = one_run(folder, ranks=((0,),), source="timm:resnet50.tv_in1k")
    path = run / "results" / "clean.jsonl"
    header, line = path.read_text().splitlines()
    line = line.replace('"id": 0, "file": "0.png", "label": 0', '"id": %d, "file": "%s", "label": %d')
    line = line.replace('"prediction": [0]', '"prediction": [%d]').replace('"label_rank": [0]', '"label_rank": [%d]')
    assert line.count("%") == 5
    lines = [
        line % (i, f"ILSVRC2012_val_{i + 1:08d}.JPEG", i % classes, (i + (i < wrong)) % classes, i < wrong)
        for i in range(images)
    ]
    path.write_text("\n".join([header.replace('"ids": 1', f'"ids": {images}'), *lines]) + "\n")
    return run


def statuses(runs, row=ROW, claimed=None):
    checks = check_runs([(read_run(run), claimed) for run in runs], rows=[row])
    return [(check.status, check.value) for check in checks], checks[-1].reason


def test_published_errors_give_the_published_scores():
    checks = {check.what: check for check in packaged_checks()}
    assert len(checks) == 2 + 15 + 15 + 2
    assert all(check.status == PASS for check in checks.values())
    assert checks["AlexNet, mCE of its errors"].value == pytest.approx(100)
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
        assert row.benchmark in BENCHMARKS
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
        ({"input_size": 288}, {}, "has input_size 288, the published number 224"),
        (
            {"interpolation": "bicubic"},
            {"conditions": ("preprocessing.interpolation=bilinear",)},
            "has interpolation bicubic",
        ),
        ({"mean": [0.5] * 3}, {"conditions": ("preprocessing.mean=0.485,0.456,0.406",)}, "has mean 0.5,0.5,0.5"),
        (
            {"options": {"masked": False}},
            {"conditions": ("options.masked=true",)},
            "has masked false, the published number true",
        ),
        ({"options": {"root_dir": None}}, {"conditions": ("files",)}, "was made on the fly"),
        (
            {},
            {"conditions": ("data.name=foolbox_photos",)},
            "has data.name val, the published number foolbox_photos",
        ),
        ({}, {"conditions": ("data.fingerprint=12",)}, "has data.fingerprint none, the published number 12"),
        ({"stated": False}, {"conditions": ("data.decoder=pil",)}, "has data.decoder none, the published number pil"),
        ({"stated": False}, {"conditions": ("precision=float32",)}, "has precision none, the published number float32"),
        ({}, {"conditions": ("classes=2",)}, "is of 1 classes, the published number of 2"),
        ({}, {"conditions": ("each=2",)}, "does not have 2 images of each class"),
        ({}, {"conditions": ("labels=imagenet_a",)}, "has images of class 0, which imagenet_a does not have"),
        ({}, {"conditions": ("list=imagenet_val",)}, "is not of the files ILSVRC2012_val_00000001 to"),
        ({}, {"conditions": ("list=robustbench",)}, "give it by --list robustbench=FILE"),
        ({}, {"metric": "mFR"}, "has no mFR"),
    ],
)
def test_another_protocol_is_not_checked_and_says_why(tmp_path, run, row, reason):
    found, why = statuses([one_run(tmp_path / "a", **run)], dataclasses.replace(ROW, **row))
    assert found == [(SKIPPED, None)]
    assert reason in why


STANDARD = {"eps": 4 / 255, "version": "standard", "stop": "first", "checks": True}
ROBUST = "robust_accuracy/autoattack_linf/4/255"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (STANDARD, ""),
        ({**STANDARD, "stage_options": {}, "stop": None, "checks": False}, ""),
        ({**STANDARD, "version": "rand"}, "has version of autoattack_linf/4/255 rand, the published number standard"),
        ({**STANDARD, "version": "custom", "attacks": ["apgd_ce"]}, "has version of autoattack_linf/4/255 custom"),
        (
            {**STANDARD, "attacks": ["apgd_ce"]},
            "has attacks of autoattack_linf/4/255 apgd_ce, the published number none",
        ),
        ({**STANDARD, "stage_options": {"square": {"steps": 5}}}, "has stage_options of autoattack_linf/4/255"),
        ({**STANDARD, "amp": "bf16"}, "has amp of autoattack_linf/4/255 bf16"),
        ({**STANDARD, "eps": 3 / 255}, "has eps 0.0117647"),
        (None, "does not state the settings of autoattack_linf/4/255"),
    ],
)
def test_robust_accuracy_is_that_of_the_standard_attack_alone(tmp_path, settings, reason):
    """Three of four images stand; the row demands AutoAttack as RobustBench runs it."""
    (row,) = [row for row in published_rows() if (row.model, row.metric) == ("Salman2020Do_R50", ROBUST)]
    attack = tuple(text for text in row.conditions if text.startswith("attack."))
    assert attack
    cells, attacks = ("clean", "autoattack_linf/4/255"), {} if settings is None else {"autoattack_linf/4/255": settings}
    run = one_run(tmp_path / "a", [[0, 0]] * 3 + [[0, 1]], benchmark="adversarial", cells=cells, attacks=attacks)
    row = dataclasses.replace(row, model="net.tag", value=75.0, conditions=attack)
    found, why = statuses([run], row)
    assert found == [(SKIPPED, None) if reason else (PASS, 75.0)]
    assert reason in why


def videos(folder, predictions, preprocess="crop"):
    """A run of ImageNet-P on one video: the classes of its frames, the same under each perturbation."""
    frames = [f"{name}/{t}" for name in SCORED_PERTURBATIONS for t in range(len(predictions))]
    ranks = np.tile(predictions, (1, len(SCORED_PERTURBATIONS)))
    shape = (1, ranks.shape[1])
    rolled = np.array([np.roll(np.arange(5), t % len(predictions)) for t in range(shape[1])])
    more = {"top5": rolled[None], "zipf": np.ones(shape)}
    conditions = {"model": {"source": "timm:net.tag", "arguments": {}, "weights": "w"}, "data": [{"name": "val"}]}
    path = folder / "results" / "imagenet_p.jsonl"
    options = {"difficulty": 1, "preprocess": preprocess}
    write_records(path, "imagenet_p", [("", frames, ranks, more)], conditions=conditions, options=options)
    return path


def test_ratios_over_alexnet_need_its_result(tmp_path, capsys):
    """0 1 1 1 changes once in three steps (as against the first frame: three times), 0 1 0 1 thrice (and twice)."""
    own, other = videos(tmp_path / "own", [0, 1, 1, 1]), videos(tmp_path / "other", [0, 1, 0, 1])
    expected = 100 * (8 * (1 / 3) + 2 * (3 / 2)) / 10
    row = dataclasses.replace(ROW, benchmark="imagenet_p", metric="mFR", value=expected, conditions=("images=1",))
    runs = [(read_run(own), None)]
    (check,) = check_runs(runs, rows=[row], baseline=read_result(other))
    assert (check.status, check.value) == (PASS, pytest.approx(expected))
    (check,) = check_runs(runs, rows=[row], baseline=read_result(own))  # over itself
    assert (check.status, check.value) == (FAIL, 100)
    stricter = dataclasses.replace(row, conditions=("options.preprocess=squash",))
    squashed = read_result(videos(tmp_path / "squashed", [0, 1, 0, 1], "squash"))
    (check,) = check_runs(runs, rows=[stricter])
    assert (check.status, check.reason.rpartition(" has ")[2]) == (
        SKIPPED,
        "preprocess crop, the published number squash",
    )
    with pytest.raises(RecordError, match="the baseline of imagenet_p has preprocess squash, but the result has crop"):
        check_runs(runs, rows=[row], baseline=squashed)
    assert main(["score", str(own), "--baseline", str(other)]) == 0
    assert f"mFR              {expected:.2f}"[:10] in capsys.readouterr().out
    clean = one_run(tmp_path / "clean") / "results" / "clean.jsonl"
    for arguments, message in (
        (["score", str(own), "--baseline", "none"], "there is no result file none, which --baseline names"),
        (["verify", "--baseline", str(clean)], "--baseline takes a result of imagenet_p, got "),
        (
            ["score", str(clean), "--baseline", str(other)],
            "--baseline is for results of imagenet_p, and no file given is one",
        ),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_the_images_are_those_of_the_list(tmp_path, capsys):
    row = dataclasses.replace(ROW, conditions=("images=4", "list=robustbench"))
    run = read_run(one_run(tmp_path / "a"))
    right, wrong = tmp_path / "right.txt", tmp_path / "wrong.txt"
    right.write_text("".join(f"val/n01440764/{i}.JPEG 0\n" for i in range(4)))
    wrong.write_text("".join(f"val/n01440764/{i}.JPEG 0\n" for i in range(2, 6)))
    (check,) = check_runs([(run, None)], rows=[row], lists={"robustbench": read_list(right)})
    assert check.status == PASS
    (check,) = check_runs([(run, None)], rows=[row], lists={"robustbench": read_list(wrong)})
    assert (check.status, check.value) == (SKIPPED, None)
    assert "is not of the images in the list robustbench: 2 of 4 are missing" in check.reason
    assert main(["verify", str(tmp_path / "a"), "--list", f"robustbench={right}"]) == 0
    capsys.readouterr()
    for given, message in (("robustbnch=x", "did you mean 'robustbench'"), ("robustbench=none", "cannot read none")):
        assert main(["verify", "--list", given]) == 2
        assert message in capsys.readouterr().err


def test_every_row_demands_images_and_preprocessing(tmp_path):
    """Nothing passes by its value alone; each condition is one that is understood."""
    records = read_records(one_run(tmp_path / "a") / "results" / "clean.jsonl")
    for row in published_rows():
        names = {text.partition("=")[0] for text in row.conditions}
        assert {"images", "preprocessing.crop_mode", "preprocessing.mean", "preprocessing.std"} <= names, row
        assert names & {"list", "each", "labels", "classes", "data.fingerprint"}, row
        assert {"data.decoder", "data.exif_orientation", "precision"} <= names, row
        if "autoattack" in row.metric:
            assert {"attack.version", "attack.eps", "attack.attacks", "attack.stage_options"} <= names
        for text in row.conditions:
            unmet([text], records, row.metric, {})


def test_preprocessing_of_the_rows_is_that_of_the_weights():
    """timm's own statement of its weights is the judge."""
    import timm

    compared = 0
    for row in published_rows():
        if row.builder:
            cfg = timm.get_pretrained_cfg(row.builder)
            said = dict(text.split("=") for text in row.conditions if text.startswith("preprocessing."))
            assert said["preprocessing.mean"] == ",".join(f"{v:g}" for v in cfg.mean), row
            assert said["preprocessing.std"] == ",".join(f"{v:g}" for v in cfg.std), row
            if "preprocessing.resize" in said:
                assert int(said["preprocessing.resize"]) == int(cfg.input_size[-1] / cfg.crop_pct), row
                assert said["preprocessing.interpolation"] == cfg.interpolation, row
                compared += 1
    assert compared > 40


def test_who_a_run_is_of(tmp_path):
    other = one_run(tmp_path / "a", source="my_models:build")
    found, why = statuses([other])
    assert found == [(SKIPPED, None), (SKIPPED, None)]
    assert why == "no run of it on clean was given"
    assert statuses([other], claimed="net.tag")[0] == [(PASS, 75.0)]
    with pytest.raises(ConfigError, match="there is no published number of 'net.tga'; did you mean 'net.tag'"):
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
    """50,000 images of which 70 % are right are not the published 76.16; few images are not checked."""
    assert main(["verify", str(whole_set(tmp_path / "a", 15000))]) == 1
    printed = capsys.readouterr().out
    assert "FAIL         resnet50.tv_in1k, clean, top1; 70.0000; published 76.13 +- 0.1" in printed
    assert (
        main(["verify", str(whole_set(tmp_path / "b", 11920))]) == 1
    )  # 76.16; all are in the top 5, which is not 92.86
    assert "pass         resnet50.tv_in1k, clean, top1; 76.1600; published 76.16 +- 0.15" in capsys.readouterr().out
    assert main(["verify", str(whole_set(tmp_path / "c", 1, images=4, classes=4))]) == 0
    printed = capsys.readouterr().out
    assert "is of 4 images, the published number of 50000" in printed
    assert "pass         resnet50.tv_in1k, clean" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "resnet50.tv_in1k"], "--as says whose weights runs are of; name the runs"),
        (["--weights", "a=b"], "are for --run DIR"),
        (["--run", "x", "--weights", "a"], "--weights takes NAME=PLACE"),
        (["--run", "x", "--data", "imagnet=b"], "there is no published number of 'imagnet'; did you mean 'imagenet'"),
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
    assert "its weights are missing (--weights resnet50.tv_in1k=FILE)" in printed
    assert "its images are missing (--data imagenet_a=FOLDER)" in printed
    assert f"there is no weights file {tmp_path / 'none.pth'}" in printed
    assert "no supported library builds this model" in printed
