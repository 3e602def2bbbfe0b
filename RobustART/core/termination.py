"""SIGTERM, which schedulers send some seconds before they kill: it ends a command as Ctrl-C does, with exit status 143.

A training ends between two steps instead, where it can save a checkpoint: it defers the signal and asks for it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

from RobustART.errors import UserError, reason

STATUS = 128 + signal.SIGTERM
OUTPUT_CLOSED = 128 + 13
"""Exit status after the reader of stdout has closed it: that of a process that SIGPIPE ends."""


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

    Closed standard streams are replaced by the null device. Characters that the encoding of stdout lacks are escaped. A
    reader that closes stdout early, such as ``head``, ends the command without a message.

    Returns:
        What the command returns; 2 after a UserError, an OSError or a user's sys.exit, 130 after Ctrl-C, 141 after stdout
        was closed, 143 after SIGTERM.
    """
    _open_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _status(command)
    except SystemExit as error:
        _flushed()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        if frame.filename == argparse.__file__:  # it has printed the reason
            raise
        print(f"error: code outside this package ended the program: {reason(error)}", file=sys.stderr)
        status = 2
    return _flushed() or status


def _open_streams() -> None:
    """Opens the null device in place of each closed standard stream, so that no other file takes its descriptor."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor
            os.set_inheritable(null, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if descriptor else "r", encoding="utf-8"))  # noqa: SIM115


def _flushed() -> int:
    """Writes what is left of stdout; returns 0, or the exit status of a command whose output is lost."""
    try:
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        status = OUTPUT_CLOSED
    except OSError as error:
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        status = 2
    with contextlib.suppress(OSError):  # what is left is written at exit, to no one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _reader_gone() -> bool:
    """Returns whether nothing reads the pipe that stdout is; True if that is unknown."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return bool(poll.poll(0))
    except (AttributeError, OSError):
        return True


def _status(command: Callable[[], int]) -> int:
    try:
        with _termination_raised():
            return command()
    except Terminated as stop:
        print(f"ended by SIGTERM{f' {stop}' if str(stop) else ''}; the same command resumes from here", file=sys.stderr)
        return STATUS
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return STATUS if terminated() else 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_gone():
            return OUTPUT_CLOSED
        if error.filename is None and (lost := _flushed()):
            return lost
        name = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {name}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from here", file=sys.stderr)
        return 130
    finally:
        _State.received = False
