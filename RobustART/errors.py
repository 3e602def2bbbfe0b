"""Errors that a user can cause. Each message names the setting or file, the value found and the values allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Base class of all errors below; the command line prints the message without a traceback."""


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


RENAMED = {"share": "sparsity"}
"""Earlier names of options to their present ones."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the known name most like ``name``, or an empty string."""
    known = list(known)
    renamed = [new for old, new in RENAMED.items() if old == name and new in known]
    close = renamed or difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
