"""The command: alone, under torchrun, under Slurm's variables, killed and taken up again - always the same report."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from RobustART.config.filled import filled
from RobustART.config.loader import load_config
from RobustART.errors import ConfigError
from RobustART.models import build_model
from RobustART.training.cls_solver import main
from tests.config.test_config import ORIGINAL
from tests.conftest import ROOT, run_solver, solver_environ

BENCHMARKS = ("clean", "imagenet_c", "adversarial")


def outputs(folder, benchmarks=BENCHMARKS):
    """Returns everything a run wrote that must not differ, times apart."""
    results = folder / "results"
    report = json.loads((results / "report.json").read_text())
    assert set(report.pop("timing")) == {"wall_seconds", "images_computed", "images_per_second", "benchmarks"}
    return [(results / f"{name}.jsonl").read_bytes() for name in benchmarks], report


def alone(config, folder):
    done = run_solver(config, "--set", f"output_dir={folder}")
    assert done.returncode == 0, done.stderr
    return done


def run_under_slurm(config, folder):
    """Runs two tasks as srun would start them; returns the processes and their outputs."""
    command = [
        sys.executable,
        "-m",
        "RobustART.training.cls_solver",
        "--config",
        str(config),
        "--set",
        f"output_dir={folder}",
    ]
    tasks = []
    for rank in ("0", "1"):
        slurm = {"SLURM_PROCID": rank, "SLURM_NTASKS": "2", "SLURM_LOCALID": rank}
        slurm |= {"SLURM_NODELIST": "node[3-5,8]", "SLURM_JOB_ID": str(os.getpid())}
        environ = solver_environ(**slurm)
        tasks.append(subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return tasks, [task.communicate(timeout=120) for task in tasks]


def test_alone_then_again(small_config, tmp_path):
    first = alone(small_config, tmp_path / "a")
    assert "clean_accuracy" in first.stdout
    assert "gaussian_noise" in first.stdout
    assert "img/s" in first.stderr  # the progress bar has a rate
    before = outputs(tmp_path / "a")
    second = alone(small_config, tmp_path / "a")
    assert "12 of 12 images are recorded already" in second.stderr
    assert outputs(tmp_path / "a") == before
    assert json.loads((tmp_path / "a" / "results" / "report.json").read_text())["timing"]["images_computed"] == 36
    assert (tmp_path / "a" / "log.txt").read_text().count("INFO") > 1


def test_two_processes_by_torchrun_and_by_slurm(small_config, tmp_path):
    """AutoAttack too, whose stages are committed one by one."""
    short = "{apgd_ce: {steps: 3}, apgd_t: {steps: 3}, fab_t: {steps: 2}, square: {steps: 20}}"
    text = small_config.read_text()
    attacks = f"adversarial: {{attacks: [fgsm, {{autoattack_linf: {{stage_options: {short}}}}}], eps: [1/255, 8/255]}}"
    small_config.write_text(text.replace("adversarial: {attacks: [fgsm, pgd_linf], eps: [1/255, 8/255]}", attacks))
    assert small_config.read_text() != text
    alone(small_config, tmp_path / "one")
    assert "apgd_ce" in (tmp_path / "one" / "results" / "adversarial.jsonl").read_text()
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = run_solver(small_config, "--set", f"output_dir={tmp_path / 'two'}", launcher=torchrun)
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "two") == outputs(tmp_path / "one")
    tasks, texts = run_under_slurm(small_config, tmp_path / "slurm")
    assert [task.returncode for task in tasks] == [0, 0], texts
    assert texts[1][0] == ""  # only the main process prints
    assert outputs(tmp_path / "slurm") == outputs(tmp_path / "one")
    assert sorted(p.name for p in (tmp_path / "slurm" / "results").iterdir()) == sorted(
        [
            *(f"{name}.jsonl" for name in BENCHMARKS),
            "report.html",
            "report.json",
            "report.md",
            "run.json",
            "noise.png",
            "pictures",
        ]
    )


def test_error_in_one_process_ends_them_all(small_config, photo_folder, tmp_path):
    (photo_folder / "class_1" / "04.png").write_bytes(b"broken")  # image 5: the second block, process 1's
    tasks, texts = run_under_slurm(small_config, tmp_path / "slurm")
    assert [task.returncode for task in tasks] == [2, 2], texts
    assert "04.png cannot be decoded" in texts[1][1]
    assert "stops because another one ended" in texts[0][1]
    assert not any("Traceback" in error for _, error in texts)


def test_killed_and_taken_up_again(small_config, tmp_path, monkeypatch, capsys):
    small = ["evaluation.batch_size=1", "evaluation.benchmarks.adversarial=false"]
    small += ["evaluation.benchmarks.imagenet_c.severities=[1]"]
    small = [word for value in small for word in ("--set", value)]
    assert main(["--config", str(small_config), "--quiet", "--set", f"output_dir={tmp_path / 'whole'}", *small]) == 0
    folder = tmp_path / "killed"
    counts = tmp_path / "counts"
    command = [sys.executable, "-m", "RobustART.training.cls_solver", "--config", str(small_config), *small]
    command += ["--set", f"output_dir={folder}"]
    environ = solver_environ(SECONDS_PER_BATCH="0.25")
    task = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clean = folder / "results" / "clean.jsonl"
    for _ in range(1200):
        time.sleep(0.05)
        if clean.exists() and clean.read_bytes().count(b"\n") >= 5:
            break
    task.send_signal(signal.SIGKILL)
    task.wait()
    recorded = clean.read_bytes().count(b"\n") - 1
    assert 4 <= recorded < 12
    with open(clean, "ab") as file:
        file.write(b'{"id": 11, "file": "class')
    monkeypatch.setenv("COUNT_FILE", str(counts))
    capsys.readouterr()
    assert main(["--config", str(small_config), *small, "--set", f"output_dir={folder}"]) == 0
    assert f"{recorded} of 12 images are recorded already" in capsys.readouterr().err
    assert outputs(folder, BENCHMARKS[:2]) == outputs(tmp_path / "whole", BENCHMARKS[:2])
    # One image to ask for the number of classes, one to count operations, eight asked four times whether answers are steady,
    # what was left of clean, and two corruptions of all.
    assert sum(int(line) for line in counts.read_text().split()) == 2 + 4 * 8 + (12 - recorded) + 2 * 12


def test_other_config_is_refused_and_fresh_starts_over(small_config, tmp_path, capsys):
    assert main(["--config", str(small_config), "--quiet"]) == 0
    before = outputs(tmp_path)
    assert main(["--config", str(small_config), "--quiet", "--set", "evaluation.seed=1"]) == 2
    message = capsys.readouterr().err
    assert "clean.jsonl belongs to another config" in message
    assert "seed: 0 -> 1" in message
    assert outputs(tmp_path) == before
    assert main(["--config", str(small_config), "--quiet", "--set", "evaluation.seed=1", "--fresh"]) == 0
    assert outputs(tmp_path)[0] != before[0]


def test_check_prints_the_resolved_config_and_runs_nothing(small_config, tmp_path, capsys):
    assert main(["--config", str(small_config), "--check", "--set", "evaluation.limit=6"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "resolved.yaml").write_text(text)
    assert filled(load_config(tmp_path / "resolved.yaml")) == filled(load_config(small_config, ["evaluation.limit=6"]))
    assert not (tmp_path / "results").exists()
    assert (
        main(["--config", str(small_config), "--check", "--set", "evaluation.benchmarks.imagenet_c.severities=[9]"])
        == 2
    )
    assert "severities[0] must be an integer from 1 to 5, got 9" in capsys.readouterr().err
    assert main(["--config", str(small_config), "--check", "--set", "model.type=resnet55"]) == 2
    assert "unknown model 'resnet55'" in capsys.readouterr().err
    assert main(["--config", str(small_config), "--check", "--set", "model.weights=none.pth"]) == 2
    assert "there is no weights file none.pth" in capsys.readouterr().err


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    flags = (
        "--config FILE",
        "--evaluate",
        "--set KEY=VALUE",
        "--check",
        "--fresh",
        "--quiet",
        "--data DIR",
        "--trial [N]",
    )
    for flag in flags:
        assert flag in text.split("options:")[1]


@pytest.fixture
def original(tmp_path, own_model, photo_folder):
    """A config in the original's own words, but for the model and the folders."""
    text = ORIGINAL.replace("resnet50_official", f'"{own_model}:build"').replace("/images/val/", "photos")
    text = text.replace("/images/meta/val.txt", "val.txt").replace("num_classes: 1000", "classes: 3")
    text = text.replace("        bn: {use_sync_bn: False, kwargs: {}}\n", "").replace(
        "read_from: fake", "read_from: fs"
    )
    text = text.replace("input_size: 224", "input_size: 32").replace("test_resize: 256", "test_resize: 36")
    text = text.replace("pretrain: {path: checkpoints/ckpt.pth.tar, ", "pretrain: {")
    path = tmp_path / "config.yaml"
    path.write_text(text)
    lines = [f"class_{i % 3}/{i:02d}.png {i % 3}" for i in range(12)]
    (tmp_path / "val.txt").write_text("\n".join(lines))
    return path


