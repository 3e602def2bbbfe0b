"""Errors that a user can cause. Each message names the setting or file, the value found and the values allowed."""

from __future__ import annotations

import difflib
import os
import re
import traceback
from collections.abc import Iterable

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class UserError(ValueError):
    """Base class of all errors below; the command line prints the message without a traceback.

    Addresses of objects and codes of terminals are removed from the message: they are parts of other messages in it, and
    differ between runs.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_CONTROL.sub("", _ADDRESS.sub("", str(message))))


class ConfigError(UserError):
    """An invalid configuration, option or argument."""


class UnknownNameError(UserError):
    """A name that is not in a registry."""


class DataError(UserError):
    """A data set or an image that cannot be used."""


class ModelError(UserError):
    """A model that cannot be built, or that does not behave as a classifier."""


class WeightsError(ModelError):
    """Weights that cannot be read safely or do not fit the model."""


class RecordError(UserError):
    """A result file that cannot be read, written, resumed or merged."""


class TrainingError(UserError):
    """A training that cannot continue, or a checkpoint that it cannot resume from."""


class UndefinedError(UserError):
    """A number that the data do not define; the message is the reason."""


class ProcessLostError(UserError):
    """Another process of the run has ended, so this one cannot continue."""


_LIBRARIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}", f"{os.sep}lib{os.sep}python", "<")
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def reason(error: BaseException) -> str:
    """Returns what another's code raised, on one line: type, message, and the last line of a user's file, if any."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a __str__ of a user's
        text = "its message cannot be made"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {text}"  # names file and line
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f for f in frames if not f.filename.startswith(_PACKAGE) and not any(part in f.filename for part in _LIBRARIES)
    ]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


RENAMED = {"share": "sparsity"}
"""Earlier names of options to their present ones."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the known name most like ``name``, or an empty string."""
    known = list(known)
    renamed = [new for old, new in RENAMED.items() if old == name and new in known]
    close = renamed or difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
