"""Ways to make the same training: Slurm's variables, half precision with a scaler, another memory layout, a compiler."""

import os
import subprocess
import sys

import pytest
import torch

from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from tests.conftest import run_solver, solver_environ
from tests.training.test_training import assert_equal, flags, lines


def test_slurms_variables_train_as_torchrun_does(digits, tmp_path):
    short = flags("data.batch_size=64", "lr_scheduler.kwargs.max_epoch=2", "saver.val_freq=100")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = run_solver(digits, *short, *flags("output_dir=torchrun"), launcher=torchrun)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "RobustART.training.cls_solver", "--config", str(digits), *short]
    tasks = []
    for rank in ("0", "1"):
        slurm = {"SLURM_PROCID": rank, "SLURM_NTASKS": "2", "SLURM_LOCALID": rank, "SLURM_NODELIST": "localhost"}
        environ = solver_environ(**slurm, SLURM_JOB_ID=str(os.getpid()))
        tasks.append(
            subprocess.Popen([*command, *flags("output_dir=slurm")], env=environ, stderr=subprocess.PIPE, text=True)
        )
    errors = [task.communicate(timeout=200)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], errors
    states = [read_checkpoint(tmp_path / name / "checkpoints" / "ckpt.pth.tar") for name in ("torchrun", "slurm")]
    assert_equal(states[0]["model"], states[1]["model"])
    assert lines(tmp_path / "torchrun") == lines(tmp_path / "slurm")


def test_half_precision_scales_the_loss_and_goes_on_with_its_scale(digits, tmp_path):
    half = flags(
        "training={device: cpu, amp: fp16, save_freq: 7}", "lr_scheduler.kwargs.max_epoch=2", "saver.save_many=true"
    )
    assert main(["--config", str(digits), "--quiet", *half, *flags("output_dir=whole")]) == 0
    state = read_checkpoint(tmp_path / "whole" / "checkpoints" / "ckpt_22.pth.tar")
    assert state["scaler"]["scale"] >= 1.0
    middle = tmp_path / "whole" / "checkpoints" / "ckpt_7.pth.tar"
    assert main(["--config", str(digits), "--quiet", *half, *flags("output_dir=again"), "--recover", str(middle)]) == 0
    again = read_checkpoint(tmp_path / "again" / "checkpoints" / "ckpt_22.pth.tar")
    assert_equal(state["model"], again["model"])
    assert_equal(state["scaler"], again["scaler"])
    assert max(row["validation"]["top1"] for row in lines(tmp_path / "whole") if "validation" in row) > 80


def test_channels_last_rounds_differently_and_no_more(digits, tmp_path):
    for name, value in (("first", "false"), ("last", "true")):
        setting = f"training={{device: cpu, channels_last: {value}}}"
        short = ("lr_scheduler.kwargs.max_epoch=2", f"output_dir={name}")
        assert main(["--config", str(digits), "--quiet", *flags(setting, *short)]) == 0
    first, last = (
        read_checkpoint(tmp_path / name / "checkpoints" / "ckpt.pth.tar")["model"] for name in ("first", "last")
    )
    for name, value in first.items():
        assert torch.allclose(value.float(), last[name].float(), rtol=1e-2, atol=1e-3), name


@pytest.mark.slow
def test_compiled(digits, tmp_path):
    short = ("lr_scheduler.kwargs.max_epoch=2", "output_dir=compiled", "training={device: cpu, compile: true}")
    assert main(["--config", str(digits), "--quiet", *flags(*short)]) == 0
    state = read_checkpoint(tmp_path / "compiled" / "checkpoints" / "ckpt.pth.tar")
    assert not any("_orig_mod" in name for name in state["model"])
    assert max(row["validation"]["top1"] for row in lines(tmp_path / "compiled") if "validation" in row) > 80
