"""The command trains: it learns, it goes on after a kill as if nothing had been, and it says what cannot be."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from RobustART.errors import TrainingError
from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from tests.conftest import run_solver, solver_environ

EVERYTHING = [
    "model.kwargs.dropout=0.2", "mixup=0.2", "cutmix=1.0", "label_smooth=0.1", "ema={enable: true, kwargs: {decay: 0.9}}",
    "training={device: cpu, amp: bf16, save_freq: 4, accumulate: 2, clip_grad: 5.0, swa: {enable: true, every: 3}}",
    "data.num_workers=2",
    "data.train.transforms=[{type: random_crop, kwargs: {padding: 1}}, {type: RandAugment}, {type: random_erasing}]",
]  # fmt: skip


def flags(*overrides):
    return [word for value in overrides for word in ("--set", value)]


def lines(folder):
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


def assert_equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_learns_digits_and_is_evaluated(digits, tmp_path, capsys):
    extra = [
        "evaluation={device: cpu, workers: 0, benchmarks: {clean: {}}}",
        "ema={enable: true, kwargs: {decay: 0.9}}",
    ]
    extra += ["training.swa={enable: true}"]
    assert main(["--config", str(digits), *flags(*extra)]) == 0
    captured = capsys.readouterr()
    assert "EMA weights" in captured.out
    assert "img/s" in captured.err
    for folder in (".", "ema", "swa"):
        report = json.loads((tmp_path / folder / "results" / "report.json").read_text())
        assert report["benchmarks"]["clean"]["metrics"]["top1"]["value"] > 90
        assert not any("randomly initialised" in warning for warning in report["warnings"])
    rows = lines(tmp_path)
    assert [row["step"] for row in rows if "validation" not in row] == list(range(1, 34))
    assert [row["step"] for row in rows if "validation" in row] == [11, 22, 33]
    assert rows[-1]["validation"]["top1"] > 90
    assert rows[0]["lr"] == 0.02
    assert rows[10]["lr"] == 0.1
    before = {f: (tmp_path / f / "results" / "clean.jsonl").read_bytes() for f in (".", "ema", "swa")}
    assert (
        main(["--config", str(digits), "--evaluate", "--quiet", *flags(*extra)]) == 0
    )  # the same weights: nothing to do
    assert before == {f: (tmp_path / f / "results" / "clean.jsonl").read_bytes() for f in (".", "ema", "swa")}


def test_killed_and_taken_up_again(digits, tmp_path, capsys):
    """At a step inside an epoch, with everything on that has a state or draws random numbers.

    Loader processes of the killed run live on for some seconds; a run that is started at once waits for them.
    """
    assert main(["--config", str(digits), "--quiet", *flags(*EVERYTHING, "output_dir=whole")]) == 0
    command = [sys.executable, "-m", "RobustART.training.cls_solver", "--config", str(digits)]
    command += flags(*EVERYTHING, "output_dir=killed")
    task = subprocess.Popen(command, env=solver_environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = tmp_path / "killed" / "train.jsonl"
    deadline = time.monotonic() + 120
    while not (record.exists() and record.read_bytes().count(b"\n") >= 6) and time.monotonic() < deadline:
        time.sleep(0.01)
    task.send_signal(signal.SIGKILL)
    task.wait()
    step = read_checkpoint(tmp_path / "killed" / "checkpoints" / "ckpt.pth.tar")["last_iter"]
    assert 4 <= step < 33
    capsys.readouterr()
    assert main(["--config", str(digits), *flags(*EVERYTHING, "output_dir=killed")]) == 0
    assert f"ckpt.pth.tar, step {step} of 33" in capsys.readouterr().err
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    for name in ("ckpt.pth.tar", "ema.pth.tar", "swa.pth.tar"):
        assert_equal(*(read_checkpoint(tmp_path / f / "checkpoints" / name) for f in ("whole", "killed")))
    events = EventAccumulator(str(tmp_path / "killed" / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 34))


@pytest.mark.slow
def test_two_processes_see_what_one_sees(digits, tmp_path):
    """SyncBatchNorm is for GPUs, so the statistics differ; with the learned layers alone the numbers agree."""
    (network,) = tmp_path.glob("network_*.py")
    text = network.read_text()
    network.write_text(
        text.replace("nn.BatchNorm2d(width)", "nn.Identity()").replace("nn.BatchNorm2d(2 * width)", "nn.ReLU()")
    )
    one = run_solver(digits, *flags("data.batch_size=64", "output_dir=one"))
    assert one.returncode == 0, one.stderr
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    two = run_solver(digits, *flags("data.batch_size=32", "output_dir=two"), launcher=torchrun)
    assert two.returncode == 0, two.stderr
    first, second = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [row["step"] for row in first] == [row["step"] for row in second]
    losses = [[row["loss"] for row in rows if "loss" in row][:20] for rows in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_damaged_checkpoint_falls_back(digits, tmp_path, capsys):
    short = flags("training.save_freq=4", "saver.val_freq=100", "data.test=null")
    assert main(["--config", str(digits), *short, *flags("output_dir=whole")]) == 0
    assert main(["--config", str(digits), *short]) == 0
    newest = tmp_path / "checkpoints" / "ckpt.pth.tar"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)
    capsys.readouterr()
    assert main(["--config", str(digits), *short]) == 0
    message = capsys.readouterr().err
    assert "ckpt.pth.tar is damaged" in message or "cannot be read" in message
    assert "ckpt_before.pth.tar, step 32 of 33" in message
    assert_equal(read_checkpoint(newest), read_checkpoint(tmp_path / "whole" / "checkpoints" / "ckpt.pth.tar"))
    for name in ("ckpt.pth.tar", "ckpt_before.pth.tar"):
        (tmp_path / "checkpoints" / name).write_bytes(b"half")
    assert main(["--config", str(digits), *short]) == 2
    assert "are damaged (ckpt.pth.tar, ckpt_before.pth.tar)" in capsys.readouterr().err
    assert main(["--config", str(digits), *short, "--fresh"]) == 0


def test_another_training_is_refused_and_recover_goes_back(digits, tmp_path, capsys):
    many = flags("saver={save_many: true, val_freq: 11, print_freq: 1}", "data.test=null")
    assert main(["--config", str(digits), *many]) == 0
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == [f"ckpt_{n}.pth.tar" for n in (11, 22, 33)]
    last = read_checkpoint(tmp_path / "checkpoints" / "ckpt_33.pth.tar")
    assert main(["--config", str(digits), *many, *flags("optimizer.kwargs.momentum=0.8", "label_smooth=0.1")]) == 2
    message = capsys.readouterr().err
    assert (
        "ckpt_33.pth.tar belongs to another training: label_smooth: 0.0 -> 0.1; optimizer.kwargs.momentum: 0.9 -> 0.8"
        in message
    )
    recover = ["--recover", str(tmp_path / "checkpoints" / "ckpt_11.pth.tar")]
    (tmp_path / "checkpoints" / ".ckpt_22.pth.tar.1.tmp").write_bytes(b"left by a kill")
    assert main(["--config", str(digits), *many, *recover]) == 0
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert "ckpt_11.pth.tar, step 11 of 33" in capsys.readouterr().err
    assert_equal(read_checkpoint(tmp_path / "checkpoints" / "ckpt_33.pth.tar"), last)
    assert [row["step"] for row in lines(tmp_path)] == list(range(1, 34))


def test_a_checkpoint_of_an_earlier_version_is_refused_and_can_be_started_from(digits, tmp_path, capsys):
    few = flags("data.test=null", "training.save_freq=20", "saver.save_many=true", "output_dir=out")
    assert main(["--config", str(digits), "--quiet", *few]) == 0
    checkpoints = tmp_path / "out" / "checkpoints"
    (checkpoints / "ckpt_33.pth.tar").unlink()
    state = read_checkpoint(checkpoints / "ckpt_20.pth.tar")
    del state["conditions"]["format"]
    torch.save(state, checkpoints / "ckpt_20.pth.tar")
    assert main(["--config", str(digits), "--quiet", *few]) == 2
    assert "an earlier version wrote " in capsys.readouterr().err
    evaluate = ["--config", str(digits), "--quiet", "--evaluate", "--recover", str(checkpoints / "ckpt_20.pth.tar")]
    assert main([*evaluate, *flags("output_dir=seen", "data.test={type: sklearn_digits, kwargs: {split: test}}")]) == 0
    start = flags("data.test=null", "saver.pretrain={path: out/checkpoints/ckpt_20.pth.tar}", "output_dir=new")
    assert main(["--config", str(digits), "--quiet", *start]) == 0
    assert [row["step"] for row in lines(tmp_path / "new")] == list(range(21, 34))
    state["conditions"]["model"] = None  # begun with other weights than the config names
    torch.save(state, tmp_path / "new" / "checkpoints" / "ckpt.pth.tar")
    assert main(["--config", str(digits), "--quiet", "--evaluate", *start]) == 2
    assert "--evaluate --recover evaluates it" in capsys.readouterr().err


def test_pretrain_takes_what_is_not_ignored(digits, tmp_path, capsys):
    """In the original's format, with its wrapper's prefix."""
    assert main(["--config", str(digits), *flags("data.test=null", "output_dir=first")]) == 0
    state = read_checkpoint(tmp_path / "first" / "checkpoints" / "ckpt.pth.tar")
    original = {
        "model": {f"module.{k}": v for k, v in state["model"].items()},
        "optimizer": state["optimizer"],
        "last_iter": 20,
    }
    torch.save(original, tmp_path / "original.pth.tar")
    pretrain = flags("data.test=null", "saver.pretrain={path: original.pth.tar}", "output_dir=second")
    assert main(["--config", str(digits), *pretrain]) == 0
    assert "original.pth.tar, step 20 of 33" in capsys.readouterr().err
    assert [row["step"] for row in lines(tmp_path / "second")] == list(range(21, 34))
    ignore = flags("data.test=null", "output_dir=third", "lr_scheduler.kwargs.base_lr=1e-9", "lr_scheduler.kwargs.warmup_lr=1e-9",
                   "saver.pretrain={path: original.pth.tar, ignore: {key: [optimizer, last_iter]}}")  # fmt: skip
    assert main(["--config", str(digits), *ignore]) == 0
    rows = lines(tmp_path / "third")
    assert rows[0]["step"] == 1
    assert rows[0]["accuracy"] > 90
    ignore[-1] = "saver.pretrain={path: original.pth.tar, ignore: {key: [optimiser]}}"
    assert main(["--config", str(digits), *ignore, "--fresh"]) == 2
    assert "has no 'optimiser'; it has model, optimizer, last_iter" in capsys.readouterr().err


def test_a_loss_that_is_not_a_number_stops_the_run(digits, capsys):
    hot = flags("lr_scheduler.kwargs={base_lr: 1e30, max_epoch: 3}", "training.save_freq=1")
    assert main(["--config", str(digits), *hot]) == 2
    message = capsys.readouterr().err
    assert "the loss is not finite at step" in message
    assert "(learning rate " in message
    assert "ckpt.pth.tar, of step" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lms.enable=true", "needs a private build"),
        ("mixup=-1", "mixup must be a number from 0 up, got -1"),
        ("cutmix=-1", "cutmix must be a number from 0 up"),
        ("switch_prob=2", "switch_prob must be a number from 0 to 1"),
        ("label_smooth=1", "label_smooth must be a number from 0 to below 1"),
        ("data.train.transforms=null", "data.train.transforms is missing"),
        ("data.train.transforms={type: STANDARDD}", "unknown transform 'STANDARDD'; did you mean 'STANDARD'"),
        ("data.train.transforms={type: GRAYSCALE}", "a model with mean 0.449 and std 0.226"),
        ("data.train.transforms=[{type: normalize, kwargs: {mean: 0.4, std: 0.5}}]", "but the model normalises with [0.5]"),
        ("data.train.transforms=[{type: resize, kwargs: {size: [9, 9]}}]", "3 x 8 x 8, but made 3 x 9 x 9"),
        ("data.train.transforms=[{type: color_jitter, kwargs: {huge: 1}}]", "unknown option 'huge'"),
        ("data.train.transforms={type: SIMCLR}", "make 2 views of each image"),
        ("data.train.sampler={type: distribted}", "unknown sampler 'distribted'"),
        ("data.use_ranked=true,", "must be true or false"),
        ("data.train={use_ranked: true, sampler: {type: distributed_epoch}}", "needs the sampler 'ranked_iteration'"),
        ("data.train.limit_samples=3", "belongs to data.test"),
        ("data.train.kwargs={splt: train}", "unknown option 'splt' of the data set sklearn_digits; did you mean 'split'"),
        ("data.train.kwargs={split: traim}", "split must be one of 'train', 'test', 'all', got 'traim'"),
        ("data.batch_size=0", "data.batch_size must be an integer from 1 up, got 0"),
        ("saver.print_freq=0", "saver.print_freq must be"),
        ("training.accumulate=0", "training.accumulate must be"),
        ("training.clip_grad=-1", "training.clip_grad must be"),
        ("training.objective.type=plane", "unknown training objective 'plane'; did you mean 'plain'"),
        ("training.objective={type: plain, kwargs: {a: 1}}", "unknown option 'a' of training.objective"),
        ("training.swa={enable: true, start: 1.0}", "training.swa.start must be a number above 0 and below 1, got 1"),
        ("model.kwargs={classes: 5}", "has 5 outputs"),
        ("ema={enable: true, kwargs: {decya: 0.9}}", "unknown key ema.kwargs.decya; did you mean 'decay'"),
        ("optimizer.kwargs.momentm=1", "unknown key optimizer.kwargs.momentm"),
        ("lr_scheduler.kwargs.base_lr=0", "base_lr must be a number above 0"),
        ("ema={enable: true, kwargs: {decay: 2}}", "ema.kwargs.decay must be a number from 0 to below 1, got 2"),
        ("model.kwargs={bn: {use_sync_bn: true, kwargs: {a: 1}}}", "model.kwargs.bn must be"),
        ("evaluation={device: cuda, benchmarks: {clean: {}}}", "set one of them"),
    ],
)  # fmt: skip
def test_what_cannot_be(digits, capsys, override, message):
    assert main(["--config", str(digits), "--set", override]) == 2
    assert message in capsys.readouterr().err


def test_check_knows_training(digits, capsys):
    assert main(["--config", str(digits), "--check"]) == 0
    assert "warmup_lr: 0.1" in capsys.readouterr().out
    assert main(["--config", str(digits), "--check", "--set", "lr_scheduler.kwargs.warmup_epoch=3"]) == 2
    assert "must be shorter than the training" in capsys.readouterr().err


def test_a_checkpoint_of_nothing_falls_back_and_never_replaces_a_good_one(digits, tmp_path, capsys):
    few = flags("training.save_freq=5", "output_dir=out")
    assert main(["--config", str(digits), "--quiet", *few]) == 0
    folder = tmp_path / "out" / "checkpoints"
    whole = read_checkpoint(folder / "ckpt.pth.tar")
    (folder / "ckpt.pth.tar").write_bytes(b"")
    (folder / ".ckpt.pth.tar.1.tmp").write_bytes(b"left by a kill")
    capsys.readouterr()
    assert main(["--config", str(digits), *few]) == 0
    assert "ckpt.pth.tar cannot be read: " in capsys.readouterr().err
    assert_equal(read_checkpoint(folder / "ckpt.pth.tar")["model"], whole["model"])
    assert sorted(path.name for path in folder.iterdir() if "ckpt" in path.name) == [
        "ckpt.pth.tar", "ckpt.pth.tar.damaged", "ckpt_before.pth.tar",
    ]  # fmt: skip
    assert read_checkpoint(folder / "ckpt_before.pth.tar")["last_iter"] == 30


@pytest.mark.parametrize("rubbish", [b"\x80\x02.", b"garbage" * 100, b"PK\x03\x04" + b"x" * 100])
def test_no_rubbish_is_a_checkpoint(tmp_path, rubbish):
    (tmp_path / "ckpt.pth.tar").write_bytes(rubbish)
    with pytest.raises(TrainingError, match="ckpt.pth.tar (cannot be read: .|is damaged|is no checkpoint)"):
        read_checkpoint(tmp_path / "ckpt.pth.tar")


def test_another_trainings_optimizer_brings_its_moments_and_not_its_options(digits, tmp_path):
    assert main(["--config", str(digits), "--quiet", *flags("output_dir=first")]) == 0
    start = "saver.pretrain={path: first/checkpoints/ckpt.pth.tar, ignore: {key: [last_iter]}}"
    own = [
        "lr_scheduler.kwargs.base_lr=0.001",
        "lr_scheduler.kwargs.warmup_lr=0.01",
        "optimizer.kwargs.weight_decay=0.1",
    ]
    assert main(["--config", str(digits), "--quiet", *flags(start, *own, "output_dir=second")]) == 0
    state = read_checkpoint(tmp_path / "second" / "checkpoints" / "ckpt.pth.tar")["optimizer"]
    assert {group["weight_decay"] for group in state["param_groups"]} == {0.1}
    assert {group["initial_lr"] for group in state["param_groups"]} == {0.001}


def test_recover_and_fresh_contradict_each_other(digits, tmp_path, capsys):
    assert main(["--config", str(digits), "--quiet", *flags("output_dir=out")]) == 0
    path = tmp_path / "out" / "checkpoints" / "ckpt.pth.tar"
    assert main(["--config", str(digits), *flags("output_dir=out"), "--fresh", "--recover", str(path)]) == 2
    assert "--recover resumes from a checkpoint, --fresh and --trial start over" in capsys.readouterr().err
    assert path.is_file()


def test_weights_that_are_no_numbers_are_not_saved(digits, tmp_path, capsys):
    """The loss of the last step is a number, the gradient is not."""
    (network,) = tmp_path.glob("network_*.py")
    network.write_text(
        network.read_text()
        + """