def test_original_config_evaluates(original, tmp_path, capsys):
    assert main(["--config", str(original), "--evaluate"]) == 0
    captured = capsys.readouterr()
    assert "top1" in captured.out
    assert "data.use_dali is not used" in captured.err
    report = json.loads((tmp_path / "results" / "report.json").read_text())
    assert report["conditions"]["preprocessing"]["input_size"] == 32
    assert report["conditions"]["preprocessing"]["resize"] == 36


def test_original_config_trains(original, tmp_path, capsys):
    """The baseline recipe, but for two epochs of the pictures that are here."""
    short = ["data.train.root_dir=photos", "data.train.meta_file=val.txt", "data.num_workers=0", "data.batch_size=6"]
    short += ["lr_scheduler.kwargs.max_epoch=2", "lr_scheduler.kwargs.warmup_epoch=1", "saver.print_freq=1"]
    command = ["--config", str(original), *(word for value in short for word in ("--set", value))]
    ignore = ["--set", "saver.pretrain.ignore.key=[]"]
    assert main([*command, *ignore]) == 0
    captured = capsys.readouterr()
    assert "step 4/4" in captured.err
    assert "ema_top1" in captured.err
    rates = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [row["lr"] for row in rates if "lr" in row] == pytest.approx([0.1, 0.4, 0.2, 0.0])
    assert (tmp_path / "checkpoints" / "ckpt.pth.tar").is_file()
    assert main([*command[:2], "--set", "data.train=null"]) == 2
    assert "a training needs the sections data.train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.read_from=mc", "needs a server of the original's cluster"),
        ("data.test.sampler.type=distributed_iteration", "must be 'distributed'"),
        ("data.test.transforms.type=STANDARD", "must be {type: ONECROP}"),
        ("data.test.evaluator.type=imagenetc", "must be 'imagenet' or absent"),
        ("data.test.image_reader.type=ffmpg", "unknown decoder 'ffmpg'; did you mean 'ffmpeg'"),
        ("data.test.image_reader.kwargs={exif: 1}", "may hold exif_orientation"),
        ("data.test.imagenet_c=true", "val.txt must be JSON {group: {corruption: {severity: file}}}"),
        ("data.test.imagenet_a&o=true", "data.test.imagenet_a_root_dir must be the folder of the published files"),
        ('{"data": 1}', "--set takes"),
        ("eval_list=[a, b, a]", "eval_list names 'a' twice"),
        ("data.test.root_dir=$ROBUSTART_DATA/val", "data.test.root_dir is $ROBUSTART_DATA/val: say where the data are"),
        ("model.preprocessing.input_size=64", "set one of them"),
        ("saver.pretrain.path=none.pth", "there is no weights file none.pth"),
        ("data.test.root_dir=nowhere", "nowhere/class_0/00.png cannot be read"),
        ("evaluation.benchmarks={clean: 3}", "clean must be a mapping of options, or false, got 3"),
        ("evaluation.benchmarks={clean: false}", "benchmarks is empty"),
        ("evaluation={benchmarks: {clean: {}}, device: tpu}", "device must be auto, cpu"),
    ],
)
def test_values_that_cannot_be(original, capsys, override, message):
    assert main(["--config", str(original), "--evaluate", "--set", override]) == 2
    assert message in capsys.readouterr().err


