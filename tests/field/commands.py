"""The command in processes that can be killed: a fork of the test's own, so that nothing has to be imported again."""

import logging
import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path

from RobustART.training.cls_solver import main


class Command:
    """A running command; its output is in ``text``."""

    def __init__(self, arguments, log, **environ):
        self.log, self.before = log, log.stat().st_size if log.exists() else 0
        self.process = multiprocessing.get_context("fork").Process(target=_run, args=(arguments, log, environ))
        self.process.start()
        self.pid = self.process.pid

    @property
    def text(self):
        return self.log.read_bytes()[self.before :].decode() if self.log.exists() else ""

    def send(self, number):
        """Sends a signal, unless the command has ended."""
        if self.process.exitcode is None:
            os.kill(self.pid, number)

    def end(self, seconds=120):
        """Waits for the end; returns the exit status, negative for a signal.

        Unlike ``join``, which waits for processes that the command has started too.
        """
        if not self.ends_within(seconds):
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s: {self.text[-2000:]}")
        return self.process.exitcode

    def ends_within(self, seconds):
        """Waits for the end; returns whether it came."""
        until = time.monotonic() + seconds
        while self.process.exitcode is None and time.monotonic() < until:
            time.sleep(0.01)
        return self.process.exitcode is not None

    def wait_for(self, condition, seconds=120):
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.is_alive(), self.text
            assert time.monotonic() < until, self.text
            time.sleep(0.01)
        return self


def _run(arguments, log, environ):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        del os.environ[name]
    os.environ.update(environ)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = sys.stderr = open(descriptor, "w", buffering=1)  # noqa: SIM115 - until the process ends
    logging.getLogger("RobustART").handlers.clear()  # of runs in the test's own process
    status = 1
    try:
        status = main(arguments)
    except BaseException:
        traceback.print_exc()  # os._exit would show nothing
    finally:
        sys.stderr.flush()
        os._exit(status)


def arguments(config, folder, *overrides):
    """Returns the arguments of the command for a config and a folder of results."""
    values = [f"output_dir={folder}", *overrides]
    return ["--config", str(config), "--quiet", *(word for value in values for word in ("--set", value))]


def children(pid):
    """Returns the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def slurm(rank, size, job, **more):
    """Returns what Slurm tells a task."""
    return {
        "SLURM_PROCID": str(rank), "SLURM_NTASKS": str(size), "SLURM_LOCALID": str(rank), "SLURM_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": str(job), **more,
    }  # fmt: skip
