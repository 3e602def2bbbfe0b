"""Any attack as the list of its stages, so that a caller can keep each stage's verdicts and resume after an interruption.

An ensemble such as AutoAttack has several stages, each for the images that the earlier ones have not broken; any other
attack is one stage. An ensemble has an attribute ``stages``, a function from its options to stages.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

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
    build: Callable[..., list[Stage]] | None = getattr(function, "stages", None)
    return [Stage(getattr(function, "__name__", name), attack)] if build is None else build(**options)


def run_stages(stages: Iterable[S], left: Tensor, run: Callable[[S, Tensor], Tensor]) -> None:
    """Runs stages in their order, each on the images that the earlier ones have left.

    Args:
        stages: in order.
        left: positions of the images, int64 (M,).
        run: runs a stage on the images that are left; returns the positions of those that are finished.
    """
    for stage in stages:
        left = left[~torch.isin(left, run(stage, left))]