def test_sections_that_are_missing(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text("evaluation: {benchmarks: {clean: {}}}\ndata: {test: {type: foolbox_photos}}")
    assert main(["--config", str(path)]) == 2
    assert "no section 'model'" in capsys.readouterr().err
    path.write_text("evaluation: {benchmarks: {clean: {}}}\nmodel: {type: resnet18}")
    assert main(["--config", str(path)]) == 2
    assert "the benchmark clean needs images: set data.test" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="the config file .* cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_quiet_shows_no_bars(small_config, capsys):
    assert main(["--config", str(small_config), "--quiet"]) == 0
    assert "img/s" not in capsys.readouterr().err


def test_arguments_of_ones_own_model_may_have_any_name(tmp_path, photo_folder, monkeypatch, capsys):
    (tmp_path / "odd_names.py").write_text(
        "import torch\n\n\ndef build(seed=0, weights=1, name='x', strict=2):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3 + seed))\n"
    )
    path = tmp_path / "c.yaml"
    path.write_text(
        "model: {type: 'odd_names:build', kwargs: {seed: 0, weights: 2, name: y, strict: 5},\n"
        "  preprocessing: {input_size: 8, resize: 8, mean: [0.5], std: [0.5]}}\n"
        "data: {test: {root_dir: photos}}\nevaluation: {benchmarks: {clean: }, workers: 0}"
    )
    assert main(["--config", str(path), "--quiet"]) == 0
    assert main(["--config", str(path), "--set", "model={type: resnet18, kwargs: {pretrained: true}}"]) == 2
    assert "is not an argument of 'resnet18' here; use weights: pretrained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.batch_size=0", "batch_size must be"),
        ("evaluation.seed=1e20", "seed must be an integer of 64 bits"),
        ("evaluation.workers=-1", "workers must be"),
        ("evaluation.limit=1000", "limit must be an integer from 1 to 12"),
        ("evaluation.device=mps", "device must be auto, cpu, cuda"),
        ("evaluation.benchmarks.adversarial.stop=firsd", "stop must be"),
        (
            "evaluation.benchmarks.adversarial.eps=[.nan]",
            "benchmark adversarial: eps[0] must be a number from 0 up, got nan",
        ),
        ("model.type=./own:build", "the names as in an import"),
        ("data.type=multiclass", "several labels an image"),
        ("model={type: mobilenet_v2_x0_5, weights: pretrained}", "no library has weights of 'mobilenet_v2_x0_5'"),
        (
            "model={type: 'timm:resnet18', weights: 'pretrained:a1'}",
            "has no pretrained weights 'a1'; known: a1_in1k, a2_in1k",
        ),
        ("model.kwargs.heightt=3", "unexpected keyword argument 'heightt'"),
        ("data.test.evaluator={type: imagenet, kwargs: {topk: [1, 3]}}", "topk must be [1, 5]"),
        ("saver={pretrain: {path: b.pth}}", "set one of them"),
    ],
)
def test_check_finds_what_a_run_would(small_config, capsys, override, message):
    extra = ["--set", "model.weights=a.pth"] if "saver" in override else []
    assert main(["--config", str(small_config), "--check", "--set", override, *extra]) == 2
    assert message in capsys.readouterr().err


