"""Any attack as the list of its stages, so that a caller can keep each stage's verdicts and resume after an interruption.

An ensemble such as AutoAttack has several stages, each for the images that the earlier ones have not broken; any other
attack is one stage. An ensemble has an attribute ``stages``, a function from its options to stages.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from RobustART.core.declarations import options_of

S = TypeVar("S")


@dataclass(frozen=True)
class Stage:
    """One stage of an attack, with its options bound."""

    name: str
    """By which records name it for the images that it breaks."""
    attack: Callable[..., Tensor]
    """``(model, images, labels, *, seeds, ...) -> images``; :meth:`takes` reports which other options it has."""

    def takes(self, option: str) -> bool:
        """Returns whether a caller may give this keyword: the attack has it and it is not bound to a value."""
        function, bound = unbound(self.attack)
        known = options_of(function)
        return option in known and bound.get(option, known[option].default) is None


def unbound(attack: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """Returns the function in nested ``functools.partial`` objects, and the keywords that they bind."""
    bound: dict[str, Any] = {}
    while isinstance(attack, functools.partial):
        bound = {**attack.keywords, **bound}
        attack = attack.func
    return attack, bound


def stages_of(attack: Callable[..., Tensor], name: str = "attack") -> list[Stage]:
    """Returns the stages of an attack, whose options may be bound by ``functools.partial``.

    Args:
        attack: ``(model, images, labels, *, seeds, ...) -> images``.
        name: of the stage, for a callable without a name.
    """
    function, bound = unbound(attack)
    build: Callable[..., list[Stage]] | None = getattr(function, "stages", None)
    return [Stage(getattr(function, "__name__", name), attack)] if build is None else build(**bound)


def run_stages(stages: Iterable[S], left: Tensor, run: Callable[[S, Tensor], Tensor]) -> None:
    """Runs stages in their order, each on the images that the earlier ones have left.

    Args:
        stages: in order.
        left: positions of the images, int64 (M,).
        run: runs a stage on the images that are left; returns the positions of those that are finished.
    """
    for stage in stages:
        left = left[~torch.isin(left, run(stage, left))]
