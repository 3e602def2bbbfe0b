"""Any attack as the list of its stages, so that a caller can keep each stage's verdicts and go on after an interruption.

An ensemble such as AutoAttack has several stages, and each sees the images that the ones before have left standing; any
other attack is one stage. An attack says so by an attribute ``stages``, a function from its options to stages.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Stage:
    """One stage of an attack, with its options bound."""

    name: str
    """What a record says of the images that it breaks."""
    attack: Callable[..., Tensor]
    """``(model, images, labels, *, seeds, ...) -> images``; what else it takes, :meth:`takes` tells."""

    def takes(self, option: str) -> bool:
        """Returns whether a caller may give this keyword: the attack knows it and it is not bound to a value."""
        parameter = inspect.signature(self.attack).parameters.get(option)
        return parameter is not None and parameter.default is None


def stages_of(attack: Callable[..., Tensor], name: str = "attack") -> list[Stage]:
    """Returns the stages of an attack, whose options may be bound by ``functools.partial``.

    Args:
        attack: ``(model, images, labels, *, seeds, ...) -> images``.
        name: of the stage, for a callable without a name.
    """
    function: Callable[..., Tensor] = attack
    options: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        options = {**function.keywords, **options}
        function = function.func
    build: Callable[..., Iterator[Stage]] | None = getattr(function, "stages", None)
    if build is not None:
        return list(build(**options))
    return [Stage(getattr(function, "__name__", name), attack)]