class Last(nn.Module):
    steps = 0

    def forward(self, x):
        if self.training and x.requires_grad:
            Last.steps += 1
            if Last.steps == 33:
                x.register_hook(lambda grad: grad * float("nan"))
        return x


whole = build


def build(**kwargs):
    return nn.Sequential(*whole(**kwargs), Last())
"""
    )
    assert main(["--config", str(digits), "--quiet", *flags("output_dir=out")]) == 2
    error = capsys.readouterr().err
    assert "the weights are not finite after step 33" in error
    assert "The last good checkpoint is" in error
    assert "of step 22" in error
    assert read_checkpoint(tmp_path / "out" / "checkpoints" / "ckpt.pth.tar")["last_iter"] == 22


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train.transforms={type: nonsense}", "nonsense"),
        (
            "data.train.transforms=[{type: random_horizontal_flip, kwargs: {p: 2}}]",
            "must be a number from 0 to 1, got 2",
        ),
        (
            "data.train.transforms=[{type: random_crop, kwargs: {size: 9}}]",
            "random_crop with {'size': 9} fails on an image of 3 x 8 x 8",
        ),
        (
            "data.train.transforms=[{type: center_crop, kwargs: {size: 7}}]",
            "must make images of the model's input size, 3 x 8 x 8",
        ),
        (
            "data.train.transforms=[{type: to_tensor}, {type: gaussian_blur}]",
            "gaussian_blur must come before to_tensor",
        ),
        ("label_smooth=1", "label_smooth must be a number from 0 to below 1, got 1"),
        ("label_smooth=.nan", "label_smooth must be"),
        ("ema={enable: true, kwargs: {decay: 1.0}}", "ema.kwargs.decay must be"),
        ("training.objective={type: jsd, kwargs: {weight: -1}}", "weight"),
        ("training.device=banana", "device must be auto, cpu, cuda"),
        ("training.seed=1e20", "training.seed must be an integer from 0 up, of 63 bits"),
        ("mixup=.nan", "mixup must be a number from 0 up, got nan"),
        ("data.prefetch_factor=0", "data.prefetch_factor must be an integer from 1 up or null, got 0"),
        ("data.prefetch_factor=-1", "data.prefetch_factor must be an integer from 1 up or null, got -1"),
        ("optimizer.kwargs={differentiable: true}", "optimizer.kwargs.differentiable must be false, got True"),
        (
            "optimizer.pconfig={bn_w: {weight_decay: .nan}}",
            "optimizer.pconfig.bn_w.weight_decay must be a number from 0 to 10000, got nan",
        ),
        ("lr_scheduler.kwargs.max_epoch=.inf", "lr_scheduler.kwargs.max_epoch must be a number above 0, got inf"),
        (
            "lr_scheduler.kwargs.base_lr=1e39",
            "lr_scheduler.kwargs.base_lr must be a number above 0 and at most 3.4e+38",
        ),
        ("training.swa={enable: true, every: 0}", "training.swa.every must be an integer from 1 up or null, got 0"),
    ],
)
def test_check_finds_what_a_training_would_refuse(digits, capsys, override, message):
    assert main(["--config", str(digits), "--check", "--set", override]) == 2
    assert message in capsys.readouterr().err


AUXILIARY = """


