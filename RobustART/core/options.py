"""Checks and converts options, for configs, Python calls and result files alike.

An option is declared where it is used (:mod:`RobustART.core.declarations`), with its range (:mod:`RobustART.core.ranges`);
:func:`checked` compares what a user gives with the declaration.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import os
import re
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from RobustART.core.declarations import UNIONS, options_of
from RobustART.core.manual import describe, listed_values
from RobustART.core.ranges import Named, Rule
from RobustART.errors import ConfigError, UnknownNameError, nearest

C = TypeVar("C")
FRACTION = re.compile(r"[-+]?\d+(?:\.\d*)?/\d+(?:\.\d*)?$")
"""Numbers such as ``8/255``."""


def option_defaults(function: Callable[..., Any], *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """Returns the options of a function with their defaults (``inspect.Parameter.empty`` if required)."""
    return {name: option.default for name, option in options_of(function, hidden=hidden).items()}


def checked(owner: Callable[..., Any], given: object, place: str, *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """Returns the given options, checked against their owner and converted.

    Args:
        owner: a function, whose keyword-only parameters are the options, or a dataclass.
        given: a mapping of names to values.
        place: how messages name the owner: the path of a section (``evaluation``, or ``""`` for the top), or words, such as
            ``the attack fgsm``.
        hidden: parameters that are not options.

    Raises:
        ConfigError: a name is unknown, a value has the wrong type or is out of range, or a required option is missing.
    """
    words = " " in place
    if not isinstance(given, Mapping):
        where = f"the options of {place}" if words else place or "the config"
        raise ConfigError(f"{where} must be a mapping of keys to values, got {given!r}")
    known = options_of(owner, hidden=hidden)
    found = {}
    for name, value in given.items():
        if name not in known:
            raise unknown_option(name, known, place)
        found[name] = convert(value, known[name].hint, _path(place, name))
    for name, option in known.items():
        if option.default is inspect.Parameter.empty and name not in given:
            raise ConfigError(f"{place} needs the option {name!r}" if words else f"{_path(place, name)} is missing")
    return found


def build(cls: type[C], data: object, path: str) -> C:
    """Returns the dataclass ``cls`` made from a mapping; ``path`` is the mapping's place in the file."""
    return cls(**checked(cls, data, path))


def unknown_option(name: object, known: Collection[str], place: str) -> ConfigError:
    """Returns the error for a name that is not among ``known``; ``place`` is as in :func:`checked`."""
    what = f"unknown option {name!r} of {place}" if " " in place else f"unknown key {_path(place, name)}"
    return ConfigError(f"{what}{nearest(name, known) or ';'} Allowed: {', '.join(known) or 'none'}")


def _path(place: str, name: object) -> str:
    key = str(name)
    key = key if key.isprintable() else ascii(key)
    return f"{place}{': ' if ' ' in place else '.' if place else ''}{key}"


class _MismatchError(Exception):
    """A value does not fit its hint; :func:`convert` raises a ConfigError for it."""


def convert(value: Any, hint: Any, path: str) -> Any:
    """Returns ``value`` as the type ``hint``, within its ranges.

    A number may be a string such as ``8/255`` or ``1e-4``. ``Sequence[X]`` takes a single ``X`` for a list of one;
    ``list[X]`` does not.

    Raises:
        ConfigError: the value does not fit; the message has ``path``, the value, what is allowed, and the nearest name.
    """
    try:
        return _converted(value, hint, path)
    except _MismatchError:
        allowed, suggestion = describe(hint), ""
        if isinstance(value, str):
            allowed += " (such as 0.1, 1e-4 or 8/255)" if "a number" in allowed else ""
            suggestion = nearest(value, map(str, listed_values(hint)))
        raise ConfigError(f"{path} must be {allowed}, got {value!r}{suggestion}") from None


