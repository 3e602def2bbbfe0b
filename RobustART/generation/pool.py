"""Work dealt out to processes: results as they come, and an end that leaves no process behind."""

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
    """Work was given up because the run is ending; nobody waits for its result."""


_function: Callable[[int], Any] | None = None
_stop: Any = None


def _start(function: Callable[[int], Any], stop: Any, plugins: Sequence[str]) -> None:
    global _function, _stop
    _function, _stop = function, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process decides
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
    """Raises :class:`Stopped` if the run is ending; to be called between steps of long work."""
    if _stop is not None and _stop.value:
        raise Stopped


def deal(
    function: Callable[[int], T], items: Sequence[int], workers: int, name: Callable[[int], str]
) -> Generator[tuple[int, T], None, None]:
    """Yields (item, result) as the results come; an error ends it, and then no process works on.

    Close the iterator (``contextlib.closing``) to end the processes at once.

    Args:
        function: what is done with an item; with workers, in another process.
        items: the items.
        workers: processes; below 2 everything is done in this one, in order.
        name: what to call an item if its process is lost.

    Raises:
        ProcessLostError: a process has ended; what it worked on is named.
    """
    workers = min(workers, len(items))
    if workers < 2:
        for item in items:
            yield item, function(item)
        return
    # A fork has what users have registered; where there is none, they have to be importable.
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
            f"a process has ended while it worked on one of {names} (out of memory?). What is written is whole, and the "
            "same command goes on"
        ) from None
    finally:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)
