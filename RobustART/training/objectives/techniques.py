"""Objectives that add a term to the cross-entropy: distillation, consistency, kurtosis."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from RobustART.core.model_section import ModelConfig
from RobustART.core.options import build
from RobustART.core.ranges import Range, Share
from RobustART.errors import ConfigError, UserError
from RobustART.evaluation.checks import probe
from RobustART.models import Classifier
from RobustART.models.section import build_section
from RobustART.training.inputs import beside
from RobustART.training.loading import Batch
from RobustART.training.objectives.objective import (
    JSD,
    OBJECTIVES,
    Blending,
    Objective,
    ObjectiveContext,
    accuracy,
    check_views,
    plain_model,
    views_of,
)
from RobustART.training.objectives.smoothing import cross_entropy, soft_cross_entropy

TEACHER = "training.objective.kwargs.teacher"
TEACHER_KEYS = tuple(field.name for field in dataclasses.fields(ModelConfig))


class Distillation(Blending):
    """Knowledge distillation (Hinton 2015, https://arxiv.org/abs/1503.02531): a teacher's softened predictions as targets.

    The loss is ``(1 - alpha) * cross-entropy + alpha * T^2 * KL(teacher / T || student / T)``. The teacher, in evaluation
    mode, gets the images of the student, blended ones too.
    """

    def __init__(self, context: ObjectiveContext, teacher: Classifier, alpha: float, temperature: float) -> None:
        super().__init__(*context.blending)
        self.alpha, self.temperature = alpha, temperature
        self._teacher = (teacher.to(context.device).eval().requires_grad_(False),)

    def others(self) -> dict[str, nn.Module]:
        """Returns the teacher."""
        return {"teacher": self._teacher[0]}

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, the teacher's part of it and, where labels are not blended, the accuracy."""
        images, targets = self.blended(batch, rng)
        with torch.no_grad():
            wanted = self._teacher[0](images).float()
        logits = model(images)
        apart = distance(logits, wanted, self.temperature)
        loss = (1 - self.alpha) * soft_cross_entropy(logits, targets) + self.alpha * apart
        return loss, {"distillation": apart, **self.accuracies(batch, accuracy=logits)}


def distance(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Returns ``T^2 * KL(softmax(wanted / T) || softmax(logits / T))``, the mean over images; both are (N, K)."""
    own, teacher = (F.log_softmax(value.float() / temperature, 1) for value in (logits, wanted))
    return F.kl_div(own, teacher, reduction="batchmean", log_target=True) * temperature**2


@OBJECTIVES.register("distillation")
def distillation(
    context: ObjectiveContext, *, teacher: Mapping[str, Any], alpha: Share = 0.5,
    temperature: Annotated[float, Range(0, 1000, above=True)] = 4.0,
) -> Objective:  # fmt: skip
    """Returns knowledge distillation (Hinton 2015, https://arxiv.org/abs/1503.02531).

    Args:
        context: what the training provides.
        teacher: the teacher, written as the section ``model``; weights are relative to the config.
        alpha: weight of the teacher.
        temperature: temperature of both softmaxes.
    """
    model = build_teacher(teacher, context.folder).to(context.device)
    classes = probe_teacher(model, context.input_size or model.preprocessing.input_size, context.device)
    if classes != context.classes:
        raise ConfigError(f"{TEACHER}: the teacher has {classes} outputs, the model {context.classes}")
    return Distillation(context, model, alpha, temperature)


def build_teacher(teacher: Mapping[str, Any], folder: Path) -> Classifier:
    """Returns the teacher that ``training.objective.kwargs`` names; relative paths of weights start at ``folder``."""
    if not isinstance(teacher, Mapping) or not {"type", "weights"} <= set(teacher) <= set(TEACHER_KEYS):
        raise ConfigError(
            f"{TEACHER} must be {{type: ..., weights: ...}} with any of {', '.join(TEACHER_KEYS)}, got {teacher!r}"
        )
    with _teacher_named():
        section = build(ModelConfig, teacher, "")
        return build_section(section, weights=beside(section.weights, folder))


def probe_teacher(teacher: Classifier, size: int, device: torch.device) -> int:
    """Returns the number of a teacher's classes; raises a ConfigError if it cannot take images of the student's size."""
    with _teacher_named():
        return probe(teacher, size, device)


@contextlib.contextmanager
def _teacher_named() -> Iterator[None]:
    """Raises errors of a model as a ConfigError that names the teacher."""
    try:
        yield
    except UserError as error:
        raise ConfigError(f"{TEACHER}: {error}") from None


class Consistency(Objective):
    """Cross-entropy of the first view of each image, and the Jensen-Shannon divergence between predictions on all views.

    AugMix (Hendrycks 2020, https://arxiv.org/abs/1912.02781, section 3): the first view is clean, two more are mixed.
    """

    def __init__(self, context: ObjectiveContext, weight: float) -> None:
        super().__init__()
        self.label_smooth, self.weight = context.label_smooth, weight

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, the divergence, and the accuracy on the first views."""
        check_views(JSD, views_of(batch.images))
        views = batch.images.transpose(0, 1)  # (V, N, 3, H, W)
        logits = model(views.flatten(0, 1)).view(len(views), len(batch), -1)
        apart = jensen_shannon(logits)
        loss = cross_entropy(logits[0], batch.labels, self.label_smooth)
        return loss + self.weight * apart, {"divergence": apart, "accuracy": accuracy(logits[0], batch.labels)}


def jensen_shannon(logits: Tensor) -> Tensor:
    """Returns the mean over images of the Jensen-Shannon divergence of predictions, logits (V, N, K), in nats."""
    log_p = F.log_softmax(logits.float(), -1)
    mixture = (torch.logsumexp(log_p, 0) - math.log(len(log_p))).expand_as(log_p)
    return (log_p.exp() * (log_p - mixture)).sum(-1).mean()


@OBJECTIVES.register("jsd")
def jsd(context: ObjectiveContext, *, weight: Annotated[float, Range(0, 1e6, above=True)] = 12.0) -> Objective:
    """Returns AugMix's loss (Hendrycks 2020, https://arxiv.org/abs/1912.02781), for transforms with ``views``.

    Args:
        context: what the training provides.
        weight: weight of the Jensen-Shannon divergence between the views.
    """
    return Consistency(context, weight)


TARGET_KURTOSIS = 1.8
"""Kurtosis of a uniform distribution."""


class Kurtosis(Objective):
    """An objective and kurtosis regularisation of the weights (Shkolnik 2020, https://arxiv.org/abs/2002.07686).

    The regulariser is ``weight`` times the mean of ``(kurtosis - 1.8)^2`` over all convolutions and linear layers. (The
    original adds the kurtosis itself, which has no target.)
    """

    def __init__(self, inner: Objective, weight: float) -> None:
        super().__init__()
        self.inner, self.weight = inner, weight
        self.repeats, self.uses_labels, self.shared = inner.repeats, inner.uses_labels, inner.shared

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the sum, and the regulariser with the numbers of the inner objective."""
        loss, numbers = self.inner(model, batch, rng)
        layers = [
            part for part in plain_model(model).modules() if isinstance(part, (nn.modules.conv._ConvNd, nn.Linear))
        ]
        if not layers:
            raise ConfigError("kw_weight: the model has no convolution and no linear layer")
        apart = torch.stack([(kurtosis(layer.weight) - TARGET_KURTOSIS) ** 2 for layer in layers]).mean()
        return loss + self.weight * apart, {**numbers, "kurtosis": apart}

    def others(self) -> dict[str, nn.Module]:
        """Calls the inner objective's."""
        return self.inner.others()

    def after_backward(self, model: nn.Module) -> None:
        """Calls the inner objective's."""
        self.inner.after_backward(model)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Calls the inner objective's."""
        self.inner.after_step(model, step)


def kurtosis(values: Tensor) -> Tensor:
    """Returns ``E[((x - mean) / std)^4]`` of all values: 3 for a normal distribution, 1.8 for a uniform one."""
    centred = values.float() - values.float().mean()
    variance = centred.square().mean()
    return centred.pow(4).mean() / variance.square().clamp(min=torch.finfo(variance.dtype).tiny)
