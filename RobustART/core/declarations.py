"""What options there are: read from the keyword-only parameters of a function or the fields of a dataclass.

A setting's type, default and range are declared once, where it is used. Its description is in the ``Args:`` section of the
function, or the string under the field.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Collection
from typing import Any

from RobustART.core.ranges import Default

PLAIN = (bool, int, float, str)
"""Types that a default shows, where there is no annotation."""
UNSET = object()
"""The default of an option that may be left out, where only its owner knows what then happens."""


@dataclasses.dataclass(frozen=True)
class Option:
    """One keyword of a function, or one field of a dataclass."""

    hint: Any
    """Its type with its ranges; without an annotation the type of its default, or ``Any``."""
    default: Any
    """Its default; ``inspect.Parameter.empty`` if it is required."""
    field: str
    """Its name in Python, where a file's key differs."""


def options_of(owner: Callable[..., Any], *, hidden: Collection[str] = ()) -> dict[str, Option]:
    """Returns the options of a function (its keyword-only parameters) or of a dataclass (its fields), by name.

    ``**common: Unpack[Common]`` adds the keys of the ``TypedDict`` ``Common``.

    Args:
        owner: the function or class.
        hidden: parameters that are not options.
    """
    options: dict[str, Option] = {}
    if dataclasses.is_dataclass(owner):
        hints = typing.get_type_hints(owner, include_extras=True)
        for field in dataclasses.fields(owner):
            options[field.metadata.get("key", field.name)] = Option(hints[field.name], _default(field), field.name)
    else:
        for parameter in _parameters(owner):
            if parameter.kind is parameter.KEYWORD_ONLY:
                options[parameter.name] = Option(_hint(parameter), parameter.default, parameter.name)
            elif parameter.kind is parameter.VAR_KEYWORD:
                options |= _unpacked(parameter.annotation)
    return {name: option for name, option in options.items() if name not in hidden}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _parameters(function: Callable[..., Any]) -> Collection[inspect.Parameter]:
    try:
        return inspect.signature(function, eval_str=True).parameters.values()
    except NameError:  # an annotation whose names are imported for type checkers alone
        return inspect.signature(function).parameters.values()


def _hint(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty or isinstance(parameter.annotation, str):
        return type(parameter.default) if type(parameter.default) in PLAIN else Any
    return parameter.annotation


def _unpacked(annotation: Any) -> dict[str, Option]:
    """Returns the options of ``Unpack[Common]``; other annotations of ``**kwargs`` have none."""
    common = next(iter(typing.get_args(annotation)), None)
    if not hasattr(common, "__required_keys__"):
        return {}
    options = {}
    for name, hint in typing.get_type_hints(common, include_extras=True).items():
        if getattr(typing.get_origin(hint), "_name", "") in ("NotRequired", "Required"):
            hint = typing.get_args(hint)[0]
        default: Any = inspect.Parameter.empty if name in common.__required_keys__ else UNSET
        stated = [mark.value for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Default)]
        options[name] = Option(hint, *(stated or [default]), field=name)
    return options