def test_evaluate_twice_in_one_script_under_torchrun(tmp_path, own_model):
    script = tmp_path / "twice.py"
    script.write_text(
        f"""
import os
from pathlib import Path

import numpy as np
from RobustART.data import array_dataset
from RobustART.evaluation import evaluate
from RobustART.models import create_model

pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
for name in ("a", "b"):
    model = create_model("{own_model}:build", preprocessing={{"input_size": 32, "resize": 32}})
    evaluate(model, array_dataset(pictures, [0, 1, 2] * 2), {{"clean": {{}}}}, output_dir=name, batch_size=2, progress=False)
    Path(f"done-{{name}}-{{os.environ['RANK']}}").touch()
"""
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environ = solver_environ(PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"done-{name}-{rank}").exists() for name in "ab" for rank in (0, 1))
    assert (tmp_path / "a" / "results" / "clean.jsonl").read_bytes() == (
        tmp_path / "b" / "results" / "clean.jsonl"
    ).read_bytes()


def test_the_folder_of_all_data_is_a_flag_or_a_variable(small_config, photo_folder, tmp_path, monkeypatch, capsys):
    data, place = tmp_path / "data", "data.test.root_dir=$ROBUSTART_DATA/photos"
    data.mkdir()
    photo_folder.rename(data / "photos")
    command = ["--config", str(small_config), "--set", place, "--set", "evaluation.benchmarks={clean: {}}", "--quiet"]
    assert main([*command, "--data", str(data)]) == 0
    before = (tmp_path / "results" / "clean.jsonl").read_bytes()
    data.rename(tmp_path / "moved")
    monkeypatch.setenv("ROBUSTART_DATA", str(tmp_path / "moved"))
    assert main(command) == 0
    assert (tmp_path / "results" / "clean.jsonl").read_bytes() == before  # results do not depend on the place
    assert main([*command, "--data", str(tmp_path / "nowhere")]) == 2
    assert f"there is no folder {tmp_path / 'nowhere' / 'photos'}" in capsys.readouterr().err


