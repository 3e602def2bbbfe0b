"""Worker processes: results in order, errors and deaths in one line, and nothing left behind."""

import contextlib
import faulthandler
import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from RobustART.core import shipping
from RobustART.core.workers import free_memory, work
from RobustART.errors import ConfigError, DataError, ProcessLostError


def results(function, items, workers, **options):
    with contextlib.closing(work(function, items, workers, **options)) as made:
        return list(made)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    def slow_at_first(i):
        time.sleep(0.1 if i == 0 else 0)
        return i * i

    assert results(slow_at_first, iter(range(12)), workers) == [(i, i * i) for i in range(12)]
    assert sorted(results(slow_at_first, range(12), workers, ordered=False)) == [(i, i * i) for i in range(12)]
    assert results(slow_at_first, [], workers) == []


def test_no_more_items_are_drawn_than_fit():
    drawn = []
    made = work(lambda i: i, (drawn.append(i) or i for i in range(100)), 2, ahead=3)
    with contextlib.closing(made):
        assert [next(made)[1] for _ in range(4)] == [0, 1, 2, 3]
        assert len(drawn) <= 4 + 6


@pytest.mark.parametrize("store", [True, False])
def test_arrays_arrive_as_they_were(store, monkeypatch):
    """As memory that is passed on, and as bytes without it: both larger than what a socket holds."""
    if not store:
        monkeypatch.delattr(os, "memfd_create")
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (3, 5, 64, 97, 3), dtype=np.uint8))
    sent = {
        "images": images,
        "turned": images.permute(4, 0, 1, 2, 3),
        "numbers": np.arange(7.0),
        "small": images[0, 0, :1],
    }
    sent |= {"half": images.to(torch.bfloat16), "none": np.empty((0, 3)), "texts": ["a", "b"]}
    ((_, came),) = results(lambda _: sent, [0], 1)
    assert list(came) == list(sent)
    for name, value in sent.items():
        equal = torch.equal if isinstance(value, torch.Tensor) else np.array_equal
        assert equal(came[name], value), name
        assert isinstance(came[name], type(value))
    came["images"] += 1  # what arrives can be written to
    assert torch.equal(came["images"] - 1, images)


def test_memory_is_given_back():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _, array in work(lambda _: np.zeros(1 << 20), range(40), 2):
        assert array.size == 1 << 20
    del array
    assert not before or len(os.listdir("/proc/self/fd")) <= before


def test_errors_arrive():
    def fail(kind):
        if kind == "unsendable":
            return threading.Lock()
        if kind == "data":
            raise DataError("03.png cannot be decoded")
        if kind == "two arguments":
            raise UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")

        class Local(Exception):
            pass

        raise Local("mine")

    with pytest.raises(DataError, match=r"^03.png cannot be decoded$") as caught:
        results(fail, ["data"], 1)
    assert caught.value.__cause__ is None
    with pytest.raises(TypeError, match="cannot pickle '_thread.lock' object"):
        results(fail, ["unsendable"], 1)
    with pytest.raises(RuntimeError, match="UnicodeDecodeError: 'utf-8' codec"):
        results(fail, ["two arguments"], 1)
    with pytest.raises(RuntimeError, match="Local: mine") as caught:
        results(fail, ["local"], 1)
    assert "in fail" in str(caught.value.__cause__)  # the worker's traceback


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            signal.SIGKILL,
            r"was killed from outside \(SIGKILL\) while it worked on .*image 5.*. The usual cause is a lack of memory",
        ),
        (signal.SIGSEGV, r"crashed \(SIGSEGV\) while it worked on .*image 5.*. What is written is kept"),
        (None, "ended with exit status 3 while it worked on .*image 5.*. What is written"),
    ],
)
def test_a_lost_process_is_one_line(number, message):
    def die(i):
        if i == 5:
            faulthandler.disable()
            os._exit(3) if number is None else os.kill(os.getpid(), number)
            time.sleep(9)
        return np.zeros(1 << 18)  # others are in the middle of sending

    with pytest.raises(ProcessLostError) as caught:
        results(die, range(100), 2, name=lambda i: f"image {i}", remedy="use fewer workers")
    assert re.search(message, str(caught.value))
    assert str(caught.value).startswith("one of 2 worker processes ")
    assert ("use fewer workers" in str(caught.value)) == (number == signal.SIGKILL)
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_workers_ignore_what_the_run_decides():
    def stubborn(i):
        os.kill(os.getpid(), (signal.SIGTERM, signal.SIGINT)[i])
        return i

    assert results(stubborn, [0, 1], 1) == [(0, 0), (1, 1)]


def test_workers_end_with_the_run(tmp_path):
    """When it is killed, when it forgets them, and at once when it is closed."""

    def note(i):
        (tmp_path / f"{i}-{os.getpid()}").touch()
        time.sleep(0.05)
        return i

    def run(how):
        made = work(note, range(10**6), 2)
        next(made)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    for how, status in (("killed", -9), ("forgotten", 0)):
        process = multiprocessing.get_context("fork").Process(target=run, args=(how,))
        process.start()
        process.join(20)
        assert process.exitcode == status, how
        pids = {int(path.name.split("-")[1]) for path in tmp_path.iterdir()}
        assert len(pids) >= 1
        until = time.monotonic() + 5
        while any(map(alive, pids)) and time.monotonic() < until:
            time.sleep(0.02)
        assert time.monotonic() < until, how
    started = time.monotonic()
    made = work(lambda i: time.sleep(60) if i else i, range(9), 2)
    next(made)
    made.close()
    assert time.monotonic() - started < 5
    assert not multiprocessing.active_children()


def alive(pid):
    """Returns whether a process runs; one that has ended may wait for a parent that looks."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_too_many_processes(monkeypatch):
    def full():
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(
        ConfigError, match="cannot start 2 worker processes, 0 could be: Resource .*; use fewer workers"
    ):
        results(abs, [1, 2], 2)


def test_sending_to_nobody_is_an_error():
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        shipping.send(ours, np.zeros(1 << 20))


def test_free_memory(tmp_path):
    """The least of what the machine has and what the control groups of either version allow."""
    assert free_memory(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  600 kB\n")
    assert free_memory(tmp_path) == (600 * 1024, 1000 * 1024)
    for line, folder, names in (
        ("0::/job/step", "sys/fs/cgroup/job", ("memory.max", "memory.current")),
        ("4:cpu,memory:/job", "sys/fs/cgroup/memory/job", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
        ("4:cpu,memory:/unseen", "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ):
        (tmp_path / "proc/self/cgroup").write_text(f"1:name=systemd:/x\n{line}\n")
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / names[0]).write_text("400000\n")
        (tmp_path / folder / names[1]).write_text("150000\n")
        assert free_memory(tmp_path) == (250000, 400000), line
        (tmp_path / folder / names[0]).write_text("max\n")
        assert free_memory(tmp_path) == (600 * 1024, 1000 * 1024), line