def _converted(value: Any, hint: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    kind = origin if isinstance(origin, type) else object
    if hint is Any:
        return value
    if origin is Annotated:
        made = _converted(value, args[0], path)
        if any(isinstance(rule, Rule) and made not in rule for rule in args[1:]):
            raise _MismatchError
        for mark in args[1:]:
            made = _named(made, mark, path) if isinstance(mark, Named) else made
        return made
    if origin in UNIONS:
        return _first_fit(value, args, path)
    if origin is Literal:
        if any(value == name and type(value) is type(name) for name in args):
            return value
    elif dataclasses.is_dataclass(hint):
        if isinstance(value, (Mapping, type(None))):
            return build(hint, value or {}, path)  # type: ignore[arg-type]
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
    elif issubclass(kind, Mapping):
        if isinstance(value, (Mapping, type(None))):
            key = str if args[0] is str else lambda name: name
            return {key(name): convert(entry, args[1], f"{path}.{name}") for name, entry in (value or {}).items()}
    elif issubclass(kind, Sequence):
        return _sequence(value, origin, args, path)
    elif hint in _READERS:
        return _READERS[hint](value, path)
    elif not isinstance(hint, type) or isinstance(value, hint):
        return value
    raise _MismatchError


def _named(value: Any, mark: Named, path: str) -> Any:
    """Returns a section, its options checked against the owner of that name."""
    if mark.form == "options":
        return checked(mark.load(), value, path, hidden=mark.hidden)
    if mark.form == "kwargs":
        return dataclasses.replace(value, kwargs=_entry_options(mark, value.type, value.kwargs, path, f"{path}.kwargs"))
    if mark.form == "flat":
        if "type" not in value:
            raise ConfigError(f"{path}.type is missing")
        options = {key: option for key, option in value.items() if key != "type"}
        return {"type": value["type"], **_entry_options(mark, value["type"], options, path, path)}
    return value


def _entry_options(mark: Named, name: object, options: Mapping[str, Any], section: str, path: str) -> dict[str, Any]:
    try:
        owner = mark.load()[name]
    except UnknownNameError as error:
        raise ConfigError(f"{section}.type: {error}") from None
    known = options_of(owner, hidden=mark.hidden)
    for key in options:
        if key not in known:
            raise unknown_option(key, known, f"{section} {name!r}")
    return checked(owner, options, path, hidden=mark.hidden)


def _first_fit(value: Any, members: Sequence[Any], path: str) -> Any:
    """Returns the value as the first member of a union that takes it; an error inside a member that nearly does is kept."""
    if value is None and type(None) in members:
        return None
    inside: list[ConfigError] = []
    for member in members:
        try:
            return _converted(value, member, path)
        except _MismatchError:
            continue
        except ConfigError as error:
            inside.append(error)
    raise inside[0] if inside else _MismatchError


def _sequence(value: Any, origin: Any, args: Sequence[Any], path: str) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value  # an array
    if not isinstance(value, (list, tuple, range)):
        if origin is not Sequence or args[0] is Any or value is None:
            raise _MismatchError
        return [_converted(value, args[0], path)]
    fixed = origin is tuple and args[-1] is not Ellipsis
    if fixed and len(value) != len(args):
        raise _MismatchError
    hints = args if fixed else [args[0]] * len(value)
    made = [convert(entry, hint, f"{path}[{i}]") for i, (entry, hint) in enumerate(zip(value, hints, strict=True))]
    return tuple(made) if origin is tuple else made


def _integer(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _MismatchError
    return int(value)


def _float(value: Any, path: str) -> float:
    number = read_number(value, path)
    if number is None:
        raise _MismatchError
    return number


def _string(value: Any, path: str) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise _MismatchError
    try:
        text.encode("utf-8", "surrogateescape")  # as paths are
    except UnicodeEncodeError:
        raise ConfigError(
            f"{path} must be a string of valid characters, got {text!r}, which cannot be encoded"
        ) from None
    return text


def _boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _MismatchError
    return value


_READERS: dict[Any, Callable[[Any, str], Any]] = {bool: _boolean, int: _integer, float: _float, str: _string}


def read_number(value: object, where: str) -> float | None:
    """Returns a float from a number or a string such as ``1e-4`` or ``8/255``; None if it is neither.

    Raises:
        ConfigError: a division by zero, or an integer that no float holds; ``where`` names it.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
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
        return float(text)
    except ValueError:
        return None


def parse_number(value: object, where: str = "a number") -> float:
    """Returns a float from a number or a string such as ``1e-4`` or ``8/255``.

    Raises:
        ConfigError: it is neither, or a division by zero; ``where`` names it.
    """
    return float(convert(value, float, where))


def as_path(value: object, what: str) -> Path:
    """Returns the path of a file or folder; a ConfigError says ``what`` it should be if it is no string and no path."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise ConfigError(f"{what} must be named by a string or a path, got {value!r}")
    return Path(value)


def to_plain(config: Any) -> Any:
    """Returns a dataclass as plain data for YAML or JSON; a function by its name, ``module:function``."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {k: to_plain(v) for k, v in config.items()}
    if isinstance(config, (list, tuple, range)):
        return [to_plain(v) for v in config]
    if isinstance(config, os.PathLike):
        return os.fspath(config)
    if hasattr(config, "item") and getattr(config, "ndim", None) == 0:
        return config.item()  # a numpy or torch number
    if inspect.isfunction(config) or inspect.isclass(config):
        return f"{config.__module__}:{config.__qualname__}"
    return config


def attack_norm(name: str) -> str:
    """Returns ``Linf``, ``L2`` or ``L1``, the norm of an attack by its name: ``pgd_l2`` is L2, ``fgsm`` Linf."""
    return {"l1": "L1", "l2": "L2"}.get(name.rpartition("_")[2], "Linf")


def check_radius(eps: float, norm: str, place: str) -> None:
    """Raises a ConfigError if a radius is one of images in [0, 255]; ``place`` names it."""
    if norm == "Linf" and 1 < eps < math.inf:
        meant = format_eps(eps / 255)
        raise ConfigError(
            f"{place} is {eps:g}, but in Linf all images in [0, 1] are within 1 of each other; is {meant} meant? Radii are "
            "for images in [0, 1]"
        )


def format_eps(eps: float, norm: str = "Linf") -> str:
    """Returns a radius as people write it: ``8/255`` for 0.03137... in Linf, ``1600`` for 1600.0."""
    numerator = eps * 255
    if norm == "Linf" and 0 < eps < 1 and abs(numerator * 2 - round(numerator * 2)) < 1e-6:
        return f"{round(numerator * 2) / 2:g}/255"
    return f"{eps:.10g}"
