"""The attacker of adversarial training: the attack functions of the evaluation, applied to the images of a step.

The model is in evaluation mode during an attack. Under ``training.amp: fp16`` attacks compute in float32, since their
gradients would vanish.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from RobustART.core.ranges import Range
from RobustART.errors import ConfigError, ModelError
from RobustART.models import Classifier
from RobustART.noise.attacks import pgd_l1, pgd_l2, pgd_linf
from RobustART.noise.attacks.geometry import Norm

ATTACKS_BY_NORM = {"Linf": pgd_linf, "L2": pgd_l2, "L1": pgd_l1}

Steps = Annotated[int, Range(1, 1_000_000)]
"""Steps of an attack on a batch."""


class _Climbed(nn.Module):
    """A model whose logits are 0 and the value that an attack maximises, so that this is the margin for label 0.

    It must be called with all images in their order, as attacks without restarts, early stops and own batches do.
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
        ConfigError: the length of a step is given twice.
    """

    eps: float
    """Radius, for images in [0, 1]."""
    steps: int
    """Gradient steps."""
    step_size: float | None = None
    """Length of a step."""
    rel_stepsize: float | None = None
    """Length of a step in units of ``eps``, instead of ``step_size``."""
    norm: Norm = "Linf"
    """Norm of the ball."""
    random_start: bool = True
    """Whether to start at a random point of the ball."""

    def __post_init__(self) -> None:
        """Refuses a step of two lengths."""
        if self.step_size is not None and self.rel_stepsize is not None:
            raise ConfigError(
                f"training.adversary: give one of step_size and rel_stepsize, got {self.step_size} and {self.rel_stepsize}"
            )

    def __call__(
        self, model: Classifier, images: Tensor, seeds: Tensor, labels: Tensor, height: Callable[[Tensor], Tensor] | None
    ) -> Tensor:  # fmt: skip
        """Returns attacked images.

        Args:
            model: the model, which is not changed.
            images: (N, 3, H, W) in [0, 1].
            seeds: key of each image's random start, int64 (N,).
            labels: true classes (N,), whose cross-entropy is maximised by default.
            height: function from logits (N, K) to the values (N,) that are maximised instead.
        """
        length = {"step_size": self.step_size, "rel_stepsize": self.rel_stepsize}
        options: dict[str, Any] = {k: v for k, v in length.items() if v is not None}
        if height is not None:
            options["loss"] = "margin"
        if self.norm == "L1":
            options["n_targets"] = 0  # one try, as in the other norms
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
            return torch.full_like(images, torch.nan)  # the training has diverged: the check of its loss names the step


def predicted(model: Classifier, images: Tensor) -> Tensor:
    """Returns float logits in evaluation mode, without a graph; the model's mode is restored."""
    training = [part for part in model.modules() if part.training]
    try:
        for part in training:
            part.training = False
        with torch.no_grad():
            return model(images).float()
    finally:
        for part in training:
            part.training = True
