"""Reads the options of a function (its keyword-only parameters) or of a dataclass (its fields).

A setting's type, default and range are declared once, where it is used. Its description is in the ``Args:`` section of the
function, or the string under the field.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator
from typing import Any

from RobustART.core.ranges import Default, Named

UNIONS = (typing.Union, types.UnionType)
PLAIN = (bool, int, float, str)
"""Types that a default shows, where there is no annotation."""


@dataclasses.dataclass(frozen=True)
class Option:
    """One keyword of a function, or one field of a dataclass."""

    hint: Any
    """Its type with its ranges; without an annotation the type of its default, or ``Any``."""
    default: Any
    """Its default; ``inspect.Parameter.empty`` if it is required."""


def options_of(owner: Callable[..., Any], *, hidden: Collection[str] = ()) -> dict[str, Option]:
    """Returns the options of a function (its keyword-only parameters) or of a dataclass (its fields), by name.

    ``**common: Unpack[Common]`` adds the keys of the ``TypedDict`` ``Common``.
    """
    options: dict[str, Option] = {}
    if dataclasses.is_dataclass(owner):
        hints = typing.get_type_hints(owner, include_extras=True)
        for field in dataclasses.fields(owner):
            options[field.name] = Option(hints[field.name], _default(field))
        return options
    for parameter, hint in _parameters(owner):
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = Option(hint, parameter.default)
    common = common_options(owner)
    options |= _keys(common) if common else {}
    return {name: option for name, option in options.items() if name not in hidden}


def common_options(function: Callable[..., Any]) -> type | None:
    """Returns the ``TypedDict`` of ``**common: Unpack[...]`` in a signature, or None."""
    for parameter, hint in _parameters(function):
        if parameter.kind is parameter.VAR_KEYWORD:
            return next((arg for arg in typing.get_args(hint) if hasattr(arg, "__required_keys__")), None)
    return None


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[inspect.Parameter, Any]]:
    """Yields parameters with their annotations; where one is missing or unknown, the type of a plain default."""
    inner = vars(function).get("__init__", function) if isinstance(function, type) else inspect.unwrap(function)
    names = getattr(inner, "__globals__", {})
    for parameter in inspect.signature(function).parameters.values():
        hint: Any = type(parameter.default) if type(parameter.default) in PLAIN else Any
        if parameter.annotation is not parameter.empty:
            holder = types.SimpleNamespace(__annotations__={"hint": parameter.annotation})
            with contextlib.suppress(NameError):  # names that are imported for type checkers alone
                hint = typing.get_type_hints(holder, names, include_extras=True)["hint"]
        yield parameter, hint


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _keys(common: Any) -> dict[str, Option]:
    options = {}
    for name, hint in typing.get_type_hints(common, include_extras=True).items():
        if getattr(typing.get_origin(hint), "_name", "") in ("NotRequired", "Required"):
            hint = typing.get_args(hint)[0]
        default: Any = inspect.Parameter.empty if name in common.__required_keys__ else None
        stated = [mark.value for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Default)]
        options[name] = Option(hint, stated[0] if stated else default)
    return options


def builder_of(entry: Any) -> Callable[..., Any]:
    """Returns the function of a registry's entry whose keyword-only parameters are its options."""
    return getattr(entry, "build", entry)


def marks_in(hint: Any) -> Iterator[Named]:
    """Yields the :class:`Named` marks in a hint, also those of the members of unions and lists."""
    yield from (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Named))
    for member in typing.get_args(hint):
        yield from marks_in(member)


def sections_in(hint: Any) -> Iterator[type]:
    """Yields the dataclasses in a hint, also those of the members of unions and lists."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for member in typing.get_args(hint):
        yield from sections_in(member)
