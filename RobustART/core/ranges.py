"""Conditions on the values of an option, declared in its annotation: ``alpha: Annotated[float, Range(0, 1)]``.

The owner of an option declares its range once; :mod:`RobustART.core.options` checks, describes and documents it.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Annotated, Any, Literal

LARGEST_FLOAT32 = 3.4e38
"""Weights, images and losses are float32, which holds no larger number."""


class Rule:
    """A condition on values, written into an ``Annotated`` hint: ``value in rule``, and ``str(rule)`` for messages."""

    def __contains__(self, value: Any) -> bool:
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """Returns the condition as keywords of a JSON Schema."""
        return {}


@dataclasses.dataclass(frozen=True)
class Range(Rule):
    """Finite numbers from ``low`` to ``high``."""

    low: float
    """The least number, allowed unless ``above``."""
    high: float = math.inf
    """The largest number, allowed unless ``below``."""
    above: bool = False
    """Whether ``low`` itself is excluded."""
    below: bool = False
    """Whether ``high`` itself is excluded."""
    text: str = ""
    """Text of messages instead of the two numbers."""

    def __contains__(self, value: Any) -> bool:
        inside = value > self.low if self.above else value >= self.low
        return bool(inside and (value < self.high if self.below else value <= self.high) and abs(value) < math.inf)

    def __str__(self) -> str:
        if self.text:
            return self.text
        low = f"{'above' if self.above else 'from'} {_written(self.low)}"
        if math.isinf(self.high):
            return low if self.above else f"{low} up"
        high = _written(self.high)
        if self.above:
            return f"{low} and {'below' if self.below else 'at most'} {high}"
        return f"{low} to {'below ' if self.below else ''}{high}"

    def schema(self) -> dict[str, Any]:
        """Returns ``minimum`` or ``exclusiveMinimum``, ``maximum`` or ``exclusiveMaximum``."""
        low, high = "exclusiveMinimum" if self.above else "minimum", "exclusiveMaximum" if self.below else "maximum"
        return {key: value for key, value in ((low, self.low), (high, self.high)) if not math.isinf(value)}


def _written(number: float) -> str:
    return str(number) if isinstance(number, int) and abs(number) < 10**9 else f"{number:g}"


@dataclasses.dataclass(frozen=True)
class Sizes(Rule):
    """Lists of certain lengths."""

    counts: tuple[int, ...]
    """The lengths."""
    rising: bool = False
    """Whether no entry may be less than the one before."""

    def __contains__(self, value: Any) -> bool:
        return len(value) in self.counts and (not self.rising or list(value) == sorted(value))

    def __str__(self) -> str:
        order = " in rising order" if self.rising else ""
        return f"with {' or '.join(map(str, self.counts))} entries{order}"

    def schema(self) -> dict[str, Any]:
        """Returns ``minItems`` and ``maxItems``."""
        return {"minItems": min(self.counts), "maxItems": max(self.counts)}


@dataclasses.dataclass(frozen=True)
class Named:
    """Marks a value as a name in a registry, with the options of what it names; or as the options of one owner.

    The forms of a section (``flat``, ``kwargs``, ``options``) are checked where the value is read. The others are marked
    for manuals, the JSON Schema and ``--check`` alone; their owner looks the names up.
    """

    target: str
    """``module:NAME`` of a mapping of names to functions, or of the owner; imported when it is needed."""
    form: Literal["name", "entry", "keys", "flat", "kwargs", "options"] = "name"
    """How it is written: a ``name`` is ``fgsm``, an ``entry`` that or ``{fgsm: {steps: 3}}``, ``keys`` are ``{clean: {},
    adversarial: {}}``, ``flat`` is ``{type: pgd, steps: 3}``, ``kwargs`` ``{type: jsd, kwargs: {weight: 12}}`` and
    ``options`` ``{decay: 0.9}``."""
    hidden: tuple[str, ...] = ()
    """Keywords of the functions that are no options here."""
    also: str = ""
    """``module:function`` with options that each name has beside its own."""

    def load(self) -> Any:
        """Returns the mapping or owner."""
        return _imported(self.target)

    def load_also(self) -> Any:
        """Returns the function of :attr:`also`, or None."""
        return _imported(self.also) if self.also else None


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclasses.dataclass(frozen=True)
class Default:
    """The default of a key of a ``TypedDict`` that declares keyword arguments, ``**options: Unpack[...]``."""

    value: Any
    """Whoever takes the arguments uses this where the key is missing."""


Count = Annotated[int, Range(1)]
"""An integer from 1 up."""
Natural = Annotated[int, Range(0)]
"""An integer from 0 up."""
Repeats = Annotated[int, Range(1, 62)]
"""Number of answers about an image; whether each is right is a bit of an int64."""
Seed = Annotated[int, Range(-(2**63), 2**63 - 1, text="of 64 bits")]
"""A signed integer of 64 bits."""
Positive32 = Annotated[float, Range(0, LARGEST_FLOAT32, above=True)]
"""A number above 0 that float32 holds."""
Share = Annotated[float, Range(0, 1)]
"""A part of a whole, or a probability."""
ShareBelowOne = Annotated[float, Range(0, 1, below=True)]
"""A part of a whole that is never the whole."""
Positive = Annotated[float, Range(0, above=True)]
"""A finite number above 0."""
NotNegative = Annotated[float, Range(0)]
"""A finite number from 0 up."""