def test_a_list_of_models_is_evaluated_one_after_the_other(small_config, tmp_path, capsys):
    own = load_config(small_config).model.type
    (tmp_path / "second.py").write_text(
        f"import {own.split(':')[0]} as first\ndef build(): return first.build(scale=1.0)\n"
    )
    sys.path.insert(0, str(tmp_path))
    names = [own, "second:build"]
    for name in names:  # as a training of each would have left them
        file = tmp_path / f"{name.replace(':', '_')}.pth"
        torch.save(build_model(name, {}).network.state_dict(), file)
    command = ["--config", str(small_config), "--quiet", "--set", f"eval_list={names}"]
    command += ["--set", "evaluation.benchmarks={clean: {}}", "--set", "output_dir=out"]
    assert main([*command, "--set", "model.weights=nothing/{name}.pth"]) == 2
    assert f"nothing/{own.replace(':', '_')}.pth" in capsys.readouterr().err
    (tmp_path / "second_build.pth").rename(tmp_path / "gone.pth")
    assert main([*command, "--set", "model.weights='{name}.pth'"]) == 2
    assert not (tmp_path / "out").exists()  # the first is not evaluated before the second is found wanting
    (tmp_path / "gone.pth").rename(tmp_path / "second_build.pth")
    assert main([*command, "--set", "model.weights='{name}.pth'"]) == 0
    sources = [
        json.loads((tmp_path / "out" / name.replace(":", "_") / "results" / "report.json").read_text())["model"][
            "source"
        ]
        for name in names
    ]
    assert sources == names


def test_a_trial_leaves_the_run_alone(original, tmp_path, capsys):
    data = ["data.train.root_dir=photos", "data.train.meta_file=val.txt", "data.num_workers=0", "data.batch_size=6"]
    command = ["--config", str(original), *(word for value in data for word in ("--set", value))]
    command += ["--set", "evaluation={benchmarks: {clean: {}}, device: cpu}", "--set", "saver.pretrain.ignore.key=[]"]
    assert main([*command, "--trial", "3", "--quiet"]) == 0
    report = json.loads((tmp_path / "trial" / "results" / "report.json").read_text())
    assert report["benchmarks"]["clean"]["metrics"]["top1"]["n"] == 3
    log = [json.loads(line) for line in (tmp_path / "trial" / "train.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 3
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "results").exists()
    for file in (tmp_path / "photos").rglob("*.png"):
        file.write_bytes(b"broken")
    assert main([*command, "--trial", "3", "--quiet"]) == 2  # a trial tries again
    assert "cannot be decoded" in capsys.readouterr().err
    assert main([*command, "--trial", "0"]) == 2
    assert "--trial takes an integer from 1 up" in capsys.readouterr().err


def test_made_up_images_in_place_of_real_ones(original, tmp_path, capsys):
    """The original's configs ship with ``read_from: fake``, which is refused; our data set ``fake`` is named in reports."""
    command = ["--config", str(original), "--evaluate", "--trial", "5"]
    assert main([*command, "--set", "data.read_from=fake"]) == 2
    assert "data.read_from: 'fake' means made-up images, but data.train.root_dir" in capsys.readouterr().err
    assert main([*command, "--set", "data.test.type=fake", "--set", "model.kwargs={classes: 1000}"]) == 0
    captured = capsys.readouterr()
    assert "images are made up" in captured.err
    report = json.loads((tmp_path / "trial" / "results" / "report.json").read_text())
    assert any("images are made up" in warning for warning in report["warnings"])
