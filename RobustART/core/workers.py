"""Runs a function in worker processes of this machine, and leaves no process behind.

Each worker has its own socket and shares no lock with the others, so a killed worker blocks nobody, is noticed at once,
and is named in one line. It ignores SIGINT and SIGTERM, which terminals and schedulers send to every process of a run:
the run decides when its workers end.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import torch

from RobustART.core.plugins import import_plugins, imported_plugins
from RobustART.core.shipping import receive, send
from RobustART.errors import ConfigError, ProcessLostError, UserError

T = TypeVar("T")
R = TypeVar("R")
_GIB = 2**30


def limit_threads() -> None:
    """Limits this process to one thread; with several processes, more threads would compete for the cores."""
    torch.set_num_threads(1)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)


class _Traceback(Exception):
    """The traceback of an error in a worker, shown as its cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _serve(connection: Connection, function: Callable[[Any], Any], plugins: Sequence[str]) -> None:
    """Main function of a worker: receives items and sends results until the run ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_send_results, args=(connection, results), daemon=True).start()
    limit_threads()
    failed: Exception | None = None
    try:
        import_plugins(plugins, "imports")  # which a process that is not forked lacks
    except Exception as error:
        failed = error
    while True:
        try:
            number, item = receive(connection)
        except (EOFError, OSError):
            os._exit(1)  # the run is gone
        try:
            if failed is not None:
                raise failed
            results.put((number, function(item), None))
        except Exception as error:
            results.put((number, None, _portable(error)))


def _send_results(connection: Connection, results: queue.SimpleQueue[Any]) -> None:
    while True:
        number, result, failure = results.get()
        try:
            try:
                send(connection, (number, result, failure))
            except OSError:
                raise
            except Exception as error:  # the result cannot be sent
                send(connection, (number, None, _portable(error)))
        except OSError:
            os._exit(1)  # the run is gone


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _portable(error: Exception) -> tuple[type[Exception], str, str]:
    """Returns class, message and traceback of an error; an error itself may not be picklable."""
    kind, message = type(error), str(error)
    try:
        pickle.dumps(kind)
    except Exception:  # a class that only this process knows
        kind, message = RuntimeError, f"{kind.__name__}: {message}"
    return kind, message, "".join(traceback.format_exception(error))


def _remade(kind: type[Exception], message: str) -> Exception:
    try:
        return kind(message)
    except Exception:  # it is not made from a message alone
        return RuntimeError(f"{kind.__name__}: {message}")


class _Worker:
    """One worker process, as seen by the run."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        # A fork has what users have registered; a process that is not forked imports them.
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        context: Any = multiprocessing.get_context(method)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, imported_plugins()), daemon=True)
        self.process.start()
        theirs.close()
        self.tasks: dict[int, Any] = {}
        """Items that it was given, by number."""


@contextlib.contextmanager
def _crew(function: Callable[[Any], Any], workers: int, remedy: str) -> Iterator[list[_Worker]]:
    """Starts workers, and kills them at the end of the block or of this process."""
    crew: list[_Worker] = []
    owner = os.getpid()

    def end() -> None:
        if os.getpid() != owner:
            return
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()
            worker.connection.close()

    atexit.register(end)
    try:
        try:
            for _ in range(workers):
                crew.append(_Worker(function))
        except OSError as error:
            raise ConfigError(
                f"cannot start {workers} worker processes, {len(crew)} could be: {error.strerror or error}; {remedy}"
            ) from None
        yield crew
    finally:
        atexit.unregister(end)
        end()


def work(
    function: Callable[[T], R], items: Iterable[T], workers: int, *, ordered: bool = True, ahead: int = 2,
    name: Callable[[T], str] = str, remedy: str = "use fewer workers or a smaller batch_size",
) -> Generator[tuple[T, R], None, None]:  # fmt: skip
    """Yields (item, result) for each item; the first error ends it.

    Close the iterator (``contextlib.closing``) to end the processes at once.

    Args:
        function: makes a result from an item.
        items: what to work on; drawn when there is a process for it.
        workers: processes; 0 works in this one, in order.
        ordered: yield in the order of the items; otherwise as the results come.
        ahead: items per process that are given out before a result is asked for.
        name: what to call an item whose process is lost.
        remedy: what to do where there are too many processes, or where they take too much memory.

    Raises:
        ConfigError: the processes cannot be started.
        ProcessLostError: a process has ended; the message says how, and what it worked on.
        Exception: what ``function`` raised, with the worker's traceback as its cause unless it is a UserError.
    """
    if workers < 1:
        for item in items:
            yield item, function(item)
        return
    waiting = enumerate(items)
    results: dict[int, tuple[T, R]] = {}
    given = yielded = 0
    with _crew(function, workers, remedy) as crew:
        while True:
            while given - yielded < workers * ahead and (task := next(waiting, None)) is not None:
                worker = min(crew, key=lambda worker: len(worker.tasks))
                worker.tasks[task[0]] = task[1]
                given += 1
                with contextlib.suppress(OSError):  # its end is noticed below
                    send(worker.connection, task)
            if given == yielded:
                return
            ready = yielded in results if ordered else bool(results)
            arrived = wait([worker.connection for worker in crew], 0 if ready else None)
            for worker in crew:
                if worker.connection in arrived:
                    number, result = _result(worker, len(crew), name, remedy)
                    results[number] = worker.tasks.pop(number), result
            number = yielded if ordered else next(iter(results), -1)
            if number in results:
                yielded += 1
                yield results.pop(number)


def _result(worker: _Worker, workers: int, name: Callable[[Any], str], remedy: str) -> tuple[int, Any]:
    """Returns the next result of a worker and the number of its item; raises its error instead."""
    try:
        number, result, failure = receive(worker.connection)
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        tasks = " or ".join(map(name, worker.tasks.values())) or "nothing"  # a result may be lost on its way
        raise ProcessLostError(
            f"one of {workers} worker processes {_how_it_ended(code)} while it worked on {tasks}"
            f"{_memory_hint(code, remedy)}. What is written is kept, and the same command resumes"
        ) from None
    if failure is not None:
        kind, message, lines = failure
        raise _remade(kind, message) from (None if issubclass(kind, UserError) else _Traceback(lines))
    return number, result


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed from outside ({name})" if name in ("SIGKILL", "SIGTERM") else f"crashed ({name})"


def _memory_hint(code: int | None, remedy: str) -> str:
    """Returns what to do about a process that the kernel may have killed for lack of memory, or an empty string."""
    if code != -9:
        return ""
    memory = free_memory()
    left = f": {memory[0] / _GIB:.1f} of {memory[1] / _GIB:.1f} GiB are free now, without it" if memory else ""
    return f". The usual cause is a lack of memory{left}; {remedy}"


def free_memory(root: Path = Path("/")) -> tuple[int, int] | None:
    """Returns (free, total) memory in bytes, within the limits of a container; None where Linux does not report it.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    try:
        rows = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
        free, total = (int(rows[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError):
        return None
    for most, used in _memory_limits(root):
        if most < total:
            free, total = min(free, max(0, most - used)), most
    return free, total


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yields (limit, used) in bytes of the control groups of this process, versions 1 and 2, where they are limited."""
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
            if controllers:
                top, names = top / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if controllers and "memory" not in controllers.split(","):
                continue
            for folder in (inner := top / path.lstrip("/"), *inner.parents):
                with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                    yield int((folder / names[0]).read_text()), int((folder / names[1]).read_text())
                if folder == top:
                    break
