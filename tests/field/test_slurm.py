"""A real Slurm on this machine alone: its controller, its node and munge are started for these tests, on free ports."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from RobustART.training.cls_solver import main
from tests.conftest import solver_environ
from tests.field.commands import arguments
from tests.training.test_cls_solver import outputs

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "sinfo")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: slurm-wlm)"),
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="slurmd needs to be root"),
]
CONF = """
ClusterName=field
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
RUN = ("evaluation.benchmarks.adversarial=false", "evaluation.batch_size=1")
MARKS = ("clean", "imagenet_c")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of programs that ask this cluster."""
    folder = tmp_path_factory.mktemp("slurm")
    host = socket.gethostname().partition(".")[0]
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=ports))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    (folder / "state").mkdir()
    environ = solver_environ(SLURM_CONF=str(folder / "slurm.conf"), PATH=PATH)
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
    munge = [f"--{option}={folder / name}" for option, name in {**files, "seed-file": "munge.seed"}.items()]
    daemons = []
    try:
        for command in (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", host],
        ):
            with open(folder / f"{command[0]}.out", "wb") as out:
                daemons.append(subprocess.Popen(command, env=environ, stdout=out, stderr=out))
            wait_for(lambda: (folder / "munge.socket").exists(), folder, 10)
        wait_for(lambda: "idle" in asked(environ, "sinfo", "-h", "-o", "%t"), folder, 30)
        yield environ
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def wait_for(condition, folder, seconds):
    until = time.monotonic() + seconds
    while not condition():
        logs = "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in sorted(folder.glob("*.out")))
        assert time.monotonic() < until, logs
        time.sleep(0.05)


def asked(environ, *command):
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False).stdout


def solver(config, folder):
    return [sys.executable, "-m", "RobustART.training.cls_solver", *arguments(config, folder, *RUN)]


def recorded(folder, least=3):
    path = folder / "results/clean.jsonl"
    return lambda: path.exists() and path.read_bytes().count(b"\n") >= least


def pid_of(rank, folder):
    """Returns the process of a task of the run in a folder."""
    for path in os.listdir("/proc"):
        try:
            with open(f"/proc/{path}/environ", "rb") as environ, open(f"/proc/{path}/cmdline", "rb") as command:
                if f"SLURM_PROCID={rank}".encode() in environ.read().split(b"\0") and (
                    f"output_dir={folder}".encode() in (words := command.read().split(b"\0"))
                    and words[0] == sys.executable.encode()
                ):
                    return int(path)
        except (OSError, ValueError):
            continue
    raise AssertionError(f"no process of task {rank}")


@pytest.fixture
def whole(small_config, tmp_path):
    assert main(arguments(small_config, tmp_path / "whole", *RUN)) == 0
    return outputs(tmp_path / "whole", MARKS)


def test_two_tasks_then_one_is_lost_then_again(cluster, small_config, tmp_path, whole):
    command = ["srun", "-n2", "--kill-on-bad-exit=0", *solver(small_config, tmp_path / "out")]
    slow = {**cluster, "SECONDS_PER_BATCH": "0.5"}
    task = subprocess.Popen(command, env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(recorded(tmp_path / "out"), tmp_path, 60)
    os.kill(pid_of(1, tmp_path / "out"), signal.SIGKILL)
    _, errors = task.communicate(timeout=60)
    assert task.returncode != 0
    assert "error: process 0 of 2 stops because another one ended; its own message says why" in errors
    assert "Traceback" not in errors
    done = subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written to") == 1
    assert outputs(tmp_path / "out", MARKS) == whole


def test_a_job_that_is_requeued_resumes(cluster, small_config, tmp_path, whole):
    out, log = tmp_path / "out", tmp_path / "job.log"
    words = " ".join(f"'{word}'" for word in solver(small_config, out))
    script = f"#!/bin/sh\n[ $SLURM_RESTART_COUNT ] || export SECONDS_PER_BATCH=0.5\nsrun -n2 {words}\n"
    (tmp_path / "job.sh").write_text(script)
    batch = [
        "sbatch",
        "--parsable",
        "-n2",
        "--requeue",
        "--open-mode=append",
        f"--output={log}",
        str(tmp_path / "job.sh"),
    ]
    job = asked(cluster, *batch).strip()
    assert job.isdigit()
    wait_for(recorded(out), tmp_path, 60)
    asked(cluster, "scontrol", "requeue", job)
    wait_for(lambda: "PENDING" in asked(cluster, "scontrol", "show", "job", job), tmp_path, 60)
    before = (out / "results/clean.jsonl").read_bytes()
    asked(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_for(lambda: "COMPLETED" in asked(cluster, "scontrol", "show", "job", job), tmp_path, 120)
    assert "ended by SIGTERM; the same command resumes from here" in log.read_text()
    assert before.count(b"\n") >= 3
    assert outputs(out, MARKS) == whole


def test_inside_an_allocation_without_srun_a_run_says_for_whom_it_waits(cluster, small_config, tmp_path):
    words = " ".join(f"'{word}'" for word in solver(small_config, tmp_path / "out"))
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\nROBUSTART_JOIN_SECONDS=5 {words}\n")
    log = tmp_path / "job.log"
    job = asked(cluster, "sbatch", "--parsable", "-n2", f"--output={log}", str(tmp_path / "job.sh")).strip()
    wait_for(lambda: "FAILED" in asked(cluster, "scontrol", "show", "job", job), tmp_path, 60)
    first, last = log.read_text().splitlines()
    assert "process 0 of 2 waits at 127.0.0.1:" in first or f"at {socket.gethostname()}:" in first
    assert "for process 1, for " in first
    assert last.startswith("error: process 0 of 2 waits ")
