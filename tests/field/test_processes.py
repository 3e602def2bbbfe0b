"""Processes that are killed, ended, lost or short of memory: one line says so, and the same command resumes to the same bytes."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from tests.conftest import run_solver, solver_environ
from tests.field.commands import Command, arguments, children, slurm
from tests.training.conftest import CONFIG, NETWORK
from tests.training.test_cls_solver import outputs
from tests.training.test_training import EVERYTHING, assert_equal, lines

MARKS = ("clean", "imagenet_c")
STATES = [*EVERYTHING[:-1], "data.train.transforms=[{type: random_crop, kwargs: {padding: 1}}, {type: random_erasing}]"]
SMALL = ("evaluation.benchmarks.adversarial=false", "evaluation.batch_size=2", "evaluation.workers=2")
SLOW = {"SECONDS_PER_BATCH": "0.05"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc or mounts")


@pytest.fixture
def evaluation(small_config, tmp_path):
    """Returns the arguments of an evaluation into a folder, and checks a folder against one that nothing disturbed."""
    assert main(arguments(small_config, tmp_path / "whole", *SMALL)) == 0
    whole = outputs(tmp_path / "whole", MARKS)

    def same(folder):
        assert outputs(folder, MARKS) == whole

    return lambda folder, *more: arguments(small_config, folder, *SMALL, *more), same


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A config that trains on digits, and the folder of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "network_of_field.py").write_text(NETWORK)
    sys.path.insert(0, str(folder))
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(module="network_of_field"))
    assert main(arguments(config, folder / "whole", *STATES)) == 0
    yield config, folder / "whole"
    sys.path.remove(str(folder))


@pytest.fixture
def training(trained):
    """As ``evaluation``, of a training with everything on that has a state."""
    config, whole = trained

    def same(folder):
        assert lines(folder) == lines(whole)
        for name in ("ckpt.pth.tar", "ema.pth.tar", "swa.pth.tar"):
            assert_equal(*(read_checkpoint(f / "checkpoints" / name) for f in (whole, folder)))

    return lambda folder, *more: arguments(config, folder, *STATES, *more), same


def recorded(folder, name="clean", least=3):
    path = folder / "results" / f"{name}.jsonl"
    return lambda: path.exists() and path.read_bytes().count(b"\n") >= least


def steps(folder, least):
    path = folder / "train.jsonl"
    return lambda: path.exists() and path.read_bytes().count(b"\n") >= least


def one_line(text, begins):
    """Checks that the last line begins so, and that no traceback is shown."""
    assert "Traceback" not in text, text
    assert text.rstrip().rpartition("\n")[2].startswith(begins), text


# Shared memory


@linux
@pytest.mark.parametrize("read_only", [False, True])
def test_a_small_shared_memory_and_a_read_only_root(small_config, tmp_path, read_only, evaluation):
    """As in Docker, where /dev/shm is 64 MB; here less, since the images are small."""
    _, same = evaluation
    command = [sys.executable, "-m", "RobustART.training.cls_solver", "--config", "/mnt/config.yaml"]
    command += [word for value in ("output_dir=/mnt/out", *SMALL) for word in ("--set", value)]
    script = f"""set -e
        mount -t tmpfs -o size=64k tmpfs /dev/shm
        mount --bind {tmp_path} /mnt
        {"mount -o remount,bind,ro /" if read_only else ""}
        exec "$@" """
    if subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *command], env=solver_environ(), cwd=tmp_path, timeout=120,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same(tmp_path / "out")


@linux
@pytest.mark.parametrize("what", ["evaluation", "training"])
def test_a_loader_that_is_killed_from_outside_is_named_in_one_line(request, tmp_path, what):
    command, same = request.getfixturevalue(what)
    started = recorded(tmp_path / "out", "imagenet_c") if what == "evaluation" else steps(tmp_path / "out", 3)
    run = Command(command(tmp_path / "out"), tmp_path / "log", SECONDS_PER_BATCH="0.3").wait_for(started)
    os.kill(children(run.pid)[0], signal.SIGKILL)
    assert run.end() == 2
    one_line(run.text, "error: one of 2 worker processes was killed from outside (SIGKILL) while it worked on ")
    assert "The usual cause is a lack of memory: " in run.text
    assert ("lower data.num_workers or" if what == "training" else "use fewer workers or a smaller batch") in run.text
    assert main(command(tmp_path / "out")) == 0
    same(tmp_path / "out")


# Ends


@pytest.mark.parametrize("what", ["evaluation", "training"])
def test_a_run_can_start_at_once_after_a_kill(request, tmp_path, what):
    """The killed run's loader processes live on for a moment, but do not hold its lock."""
    command, same = request.getfixturevalue(what)
    started = recorded(tmp_path / "out") if what == "evaluation" else steps(tmp_path / "out", 5)
    run = Command(command(tmp_path / "out"), tmp_path / "log", **SLOW).wait_for(started)
    run.send(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    assert main(command(tmp_path / "out")) == 0
    same(tmp_path / "out")


def test_sigterm_ends_an_evaluation_with_what_is_recorded(evaluation, tmp_path):
    command, same = evaluation
    run = Command(command(tmp_path / "out"), tmp_path / "log", **SLOW).wait_for(recorded(tmp_path / "out"))
    run.send(signal.SIGTERM)
    started = time.monotonic()
    assert run.end() == 143
    assert time.monotonic() - started < 5
    one_line(run.text, "ended by SIGTERM; the same command resumes from here")
    assert 0 < (tmp_path / "out/results/clean.jsonl").read_bytes().count(b"\n") - 1 <= 12
    assert main(command(tmp_path / "out")) == 0
    same(tmp_path / "out")


def test_sigterm_ends_a_training_with_a_last_checkpoint(training, tmp_path):
    command, same = training
    many = "training.save_freq=1000"  # not part of what a checkpoint must agree with
    run = Command(command(tmp_path / "out", many), tmp_path / "log").wait_for(steps(tmp_path / "out", 5))
    run.send(signal.SIGTERM)
    assert run.end() == 143
    one_line(run.text, "ended by SIGTERM at step ")
    step = read_checkpoint(tmp_path / "out/checkpoints/ckpt.pth.tar")["last_iter"]
    assert f"at step {step} of 33, whose checkpoint is saved; the same command resumes from here" in run.text
    assert 5 <= step < 33
    assert main(command(tmp_path / "out")) == 0
    same(tmp_path / "out")


def test_sigterm_in_a_validation_repeats_the_validation(training, tmp_path, monkeypatch, capsys):
    from RobustART.training import trainer

    command, same = training
    validate, calls = trainer.validate, []

    def interrupted(*given, **options):
        calls.append(1)
        if len(calls) in (1, 4):  # after step 11, and after the last one
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(*given, **options)

    monkeypatch.setattr(trainer, "validate", interrupted)
    for step in (11, 33):
        assert main(command(tmp_path / "out", "training.save_freq=1000")) == 143
        assert f"ended by SIGTERM at step {step} of 33" in capsys.readouterr().err
        assert read_checkpoint(tmp_path / "out/checkpoints/ckpt.pth.tar")["last_iter"] == step
    assert main(command(tmp_path / "out")) == 0
    same(tmp_path / "out")


def pair(command, folder, log, job, **environ):
    return [Command(command(folder), log.with_name(f"{log.name}{r}"), **slurm(r, 2, job, **environ)) for r in (0, 1)]


def test_sigterm_to_one_process_ends_both_after_the_same_step(trained, tmp_path):
    """And a checkpoint of both is there; the state of MoCo's queue would be each one's own."""

    def command(folder):
        return arguments(trained[0], folder, "training.save_freq=1000", "data.batch_size=64")

    job = os.getpid()
    assert [run.end() for run in pair(command, tmp_path / "whole", tmp_path / "log", job)] == [0, 0]
    runs = pair(command, tmp_path / "out", tmp_path / "log", job)
    runs[0].wait_for(steps(tmp_path / "out", 3))
    runs[1].send(signal.SIGTERM)
    assert [run.end() for run in runs] == [143, 143]
    step = read_checkpoint(tmp_path / "out/checkpoints/ckpt.pth.tar")["last_iter"]
    for run in runs:
        one_line(run.text, f"ended by SIGTERM at step {step} of 33")
    assert step < 33
    assert [run.end() for run in pair(command, tmp_path / "out", tmp_path / "log", job)] == [0, 0]
    assert lines(tmp_path / "out") == lines(tmp_path / "whole")
    assert_equal(*(read_checkpoint(tmp_path / f / "checkpoints/ckpt.pth.tar") for f in ("whole", "out")))


# Several processes


def test_a_process_lost_at_the_start_of_a_training_ends_the_other(trained, tmp_path):
    dies = "    import os, signal\n    if os.environ.get('SLURM_PROCID') == '1':\n        os.kill(os.getpid(), 9)\n"
    (tmp_path / "network_that_dies.py").write_text(NETWORK.replace("    network = nn", f"{dies}    network = nn"))
    (tmp_path / "config.yaml").write_text(CONFIG.format(module="network_that_dies"))
    runs = pair(
        lambda folder: arguments(tmp_path / "config.yaml", folder), tmp_path / "out", tmp_path / "log", os.getpid()
    )
    assert [run.end() for run in runs] == [2, -9]
    one_line(runs[0].text, "error: process 0 of 2 stops because another one ended")


def test_without_srun_a_run_says_for_whom_it_waits(small_config, tmp_path, monkeypatch):
    monkeypatch.setattr("RobustART.core.joining._QUIET", 0.1)
    for rank, missing in ((0, "for process 1"), (1, "for process 0, which does not answer")):
        run = Command(
            arguments(small_config, tmp_path / "out"), tmp_path / f"log{rank}",
            **slurm(rank, 2, os.getpid(), ROBUSTART_JOIN_SECONDS="1"),
        )  # fmt: skip
        assert run.end(15) == 2
        first, *_, last = run.text.splitlines()
        for line in (first, last):
            assert f"process {rank} of 2 waits " in line
            assert missing in line
            assert f"at 127.0.0.1:{20000 + os.getpid() % 20000}" in line
            assert "srun or torchrun starts all of them; to run alone, unset" in line
        assert "s more (ROBUSTART_JOIN_SECONDS)" in first
        assert last.startswith("error: ")
        assert "Traceback" not in run.text


def test_torchrun_starts_again_after_a_kill(small_config, own_model, tmp_path):
    """With torchrun's usual store, which outlives the processes."""
    module = tmp_path / f"{own_model}.py"
    dies = """
        if os.environ.get("RANK") == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and len(images) > 1:
            os.kill(os.getpid(), 9)
"""
    module.write_text(module.read_text().replace("        logits = self", f"{dies}        logits = self"))
    assert main(arguments(small_config, tmp_path / "whole", *SMALL)) == 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--max-restarts=1", f"--master-port={port}"]
    overrides = [word for value in (f"output_dir={tmp_path / 'out'}", *SMALL) for word in ("--set", value)]
    done = run_solver(small_config, *overrides, launcher=tuple(torchrun), ROBUSTART_JOIN_SECONDS="60")
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr  # it did die
    assert outputs(tmp_path / "out", MARKS) == outputs(tmp_path / "whole", MARKS)


# Kills at random


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["evaluation", "training"])
def test_killed_at_random_moments(request, tmp_path, what, kills):
    """SIGKILL and SIGTERM by turns, at moments that FIELD_SEED draws; each folder is finished and compared."""
    command, same = request.getfixturevalue(what)
    seed = int(os.environ.get("FIELD_SEED", time.time_ns() % 10**6))
    print(f"FIELD_SEED={seed}")
    rng, done, folder = random.Random(seed), 0, tmp_path / "out"
    while done < kills:
        shutil.rmtree(folder, ignore_errors=True)
        status = 1
        while status != 0 and done < kills:
            number = (signal.SIGKILL, signal.SIGTERM)[done % 2]
            run = Command(command(folder), tmp_path / "log", **SLOW)
            run.ends_within(rng.uniform(0.1, 2.0))
            run.send(number)
            status = run.end()
            assert status in (0, -number, 143 if number == signal.SIGTERM else 0), run.text
            assert "Traceback" not in run.text, run.text
            done += status != 0
        assert main(command(folder)) == 0
        same(folder)
