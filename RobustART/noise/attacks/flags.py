"""Signs that an attack would give a misleading result, found before it starts: a mapping of names to explanations.

The checks of a model's answers are those of AutoAttack (Croce and Hein 2020, https://arxiv.org/abs/2003.01690); those of
its gradients follow Athalye et al. 2018 (https://arxiv.org/abs/1802.00420) and Carlini et al. 2019
(https://arxiv.org/abs/1902.06705). They take a few passes on a few images and do not trace the interpreter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from RobustART.core.signs import SIGNS
from RobustART.errors import ModelError
from RobustART.noise.attacks.log import CLEAN, AttackLog
from RobustART.noise.attacks.losses import cross_entropy
from RobustART.noise.attacks.victim import Model, Victim, guarded

IMAGES = 8
"""Images that are asked about."""
MOVED = 1e-3
"""Change of logits, as a fraction of their spread, above which an answer has changed. Rounding in float32 moves them by
about 1e-6, TensorFloat-32 by about 1e-4."""
_ROUNDING = 8
"""Changes of logits up to this many units of rounding are not looked at, for models in half precision."""
_STEPS = (0.5 / 255, 2 / 255)
"""Lengths of the steps that must raise the loss: small against any attack, large against rounding in float32."""
_DIRECTIONS = 3
"""Random directions that a step along the gradient must beat. A gradient that means nothing does so for one image in four,
and for six of eight, the least that is accepted, once in a hundred models; the true gradient does so for all."""
_LEAST = 0.75
_SEED = torch.zeros(1, dtype=torch.int64)
"""Seed of the generators: a random model makes the same draws in every check."""


class AttackWarning(UserWarning):
    """The result of an attack may be misleading."""


def check_answers(model: Model, images: Tensor) -> dict[str, str]:
    """Asks a model twice about a few images, then about each alone and about all in another order.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: in [0, 1]; the first eight are used.

    Returns:
        The flag ``randomized`` or ``batch_dependent``, with the size of the change, or nothing.
    """
    images = images[:IMAGES].detach()
    if not len(images):
        return {}
    with guarded(model, images.device, _SEED):
        return _answers(Victim(model, torch.zeros(len(images), dtype=torch.int64, device=images.device)), images)


def check_model(model: Model, images: Tensor, labels: Tensor, stages: Sequence[str] = ()) -> dict[str, str]:
    """Runs the model a few times on the first images and returns the flags that follow from its outputs and gradients.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: in [0, 1]; the first eight are used.
        labels: classes (N,).
        stages: names of the attacks that will run; some need a number of classes.
    """
    images, labels = images[:IMAGES].detach(), labels[:IMAGES].to(images.device, torch.int64)
    if not len(images):
        return {}
    index = torch.arange(len(images), device=images.device)
    with guarded(model, images.device, _SEED):
        victim = Victim(model, labels)
        flags = _answers(victim, images)
        before = _versions(model)
        with _GradientWatch() as watch:
            logits = victim.logits(images, index)
        if watch.seen or before != _versions(model):
            flags["dynamic"] = SIGNS["dynamic"].meaning
        rounding = torch.finfo(victim.dtype or logits.dtype).eps
        if bool((logits >= -rounding).all()) and bool(
            (logits <= 1 + rounding).all()
        ):  # softmax, or sigmoid of each class
            flags["probabilities"] = SIGNS["probabilities"].meaning
        if not flags:
            flags = {name: SIGNS[name].meaning for name in _misleading_gradients(victim, images, logits)}
    return flags | few_classes(stages, logits.shape[1])


def few_classes(stages: Sequence[str], classes: int) -> dict[str, str]:
    """Returns a flag if stages of AutoAttack need more classes."""
    few = [stage for stage, least in (("apgd_dlr", 3), ("apgd_t", 4)) if stage in stages and classes < least]
    if not few:
        return {}
    return {
        "few_classes": f"with {classes} classes the loss of {' and '.join(few)} is not defined as in the paper; "
        "its nearest equivalent for so few classes is used"
    }


def _answers(victim: Victim, images: Tensor) -> dict[str, str]:
    index = torch.arange(len(images), device=images.device)
    first = victim.logits(images, index)
    again = _change(victim, first, victim.logits(images, index))
    if again:
        return {"randomized": f"{SIGNS['randomized'].meaning} ({again})"}
    alone = torch.cat([victim.logits(images[i : i + 1], index[i : i + 1]) for i in range(len(images))])
    turned = victim.logits(images.flip(0), index.flip(0)).flip(0)
    other = _change(victim, torch.cat((first, first)), torch.cat((alone, turned)))
    return {"batch_dependent": f"{SIGNS['batch_dependent'].meaning} ({other})"} if other else {}


def _change(victim: Victim, before: Tensor, after: Tensor) -> str:
    """Returns how answers (N, K) changed, in words; an empty string if they did not."""
    unit = torch.finfo(victim.dtype or before.dtype).eps
    spread = (before.amax(1) - before.amin(1)).double()
    rounding = _ROUNDING * unit * before.abs().amax(1).double()
    moved = (before.double() - after.double()).abs().amax(1)
    other = (before.argmax(1) != after.argmax(1)) & (moved > rounding)
    if not bool((other | (moved > torch.maximum(MOVED * spread, rounding))).any()):
        return ""
    share = float((moved / spread.clamp(min=1e-12)).amax())
    return f"{int(other.sum())} of {len(before)} predictions changed, logits moved by up to {share:.2g} of their spread"


def _misleading_gradients(victim: Victim, images: Tensor, logits: Tensor) -> list[str]:
    """Returns the signs that the gradients of a deterministic model show; none if it has no gradients."""
    index, own = torch.arange(len(images), device=images.device), logits.argmax(1)
    weights = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0)).to(logits)
    try:
        _, _, gradient = victim.gradient(images, index, lambda z: cross_entropy(z, own))
        _, _, slope = victim.gradient(images, index, lambda z: z @ weights)
    except (ModelError, RuntimeError):  # an attack that needs gradients raises it with its own name
        return []
    if "nan_gradients" in victim.watch.signs():
        return ["nan_gradients"]
    if float((gradient.flatten(1) == 0).all(1).float().mean()) > 0.5:
        return ["zero_gradients"]
    found = []
    flat = slope.flatten(1)
    same = bool(((flat - flat[0]).norm(dim=1) <= 1e-4 * flat[0].norm()).all())
    if same and _bends(victim, images, logits):
        found.append("constant_gradients")
    if not _leads_uphill(victim, images, own, gradient):
        found.append("wrong_gradients")
    return found


def _bends(victim: Victim, images: Tensor, logits: Tensor) -> bool:
    """Returns whether a model is not affine between images."""
    index = torch.arange(len(images), device=images.device)
    middle = victim.logits((images + images.roll(1, 0)) / 2, index)
    spread = logits.amax(1) - logits.amin(1)
    return bool(((middle - (logits + logits.roll(1, 0)) / 2).abs().amax(1) > MOVED * spread).any())


def _leads_uphill(victim: Victim, images: Tensor, labels: Tensor, gradient: Tensor) -> bool:
    """Returns whether steps along the gradient raise the loss more than steps in random directions, for most images."""
    index = torch.arange(len(images), device=images.device)
    generator = torch.Generator().manual_seed(1)
    noise = [torch.randn(images.shape, generator=generator).to(images) for _ in range(_DIRECTIONS)]

    def height(points: Tensor) -> Tensor:
        """Log-odds against the label: they rise with the loss, and do not saturate."""
        z = victim.logits(points, index, exact=True).double()
        return z.scatter(1, labels[:, None], -torch.inf).logsumexp(1) - z.gather(1, labels[:, None])[:, 0]

    start = height(images)
    unit = torch.finfo(victim.dtype or images.dtype).eps
    better, seen = torch.zeros_like(labels, dtype=torch.bool), torch.zeros_like(labels, dtype=torch.bool)
    for length in _STEPS:
        ahead, *others = (height((images + length * way.sign()).clamp(0, 1)) - start for way in (gradient, *noise))
        aside = torch.stack(others).amax(0)
        better |= ahead >= aside
        seen |= torch.maximum(ahead.abs(), aside.abs()) > _ROUNDING * unit * start.abs()
    count = int(seen.sum())
    return 2 * count < len(images) or int((better & seen).sum()) >= _LEAST * count


def telling(log: AttackLog) -> dict[str, str]:
    """Returns the signs of a log that more of the attacked images show than the sign allows."""
    attacked = sum(name != CLEAN for name in log.broken_by)
    shown = {name: int(images.sum()) for name, images in log.signs.items()}
    return {name: SIGNS[name].meaning for name, count in shown.items() if count > SIGNS[name].share * attacked}


def warn(flags: dict[str, str]) -> None:
    """Issues an :class:`AttackWarning` for each flag."""
    for name, meaning in flags.items():
        warnings.warn(f"{name}: {meaning}", AttackWarning, stacklevel=3)


def _versions(model: Model) -> list[int]:
    """Returns the version counter of every parameter and buffer, which every in-place change increments."""
    if not isinstance(model, nn.Module):
        return []
    return [value._version for tensors in (model.parameters(), model.buffers()) for value in tensors]


class _GradientWatch(TorchFunctionMode):
    """Detects calls of autograd in its scope."""

    _CALLS = (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or func in self._CALLS
        return func(*args, **(kwargs or {}))
