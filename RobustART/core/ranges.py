"""What an option may be, said where it is defined: in the annotation of a function's parameter.

``alpha: Annotated[float, Numbers(0, 1)]`` is an option from 0 to 1; several of these are alternatives.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any

from RobustART.core.options import option_defaults
from RobustART.errors import ConfigError

LARGEST_FLOAT32 = 3.4e38
"""Weights, images and losses are float32, which holds no larger number."""


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A finite number in a range, or a list of such."""

    low: float
    """The least, itself allowed."""
    high: float = math.inf
    """The largest, itself allowed."""
    whole: bool = False
    """Whether it must be a whole number."""
    above: bool = False
    """Whether ``low`` is not allowed itself."""
    below: bool = False
    """Whether ``high`` is not allowed itself."""
    counts: tuple[int, ...] = ()
    """How many a list of them may have; without it, it is one number."""
    rising: bool = False
    """Whether the numbers of a list must not fall."""

    def __contains__(self, value: object) -> bool:
        if not self.counts:
            return self._allows(value)
        if not isinstance(value, (list, tuple)) or len(value) not in self.counts:
            return False
        return all(map(self._allows, value)) and (not self.rising or list(value) == sorted(value))

    def _allows(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        inside = value > self.low if self.above else value >= self.low
        return inside and (value < self.high if self.below else value <= self.high) and abs(value) < math.inf

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        low = f"{'above' if self.above else 'from'} {self.low:g}"
        high = " up" if math.isinf(self.high) else f" to {'below ' if self.below else ''}{self.high:g}"
        if not self.counts:
            return f"a {kind} {low}{high}"
        order = ", in rising order" if self.rising else ""
        return f"a list of {' or '.join(map(str, self.counts))} {kind}s {low}{high}{order}"


def ranges_of(function: Callable[..., Any]) -> dict[str, tuple[Numbers, ...]]:
    """Returns what the keyword-only options of a function may be, of those that say it."""
    hints = typing.get_type_hints(function, include_extras=True)
    found = {name: getattr(hints.get(name), "__metadata__", ()) for name in option_defaults(function)}
    return {name: ranges for name, ranges in found.items() if ranges}


def check_ranges(options: Mapping[str, Any], ranges: Mapping[str, tuple[Numbers, ...]], where: str) -> None:
    """Raises a ConfigError if an option is outside its ranges.

    Args:
        options: what came.
        ranges: what each may be; others may be anything.
        where: what to call the place in the message.
    """
    for name, value in options.items():
        if name in ranges and not any(value in allowed for allowed in ranges[name]):
            raise ConfigError(
                f"the option {name!r} of {where} must be {' or '.join(map(str, ranges[name]))}, got {value!r}"
            )


def given_options(options: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the options without those that are None where that is the default of the function's parameter."""
    defaults = option_defaults(function)
    return {k: v for k, v in options.items() if v is not None or defaults.get(k, inspect.Parameter.empty) is not None}
