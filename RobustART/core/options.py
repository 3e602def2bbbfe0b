"""How options are read, checked and written, the same for configs, Python and result files."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from RobustART.errors import ConfigError, nearest

FRACTION = re.compile(r"[-+]?\d+(?:\.\d*)?/\d+(?:\.\d*)?$")
"""Numbers such as ``8/255``."""


def parse_number(value: object, where: str = "a number") -> float:
    """Returns a float from a number or from text like ``1e-4`` or ``8/255``.

    Raises:
        ConfigError: it is neither, or a division by zero; ``where`` names it.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(
                f"{where} must be a number that a float can hold, got one of {len(str(value))} digits"
            ) from None
    text = value.strip() if isinstance(value, str) else ""
    if FRACTION.match(text):
        above, below = (float(part) for part in text.split("/"))
        if below == 0:
            raise ConfigError(f"{where} must be a number, got {text!r}, a division by zero")
        return above / below
    try:
        if text:
            return float(text)
    except ValueError:
        pass
    raise ConfigError(f"{where} must be a number such as 0.1, 1e-4 or 8/255, got {value!r}")


def as_path(value: object, what: str) -> Path:
    """Returns the place of a file or folder; a ConfigError says ``what`` it should be if it is no text and no path."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise ConfigError(f"{what} must be named by a text or a path, got {value!r}")
    return Path(value)


def to_plain(config: Any) -> Any:
    """Returns a dataclass as plain data for YAML or JSON, under the file's own keys."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.metadata.get("key", f.name): to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {k: to_plain(v) for k, v in config.items()}
    if isinstance(config, (list, tuple, range)):
        return [to_plain(v) for v in config]
    if isinstance(config, os.PathLike):
        return os.fspath(config)
    if hasattr(config, "item") and getattr(config, "ndim", None) == 0:
        return config.item()  # a numpy or torch number
    return config


def attack_norm(name: str) -> str:
    """Returns ``Linf``, ``L2`` or ``L1``, the norm of an attack by its name: ``pgd_l2`` is L2, ``fgsm`` Linf."""
    return {"l1": "L1", "l2": "L2"}.get(name.rpartition("_")[2], "Linf")


def format_eps(eps: float, norm: str = "Linf") -> str:
    """Returns a radius as people write it: ``8/255`` for 0.03137... in Linf, ``1600`` for 1600.0."""
    numerator = eps * 255
    if norm == "Linf" and 0 < eps < 1 and abs(numerator * 2 - round(numerator * 2)) < 1e-6:
        return f"{round(numerator * 2) / 2:g}/255"
    return f"{eps:.10g}"


def option_defaults(function: Callable[..., Any], *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """Returns the keyword-only options of a function with their defaults (``inspect.Parameter.empty`` where none)."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in hidden}


NUMBERS = ("eps", "step_size", "rel_stepsize")
"""Options that may be written as text, such as ``8/255``."""


def check_types(options: Mapping[str, Any], function: Callable[..., Any], where: str) -> None:
    """Raises a ConfigError if an option is not of the kind of its default: true or false, a whole number, a number, a text.

    Args:
        options: names that the function knows, with their values.
        function: whose defaults decide; where there is none, or it is None, anything goes. None is left to the function.
        where: what to call the place in the message.
    """
    defaults = option_defaults(function)
    for name, value in options.items():
        default = defaults.get(name)
        if value is None:
            continue
        if isinstance(default, bool):
            fits, kind = isinstance(value, bool), "true or false"
        elif isinstance(default, int) or name == "batch_size":
            fits, kind = isinstance(value, int) and not isinstance(value, bool), "a whole number"
        elif isinstance(default, float):
            fits, kind = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        elif isinstance(default, str):
            fits, kind = isinstance(value, str), "a text"
        else:
            continue
        if not fits:
            raise ConfigError(f"the option {name!r} of {where} must be {kind}, got {value!r}")


def check_options(
    options: Mapping[str, Any], function: Callable[..., Any], where: str, *, hidden: Collection[str] = ()
) -> None:
    """Raises a ConfigError if an option is not a keyword of the function, or a needed one is missing.

    Args:
        options: what came.
        function: its keyword-only parameters are the options.
        where: what to call the place in the message.
        hidden: parameters that are not options.
    """
    known = option_defaults(function, hidden=hidden)
    for name in options:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise ConfigError(f"unknown option {name!r} of {where}{nearest(name, known) or ';'} Allowed: {allowed}")
    for name, default in known.items():
        if default is inspect.Parameter.empty and name not in options:
            raise ConfigError(f"{where} needs the option {name!r}")
