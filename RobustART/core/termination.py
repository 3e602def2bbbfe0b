"""SIGTERM, which schedulers send some seconds before they kill: it ends a command as Ctrl-C does, with exit status 143.

A training ends between two steps instead, where it can save a checkpoint: it defers the signal and asks for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from RobustART.errors import UserError

STATUS = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM has come; the message, if any, is what was saved."""


class _State:
    received = False
    deferred = False


def terminated() -> bool:
    """Returns whether SIGTERM has come since :func:`exit_status` began."""
    return _State.received


@contextlib.contextmanager
def termination_deferred() -> Iterator[None]:
    """While the block runs, SIGTERM raises nothing: :func:`terminated` reports it. Its end raises what is left."""
    before, _State.deferred = _State.deferred, True
    try:
        yield
    finally:
        _State.deferred = before
    if terminated() and not before:
        raise Terminated


@contextlib.contextmanager
def _termination_raised() -> Iterator[None]:
    """While the block runs, the first SIGTERM raises :class:`Terminated`; without effect outside the main thread."""
    owner = os.getpid()

    def handle(*_: object) -> None:
        if os.getpid() != owner:  # a worker that does not ignore it yet
            return
        first, _State.received = not _State.received, True
        if first and not _State.deferred:
            raise Terminated

    _State.received = False
    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_status(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit status; one line on stderr says what has ended it early.

    Returns:
        What the command returns; 2 after a UserError, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with _termination_raised():
            return command()
    except Terminated as stop:
        print(f"ended by SIGTERM{f' {stop}' if str(stop) else ''}; the same command resumes from here", file=sys.stderr)
        return STATUS
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS if terminated() else 2
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from here", file=sys.stderr)
        return 130
    finally:
        _State.received = False
