"""Signs that an evaluation would mislead, found before it starts and given as data: name of the sign to what it means.

The questions are those of AutoAttack (Croce and Hein 2020, https://arxiv.org/abs/2003.01690); a few images and passes
answer them, and nothing traces the interpreter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from RobustART.noise.attacks.victim import Model, Victim, guarded

_IMAGES = 8
_REPEATS = 3


class AttackWarning(UserWarning):
    """The result of an attack may not mean what it seems to mean."""


def check_model(model: Model, images: Tensor, labels: Tensor, stages: Sequence[str] = ()) -> dict[str, str]:
    """Asks the model a few times about the first images and returns the flags that its answers raise.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: in [0, 1]; the first eight are used.
        labels: classes (N,).
        stages: names of the attacks that will run, for the number of classes they need.
    """
    images, labels = images[:_IMAGES].detach(), labels[:_IMAGES].to(images.device, torch.int64)
    if not len(images):
        return {}
    index = torch.arange(len(images), device=images.device)
    with guarded(model, images.device):
        victim = Victim(model, labels)
        before = _versions(model)
        with _GradientWatch() as watch:
            answers = [victim.logits(images, index)]
        changed = before != _versions(model)
        answers += [victim.logits(images, index) for _ in range(_REPEATS - 1)]
    flags = {}
    if watch.seen or changed:
        how = "takes gradients" if watch.seen else "changes its own parameters or buffers"
        flags["dynamic"] = f"the model {how} while it predicts; a dynamic defence needs an adaptive attack"
    units = [nn.functional.normalize(answer.double(), dim=1) for answer in answers]
    if any(bool(((unit - units[0]).norm(dim=1) > 1e-4).any()) for unit in units[1:]):
        flags["randomized"] = 'equal images get different logits; evaluate a randomised defence with version="rand"'
    logits, classes = answers[0], answers[0].shape[1]
    near_one = bool(((logits.sum(1) - 1).abs() < 1e-5).all())
    if near_one and bool((logits > -1e-5).all()) and bool((logits < 1 + 1e-5).all()):
        flags["probabilities"] = "the outputs look like probabilities; gradients vanish there, so give the logits"
    few = [stage for stage, least in (("apgd_dlr", 3), ("apgd_t", 4)) if stage in stages and classes < least]
    if few:
        flags["few_classes"] = (
            f"with {classes} classes the loss of {' and '.join(few)} is not defined as in the paper; "
            "its nearest equivalent for so few classes is used"
        )
    return flags


def warn(flags: dict[str, str]) -> None:
    """Gives each flag as an :class:`AttackWarning`."""
    for name, meaning in flags.items():
        warnings.warn(f"{name}: {meaning}", AttackWarning, stacklevel=3)


def _versions(model: Model) -> list[int]:
    """Returns the in-place version of every parameter and buffer, which every change raises."""
    if not isinstance(model, nn.Module):
        return []
    return [value._version for tensors in (model.parameters(), model.buffers()) for value in tensors]


class _GradientWatch(TorchFunctionMode):
    """Notices calls of autograd in its scope."""

    _CALLS = (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or func in self._CALLS
        return func(*args, **(kwargs or {}))