from collections import namedtuple


class Auxiliary(nn.Module):
    def __init__(self, inner, aux_logits, always):
        super().__init__()
        self.inner, self.aux_logits, self.always = inner, aux_logits, always

    def forward(self, x):
        logits = self.inner(x)
        more = self.always or (self.training and self.aux_logits)
        return namedtuple("Outputs", "logits aux")(logits, logits) if more else logits


def build_auxiliary(aux_logits=True, always=False):
    return Auxiliary(build(), aux_logits, always)


def build_deep():
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10))
"""


@pytest.fixture
def odd(digits, tmp_path):
    """The tiny training, whose module has two networks more."""
    (network,) = tmp_path.glob("network_*.py")
    network.write_text(network.read_text() + AUXILIARY)
    return digits, network.stem


def test_logits_of_auxiliary_heads_are_refused(odd, capsys):
    """torchvision's googlenet and inception_v3 return a named tuple in training mode alone."""
    config, module = odd
    command = ["--config", str(config), "--quiet", *flags(f"model.type='{module}:build_auxiliary'")]
    assert main([*command, "--trial", "1"]) == 2
    message = (
        "the model (Auxiliary) must return logits as a tensor (N, K), got Outputs in training mode, with the logits "
    )
    assert (
        f"{message}of auxiliary heads; leave these out with model.kwargs: {{aux_logits: false}}"
        in capsys.readouterr().err
    )
    assert main([*command, "--trial", "1", "--set", "model.kwargs.aux_logits=false"]) == 0
    capsys.readouterr()
    assert main([*command, "--trial", "1", "--set", "model.kwargs.always=true"]) == 2
    assert (
        "error: the model (Auxiliary) must return logits as a tensor (N, K), got Outputs. Wrap it"
        in capsys.readouterr().err
    )


def test_batchnorm_of_a_single_value_names_the_batch(odd, capsys):
    config, module = odd
    command = ["--config", str(config), "--quiet", "--trial", "1", *flags(f"model.type='{module}:build_deep'")]
    assert main([*command, *flags("data.batch_size=1")]) == 2
    message = "data.batch_size: BatchNorm needs more than one value of each channel in training, and 1 image of a process at once"
    assert message in capsys.readouterr().err
    assert main([*command, *flags("data.batch_size=3", "training.accumulate=3")]) == 2
    assert f"{message} (training.accumulate splits a step into 3 portions)" in capsys.readouterr().err
    assert main([*command, *flags("data.batch_size=2")]) == 0


def test_prefetching_without_loader_processes_is_said_to_be_unused(digits, capsys):
    assert main(["--config", str(digits), "--trial", "1", *flags("data.prefetch_factor=2")]) == 0
    assert (
        "data.prefetch_factor is not used: it is of loader processes, and data.num_workers is 0"
        in capsys.readouterr().err
    )
