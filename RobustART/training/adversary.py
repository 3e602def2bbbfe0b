"""Adversarial training: images are attacked by the functions of the evaluation before they are learned from.

The model is attacked as it is evaluated, in evaluation mode, so that BatchNorm's statistics see only what is learned from;
then it is asked once, in training mode, about all images of the step. An attack costs its own passes and no other. Where
labels are blended (mixup, cutmix), the blends are attacked: the attack climbs the cross-entropy of the blended targets, and
the targets go with the images. Under ``training.amp: fp16`` attacks work in float32; their gradients would vanish.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from RobustART.errors import ConfigError, ModelError
from RobustART.models import Classifier
from RobustART.noise.attacks import pgd_l1, pgd_l2, pgd_linf
from RobustART.ranges import LARGEST_FLOAT32
from RobustART.registry import Registry
from RobustART.training.loading import Batch
from RobustART.training.losses import soft_cross_entropy, soft_targets
from RobustART.training.objective import Objective, ObjectiveContext, accuracy, plain_model, single_view

ATTACKS_BY_NORM = {"Linf": pgd_linf, "L2": pgd_l2, "L1": pgd_l1}

MOST_STEPS = 1_000_000
"""Of an attack on a batch."""

ADVERSARIES: Registry[Callable[..., Objective]] = Registry("adversary")
"""Names to functions (context, keyword-only options) -> objective."""


class _Climbed(nn.Module):
    """A model whose two logits are 0 and, for each image, what an attack is to climb: it is their margin for label 0.

    Rows must be all images in their order, as they are for an attack without restarts, early stops and batches of its own.
    """

    def __init__(self, model: Classifier, height: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.height = model, height

    def forward(self, images: Tensor) -> Tensor:
        """Returns (N, 2)."""
        height = self.height(self.model(images).float())
        return torch.stack([torch.zeros_like(height), height], 1)


@dataclasses.dataclass(frozen=True)
class Attacker:
    """Projected gradient descent with the settings of a training.

    Raises:
        ConfigError: a setting that cannot be.
    """

    eps: float
    """Radius, for images in [0, 1]."""
    steps: int
    """Gradient steps."""
    step_size: float | None = None
    """Length of a step; or"""
    rel_stepsize: float | None = None
    """the same in units of eps."""
    norm: Literal["Linf", "L2", "L1"] = "Linf"
    """Of the ball."""
    random_start: bool = True
    """Whether to start at a random point of the ball."""

    def __post_init__(self) -> None:
        """Refuses what no attack could do."""
        check_above_zero("eps", self.eps)
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError(
                f"training.adversary.steps must be a whole number above 0 and at most {MOST_STEPS}, got {self.steps}"
            )
        if self.step_size is not None and self.rel_stepsize is not None:
            raise ConfigError(
                f"training.adversary: give one of step_size and rel_stepsize, got {self.step_size} and {self.rel_stepsize}"
            )
        for name in ("step_size", "rel_stepsize"):
            if getattr(self, name) is not None:
                check_above_zero(name, getattr(self, name))

    def __call__(
        self, model: Classifier, images: Tensor, seeds: Tensor, labels: Tensor, height: Callable[[Tensor], Tensor] | None
    ) -> Tensor:  # fmt: skip
        """Returns attacked images.

        Args:
            model: left as it is.
            images: (N, 3, H, W) in [0, 1].
            seeds: key of each image's random start, int64 (N,).
            labels: true classes (N,), whose cross-entropy is climbed, unless there is
            height: logits (N, K) to what is to be climbed instead, (N,).
        """
        length = {"step_size": self.step_size, "rel_stepsize": self.rel_stepsize}
        options: dict[str, Any] = {k: v for k, v in length.items() if v is not None}
        if height is not None:
            options["loss"] = "margin"
        victim = model if height is None else _Climbed(model, height)
        wanted = labels if height is None else torch.zeros_like(labels)
        half = (
            torch.is_autocast_enabled(images.device.type)
            and torch.get_autocast_dtype(images.device.type) is torch.float16
        )
        try:
            with torch.autocast(images.device.type, enabled=False) if half else contextlib.nullcontext():
                return ATTACKS_BY_NORM[self.norm](
                    victim, images, wanted, eps=self.eps, seeds=seeds, steps=self.steps,
                    random_start=self.random_start, restarts=1, **options,
                )  # fmt: skip
        except ModelError:
            if bool(predicted(model, images).isfinite().all()):
                raise
            return torch.full_like(images, torch.nan)  # the training has come apart: its loss says at which step


def predicted(model: Classifier, images: Tensor) -> Tensor:
    """Returns float logits in evaluation mode, without a graph; the model is left as it was."""
    training = [part for part in model.modules() if part.training]
    try:
        for part in training:
            part.training = False
        with torch.no_grad():
            return model(images).float()
    finally:
        for part in training:
            part.training = True


def check_above_zero(name: str, value: float) -> None:
    """Raises a ConfigError unless an option is a number above 0 that float32 holds."""
    if not 0 < value <= LARGEST_FLOAT32:
        raise ConfigError(
            f"training.adversary.{name} must be a number above 0 and at most {LARGEST_FLOAT32:g}, got {value}"
        )


class AttackedObjective(Objective):
    """What the objectives below share: targets, blends, and attacked images.

    Args:
        context: of the training.
        attacker: makes the attacked images.
    """

    def __init__(self, context: ObjectiveContext, attacker: Attacker) -> None:
        super().__init__()
        self.classes, self.label_smooth, self.mixing = context.classes, context.label_smooth, context.mixing
        self.attacker = attacker

    def blended(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Returns images and targets (N, K) after mixup or cutmix."""
        targets = soft_targets(batch.labels, self.classes, self.label_smooth)
        return self.mixing(single_view(batch.images), targets, rng)

    def numbers(self, batch: Batch, **logits: Tensor) -> dict[str, Tensor]:
        """Returns accuracies by name, where labels are not blended."""
        return {} if self.mixing else {name: accuracy(value, batch.labels) for name, value in logits.items()}


