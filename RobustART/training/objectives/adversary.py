"""Adversarial training: the attacks of the evaluation change the images of a step before the model learns from them.

The attacked model is in evaluation mode, as in an evaluation, so that BatchNorm's statistics depend only on what is learned
from. Then one forward pass in training mode takes all images of the step; an attack adds no passes but its own. Where mixup
or cutmix blend labels, the blends are attacked: the attack maximises the cross-entropy of the blended targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from RobustART.core.ranges import Count, Positive32
from RobustART.registry import Registry
from RobustART.training.loading import Batch
from RobustART.training.objectives.attacker import Attacker, Norm, Steps, predicted
from RobustART.training.objectives.objective import Blending, Objective, ObjectiveContext, plain_model
from RobustART.training.objectives.smoothing import soft_cross_entropy

ADVERSARIES: Registry[Callable[..., Objective]] = Registry("adversary")
"""Names to functions (context, keyword-only options) -> objective."""


class PgdTraining(Blending):
    """Cross-entropy of attacked images (Madry 2018, https://arxiv.org/abs/1706.06083), or with clean ones."""

    def __init__(self, context: ObjectiveContext, attacker: Attacker, half: bool) -> None:
        super().__init__(*context.blending)
        self.attacker = attacker
        self.with_clean = half

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss and, where labels are not blended, accuracies."""
        images, targets = self.blended(batch, rng)
        height = _CrossEntropy(targets) if self.mixing else None
        attacked = self.attacker(plain_model(model), images, batch.seeds, batch.labels, height)
        if not self.with_clean:
            logits = model(attacked)
            return soft_cross_entropy(logits, targets), self.accuracies(batch, robust_accuracy=logits)
        logits = model(torch.cat([images, attacked]))
        clean, robust = logits.chunk(2)
        numbers = self.accuracies(batch, accuracy=clean, robust_accuracy=robust)
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


class Trades(Blending):
    """TRADES (Zhang 2019, https://arxiv.org/abs/1901.08573): clean cross-entropy plus ``beta`` times a divergence.

    The divergence is KL(clean prediction || prediction). The attack maximises it from a random point of the ball, where the
    paper adds normal noise of 0.001; it costs ``steps`` passes and one for the clean prediction.
    """

    def __init__(self, context: ObjectiveContext, attacker: Attacker, beta: float) -> None:
        super().__init__(*context.blending)
        self.attacker = attacker
        self.beta = beta

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, the divergence and, where labels are not blended, accuracies."""
        images, targets = self.blended(batch, rng)
        classifier = plain_model(model)
        reference = predicted(classifier, images)
        attacked = self.attacker(
            classifier, images, batch.seeds, batch.labels, lambda logits: divergence(logits, reference)
        )
        clean, robust = model(torch.cat([images, attacked])).chunk(2)
        apart = divergence(robust.float(), clean.float()).mean()
        loss = soft_cross_entropy(clean, targets) + self.beta * apart
        return loss, {"divergence": apart, **self.accuracies(batch, accuracy=clean, robust_accuracy=robust)}


class FreeTraining(Blending):
    """Free adversarial training (Shafahi 2019, https://arxiv.org/abs/1904.12843): each batch several steps in a row.

    One backward pass gives the gradients of the weights and of the perturbation, which makes a step and is kept for the
    next batch. So the attack needs no further passes, and the model is attacked in training mode.
    """

    def __init__(self, context: ObjectiveContext, eps: float, repeats: int) -> None:
        super().__init__(*context.blending)
        self.eps, self.repeats = eps, repeats
        self.perturbation = torch.zeros(0)
        self._moved: Tensor | None = None

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss and the accuracy on perturbed images."""
        images, targets = self.blended(batch, rng)
        if self.perturbation.shape != images.shape:
            self.perturbation = torch.zeros_like(images)
        attacked = (images + self.perturbation.to(images.device)).clamp_(0, 1).requires_grad_()
        logits = model(attacked)
        self._moved = attacked
        return soft_cross_entropy(logits, targets), self.accuracies(batch, robust_accuracy=logits)

    @torch.no_grad()
    def after_backward(self, model: nn.Module) -> None:
        """Moves the perturbation along the sign of its gradient."""
        assert self._moved is not None
        assert self._moved.grad is not None
        step = torch.nan_to_num(self._moved.grad, nan=0.0).sign() * self.eps
        self.perturbation = (self.perturbation.to(step.device) + step).clamp_(-self.eps, self.eps)
        self._moved = None

    def get_extra_state(self) -> Tensor:
        """Returns the perturbation, which checkpoints store for each process."""
        return self.perturbation

    def set_extra_state(self, state: Tensor) -> None:
        """Loads the perturbation of a checkpoint."""
        self.perturbation = state


@ADVERSARIES.register("pgd")
def pgd(
    context: ObjectiveContext, *, mode: Literal["half", "only"] = "half", eps: Positive32 = 16 / 255, steps: Steps = 20,
    step_size: Positive32 | None = None, rel_stepsize: Positive32 | None = None, norm: Norm = "Linf",
    random_start: bool = True,
) -> Objective:  # fmt: skip
    """Returns training on images attacked by PGD (Madry 2018, https://arxiv.org/abs/1706.06083), as the original does it.

    Args:
        context: what the training provides.
        mode: ``half`` learns from each image clean and attacked; ``only`` from attacked ones.
        eps: radius for images in [0, 1].
        steps: gradient steps.
        step_size: length of a step.
        rel_stepsize: length of a step in units of ``eps``, instead of ``step_size``; 1/15 by default (the attack's own
            course in L1).
        norm: norm of the ball.
        random_start: whether the attack starts at a random point of the ball.
    """
    if step_size is None and rel_stepsize is None and norm != "L1":
        rel_stepsize = 1 / 15
    return PgdTraining(context, Attacker(eps, steps, step_size, rel_stepsize, norm, random_start), mode == "half")


@ADVERSARIES.register("trades")
def trades(
    context: ObjectiveContext, *, beta: Positive32 = 6.0, eps: Positive32 = 8 / 255, steps: Steps = 10,
    step_size: Positive32 | None = None, rel_stepsize: Positive32 | None = None, norm: Norm = "Linf",
) -> Objective:  # fmt: skip
    """Returns TRADES (Zhang 2019, https://arxiv.org/abs/1901.08573).

    Args:
        context: what the training provides.
        beta: weight of the divergence.
        eps: radius for images in [0, 1].
        steps: gradient steps.
        step_size: length of a step.
        rel_stepsize: length of a step in units of ``eps``, instead of ``step_size``; 1/4 by default, about the paper's
            0.007 of 0.031.
        norm: norm of the ball.
    """
    if step_size is None and rel_stepsize is None:
        rel_stepsize = 0.25
    return Trades(context, Attacker(eps, steps, step_size, rel_stepsize, norm), beta)


@ADVERSARIES.register("fast")
def fast(
    context: ObjectiveContext, *, eps: Positive32 = 8 / 255, step_size: Positive32 | None = None,
    rel_stepsize: Positive32 | None = None,
) -> Objective:  # fmt: skip
    """Returns "fast" training (Wong 2020, https://arxiv.org/abs/2001.03994): FGSM from a random start.

    Args:
        context: what the training provides.
        eps: radius for images in [0, 1].
        step_size: length of the step.
        rel_stepsize: length of the step in units of ``eps``, instead of ``step_size``; 1.25 by default.
    """
    if step_size is None and rel_stepsize is None:
        rel_stepsize = 1.25
    return PgdTraining(context, Attacker(eps, 1, step_size, rel_stepsize), half=False)


@ADVERSARIES.register("free")
def free(context: ObjectiveContext, *, eps: Positive32 = 8 / 255, replays: Count = 8) -> Objective:
    """Returns free training (Shafahi 2019, https://arxiv.org/abs/1904.12843).

    Args:
        context: what the training provides.
        eps: radius in Linf for images in [0, 1]; a step of the perturbation is as long.
        replays: steps in a row on the same batch. Durations in the config count every replay, so an epoch shows
            1 / ``replays`` of the images.
    """
    return FreeTraining(context, eps, replays)
