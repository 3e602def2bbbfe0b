"""Objectives: what a step minimises. Training techniques are added here; the loop knows none of them.

An objective turns a batch into a loss. A technique that changes what is minimised (adversarial training, distillation, a
regulariser) is an objective, or wraps one; ``training.objective`` in the config selects it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from RobustART.errors import ConfigError
from RobustART.models import Classifier
from RobustART.registry import Registry
from RobustART.training.augment.mixing import Mixing
from RobustART.training.loading import Batch
from RobustART.training.objectives.smoothing import cross_entropy, soft_cross_entropy, soft_targets


class Objective(nn.Module):
    """Base of objectives: functions from batches to losses.

    Checkpoints store the buffers of an objective for each process; a frozen teacher, which they should not store, is kept
    in a tuple. All trained parameters belong to the model.
    """

    repeats = 1
    """Number of consecutive steps with the same batch."""
    uses_labels = True
    """Whether labels must be classes of the model."""
    shared = False
    """Whether the buffers are equal in all processes, so that a checkpoint stores them once."""

    def others(self) -> dict[str, nn.Module]:
        """Returns the other networks that the loss depends on, such as a teacher, by name; they are not trained."""
        return {}

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the mean loss over the batch, and numbers to log, each a mean over the batch.

        Args:
            model: the model in training mode, with autocast on. It must be called once, on all images together, for
                distributed training to be correct. ``plain_model(model)`` is the :class:`Classifier` itself, for passes
                without gradients of the weights, such as attacks.
            batch: on the device; images in [0, 1].
            rng: generator of this step, process and portion; torch's generators are seeded for them too.
        """
        raise NotImplementedError

    def after_backward(self, model: nn.Module) -> None:
        """Called with the gradients of the step, before the optimiser uses them."""

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called with the weights after the step."""


def plain_model(model: nn.Module) -> Classifier:
    """Returns the classifier inside the wrapper of distributed training, if any."""
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    assert isinstance(inner, Classifier)
    return inner


class Blending(Objective):
    """Base of objectives whose targets are smoothed labels, blended by mixup or cutmix with their images.

    Args:
        classes: number of outputs of the model.
        label_smooth: see :func:`soft_targets`.
        mixing: mixup and cutmix.
    """

    def __init__(self, classes: int, label_smooth: float = 0.0, mixing: Mixing | None = None) -> None:
        super().__init__()
        self.classes, self.label_smooth, self.mixing = classes, label_smooth, mixing or Mixing()

    def blended(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Returns images (N, 3, H, W) and targets (N, K) after mixup or cutmix."""
        targets = soft_targets(batch.labels, self.classes, self.label_smooth)
        return self.mixing(single_view(batch.images), targets, rng)

    def accuracies(self, batch: Batch, **logits: Tensor) -> dict[str, Tensor]:
        """Returns accuracies by name; none where labels are blended."""
        return {} if self.mixing else {name: accuracy(value, batch.labels) for name, value in logits.items()}


class Plain(Blending):
    """Cross-entropy with label smoothing, after mixup or cutmix."""

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss and, where labels are not blended, the accuracy."""
        if not self.mixing:
            logits = model(single_view(batch.images))
            return cross_entropy(logits, batch.labels, self.label_smooth), self.accuracies(batch, accuracy=logits)
        images, targets = self.blended(batch, rng)
        return soft_cross_entropy(model(images), targets), {}


JSD, MOCO = "training.objective 'jsd'", "training.moco"
_VIEWS: dict[str, tuple[range, str]] = {
    JSD: (
        range(2, 1000),
        "needs several views of each image: data.train.transforms: [..., {type: views, kwargs: {transforms: [[], [{type: "
        "aug_mix}], [{type: aug_mix}]]}}]",
    ),
    MOCO: (
        range(2, 3),
        "needs two views of each image: data.train.transforms: {type: MOCOV2}, or a list with {type: views, kwargs: "
        "{transforms: [[...], [...]]}}",
    ),
}
"""Objectives that take several views of each image: how many, and how to make them."""


def check_views(what: str, views: int) -> None:
    """Raises a ConfigError if an objective does not take this number of views of each image.

    ``what`` is :data:`JSD`, :data:`MOCO`, or the name of an objective that takes single images.
    """
    if what in _VIEWS:
        possible, needs = _VIEWS[what]
        if views not in possible:
            raise ConfigError(f"{what} {needs}; got {views}")
    elif views > 1:
        raise ConfigError(f"data.train.transforms make {views} views of each image, but {what} takes one")


def views_of(images: Tensor) -> int:
    """Returns the number of views of each image in a batch, (N, 3, H, W) or (N, V, 3, H, W)."""
    return images.shape[1] if images.ndim == 5 else 1


def single_view(images: Tensor) -> Tensor:
    """Returns images (N, 3, H, W); raises a ConfigError if there are several views of each."""
    check_views("training.objective", views_of(images))
    return images


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the percentage of correct predictions."""
    return (logits.argmax(1) == labels).float().mean() * 100


@dataclasses.dataclass(frozen=True)
class ObjectiveContext:
    """What a training provides to builders of objectives."""

    classes: int
    """Number of outputs of the model."""
    label_smooth: float
    """The config's ``label_smooth``."""
    mixing: Mixing
    """The config's ``mixup``, ``cutmix`` and ``switch_prob``."""
    seed: int
    """The config's ``training.seed``."""
    device: torch.device
    """The model's device."""
    folder: Path
    """Folder of the config file, where relative paths start."""
    input_size: int | None = None
    """Side of the model's input in pixels; None if it is not known."""

    @property
    def blending(self) -> tuple[int, float, Mixing]:
        """The arguments of :class:`Blending`."""
        return self.classes, self.label_smooth, self.mixing


OBJECTIVES: Registry[Callable[..., Objective]] = Registry(
    "training objective", ("RobustART.training.objectives.techniques", "RobustART.nas.sandwich")
)
"""Names to functions (context, keyword-only options) -> objective."""


@OBJECTIVES.register("plain")
def plain(context: ObjectiveContext) -> Objective:
    """Returns the cross-entropy of supervised training."""
    return Plain(*context.blending)