class PgdTraining(AttackedObjective):
    """The cross-entropy of attacked images (Madry 2018, https://arxiv.org/abs/1706.06083), or of those and the clean ones.

    Args:
        context: of the training.
        attacker: makes the attacked images.
        half: whether each image is learned from twice, clean and attacked, with equal weight.
    """

    def __init__(self, context: ObjectiveContext, attacker: Attacker, half: bool) -> None:
        super().__init__(context, attacker)
        self.with_clean = half

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss and, where labels are not blended, accuracies."""
        images, targets = self.blended(batch, rng)
        height = _CrossEntropy(targets) if self.mixing else None
        attacked = self.attacker(plain_model(model), images, batch.seeds, batch.labels, height)
        if not self.with_clean:
            logits = model(attacked)
            return soft_cross_entropy(logits, targets), self.numbers(batch, robust_accuracy=logits)
        logits = model(torch.cat([images, attacked]))
        clean, robust = logits.chunk(2)
        numbers = self.numbers(batch, accuracy=clean, robust_accuracy=robust)
        return soft_cross_entropy(logits, torch.cat([targets, targets])), numbers


class _CrossEntropy:
    """Logits (N, K) to the cross-entropy of each image with soft targets (N, K)."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __call__(self, logits: Tensor) -> Tensor:
        """Returns (N,)."""
        return F.cross_entropy(logits, self.targets.to(logits.dtype), reduction="none")


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Returns KL(softmax(reference) || softmax(logits)) of each image, (N,); both are (N, K)."""
    log_p, log_q = F.log_softmax(reference, 1), F.log_softmax(logits, 1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


class Trades(AttackedObjective):
    """TRADES (Zhang 2019, https://arxiv.org/abs/1901.08573): clean cross-entropy plus ``beta`` times a divergence.

    The attack climbs KL(clean prediction || prediction) from a random point of the ball, where the paper adds normal noise
    of 0.001; it costs ``steps`` passes and one for the clean prediction. The same divergence is what is added to the loss.

    Args:
        context: of the training.
        attacker: makes the attacked images.
        beta: weight of the divergence, the paper's 1 / lambda.
    """

    def __init__(self, context: ObjectiveContext, attacker: Attacker, beta: float) -> None:
        super().__init__(context, attacker)
        check_above_zero("beta", beta)
        self.beta = beta

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, its second part, and, where labels are not blended, accuracies."""
        images, targets = self.blended(batch, rng)
        classifier = plain_model(model)
        reference = predicted(classifier, images)
        attacked = self.attacker(
            classifier, images, batch.seeds, batch.labels, lambda logits: divergence(logits, reference)
        )
        clean, robust = model(torch.cat([images, attacked])).chunk(2)
        apart = divergence(robust.float(), clean.float()).mean()
        loss = soft_cross_entropy(clean, targets) + self.beta * apart
        return loss, {"divergence": apart, **self.numbers(batch, accuracy=clean, robust_accuracy=robust)}


class FreeTraining(Objective):
    """Free adversarial training (Shafahi 2019, https://arxiv.org/abs/1904.12843): each batch several steps in a row.

    The pass that gives the gradient of the weights gives that of the perturbation too, which moves on by a step and is kept
    for the next batch. So there is no pass of the attack's own; the model is attacked in training mode.

    Args:
        context: of the training.
        eps: radius in Linf; a step of the perturbation is as long.
        repeats: steps in a row with the same batch.
    """

    def __init__(self, context: ObjectiveContext, eps: float, repeats: int) -> None:
        super().__init__()
        check_above_zero("eps", eps)
        if repeats < 1:
            raise ConfigError(f"training.adversary.replays must be a whole number above 0, got {repeats}")
        if context.mixing:
            raise ConfigError(
                "training.adversary: free shows the same images several times; mixup and cutmix must be off"
            )
        if context.accumulate > 1:
            raise ConfigError(
                "training.adversary: free keeps a perturbation of the batch; training.accumulate must be 1"
            )
        self.classes, self.label_smooth = context.classes, context.label_smooth
        self.eps, self.repeats = eps, repeats
        self.perturbation = torch.zeros(0)
        self._moved: Tensor | None = None

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss and the accuracy on perturbed images."""
        images = single_view(batch.images)
        if self.perturbation.shape != images.shape:
            self.perturbation = torch.zeros_like(images)
        attacked = (images + self.perturbation.to(images.device)).clamp_(0, 1).requires_grad_()
        logits = model(attacked)
        self._moved = attacked
        targets = soft_targets(batch.labels, self.classes, self.label_smooth)
        return soft_cross_entropy(logits, targets), {"robust_accuracy": accuracy(logits, batch.labels)}

    @torch.no_grad()
    def after_backward(self, model: nn.Module) -> None:
        """Moves the perturbation along the sign of its gradient."""
        assert self._moved is not None
        assert self._moved.grad is not None
        step = torch.nan_to_num(self._moved.grad, nan=0.0).sign() * self.eps
        self.perturbation = (self.perturbation.to(step.device) + step).clamp_(-self.eps, self.eps)
        self._moved = None

    def get_extra_state(self) -> Tensor:
        """Returns the perturbation, which checkpoints hold for each process."""
        return self.perturbation

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the perturbation of a checkpoint."""
        self.perturbation = state


@ADVERSARIES.register("pgd")
def pgd(
    context: ObjectiveContext,
    *,
    mode: str = "half",
    eps: float = 16 / 255,
    steps: int = 20,
    step_size: float | None = None,
    rel_stepsize: float | None = None,
    norm: Literal["Linf", "L2", "L1"] = "Linf",
    random_start: bool = True,
) -> Objective:
    """Returns training on images attacked by PGD; its defaults are the original's."""
    if step_size is None and rel_stepsize is None and norm != "L1":
        rel_stepsize = 1 / 15
    return PgdTraining(context, Attacker(eps, steps, step_size, rel_stepsize, norm, random_start), mode == "half")


@ADVERSARIES.register("trades")
def trades(
    context: ObjectiveContext,
    *,
    beta: float = 6.0,
    eps: float = 8 / 255,
    steps: int = 10,
    step_size: float | None = None,
    rel_stepsize: float | None = None,
    norm: Literal["Linf", "L2", "L1"] = "Linf",
) -> Objective:
    """Returns TRADES; steps are a quarter of the radius long by default, about the paper's 0.007 of 0.031."""
    if step_size is None and rel_stepsize is None:
        rel_stepsize = 0.25
    return Trades(context, Attacker(eps, steps, step_size, rel_stepsize, norm), beta)


@ADVERSARIES.register("fast")
def fast(
    context: ObjectiveContext,
    *,
    eps: float = 8 / 255,
    step_size: float | None = None,
    rel_stepsize: float | None = None,
) -> Objective:
    """Returns "fast" training (Wong 2020, https://arxiv.org/abs/2001.03994): one step of 1.25 eps from a random start."""
    if step_size is None and rel_stepsize is None:
        rel_stepsize = 1.25
    return PgdTraining(context, Attacker(eps, 1, step_size, rel_stepsize), half=False)


@ADVERSARIES.register("free")
def free(context: ObjectiveContext, *, eps: float = 8 / 255, replays: int = 8) -> Objective:
    """Returns free training; durations in the config count every replay, so an epoch shows 1 / replays of the images."""
    return FreeTraining(context, eps, replays)
