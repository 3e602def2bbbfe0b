"""A pool of processes that yields results as they are finished and never leaves processes running."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from RobustART.core.plugins import imported_plugins
from RobustART.data.loader import begin_worker
from RobustART.errors import ProcessLostError

T = TypeVar("T")


class Stopped(Exception):
    """Raised in a worker process whose work is abandoned because the run is ending."""


_function: Callable[[int], Any] | None = None
_stop: Any = None


def _start(function: Callable[[int], Any], stop: Any, plugins: Sequence[str]) -> None:
    global _function, _stop
    _function, _stop = function, stop
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal interrupts all processes; the main process ends the others
    begin_worker(plugins)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(item: int) -> Any:
    assert _function is not None
    return _function(item)


def check_stop() -> None:
    """Raises :class:`Stopped` if the run is ending; long tasks call it between their steps."""
    if _stop is not None and _stop.value:
        raise Stopped


def deal(
    function: Callable[[int], T], items: Sequence[int], workers: int, name: Callable[[int], str]
) -> Generator[tuple[int, T], None, None]:
    """Yields (item, result) as results are finished; an error ends the iteration and all processes.

    Close the iterator (``contextlib.closing``) to end the processes early.

    Args:
        function: task to run on an item; it runs in another process if there are several workers.
        items: the items.
        workers: number of processes; below 2 all tasks run in this process, in order.
        name: (item) -> its name in the message of a lost process.

    Raises:
        ProcessLostError: a process has ended; the message names the items it may have worked on.
    """
    workers = min(workers, len(items))
    if workers < 2:
        for item in items:
            yield item, function(item)
        return
    # A forked process inherits what users have registered; without fork, they have to be importable.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    context: Any = multiprocessing.get_context(method)
    stop = context.RawValue("b", 0)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(function, stop, imported_plugins())
    )
    waiting = iter(items)
    running: dict[Future[T], int] = {}
    try:
        while True:
            for item in waiting:
                running[pool.submit(_call, item)] = item
                if len(running) >= 2 * workers:
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running[future], future.result()
                del running[future]
    except BrokenProcessPool:
        names = ", ".join(name(item) for item in sorted(running.values()))
        raise ProcessLostError(
            f"a process has ended while it worked on one of {names} (out of memory?). The files written before are kept, "
            "and the same command resumes"
        ) from None
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)
