"""Watches the gradients and losses that an attack sees, for the signs that it failed (:mod:`RobustART.core.signs`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.errors import ModelError

NO_GRADIENT = (
    "the model's output does not depend differentiably on its input, so there is no gradient to follow: it is quantised, "
    "frozen or exported, or uses torch.no_grad(), detach(), numpy, argmax or rounding; change that, name a replacement "
    "of its gradient with the option 'backward', or use an attack without gradients, 'square' or 'hop_skip_jump_linf'"
)
"""Message for a model without gradients."""
_COARSE = 1e-4
"""Losses below this are too coarse in float32 to show whether they rise: 1 - p of a confident network is rounded."""
_STEPS = 100
"""Largest number of steps that are taken together."""


class Tally:
    """Counts the passes of images; successive passes of the same rows, which are one tensor, are added at once."""

    def __init__(self, like: Tensor) -> None:
        self._total, self._times = torch.zeros_like(like), 0
        self._index = like[:0]

    def add(self, index: Tensor) -> None:
        """Counts one pass of the images ``index``, (M,), which is not changed later."""
        if index is not self._index:
            self.total()
            self._index = index
        self._times += 1

    def total(self) -> Tensor:
        """Returns the passes of each image, int64 (N,)."""
        if self._times:
            self._total.index_add_(0, self._index, torch.full_like(self._index, self._times))
            self._times = 0
        return self._total


class Watch:
    """Counts, for each image, the gradients that are invalid or zero, and records whether the loss ever rose.

    What successive steps of the same rows, which are one tensor, show is taken together.

    Args:
        labels: a tensor (N,) for the N images, on their device.
    """

    def __init__(self, labels: Tensor) -> None:
        self._backward = torch.zeros_like(labels, dtype=torch.int64)
        self._invalid, self._zero = torch.zeros_like(self._backward), torch.zeros_like(self._backward)
        self._first = torch.full_like(labels, torch.nan, dtype=torch.float64)
        self._again, self._rose = torch.zeros_like(labels, dtype=torch.bool), torch.zeros_like(labels, dtype=torch.bool)
        self._index = self._backward[:0]
        self._largest: list[Tensor] = []
        self._passes: list[int] = []
        self._losses: list[Tensor] = []

    def gradient(self, index: Tensor, gradient: Tensor, passes: int = 1) -> Tensor:
        """Counts the gradients (M, C, H, W) of the images ``index``, (M,), each as the result of ``passes`` passes.

        Returns them with zeros instead of NaN.
        """
        self._rows(index)
        self._largest.append(gradient.detach().flatten(1).abs().amax(1))
        self._passes.append(passes)
        return torch.nan_to_num(gradient, nan=0.0)

    def loss(self, index: Tensor, losses: Tensor) -> None:
        """Takes the losses (M,) that an attack raises, of different images ``index``, (M,)."""
        self._rows(index)
        self._losses.append(losses)

    def _rows(self, index: Tensor) -> None:
        if index is not self._index or len(self._largest) > _STEPS:
            self._settle()
            self._index = index

    def _settle(self) -> None:
        """Takes what the last steps have shown."""
        index = self._index
        if self._largest:
            largest = torch.stack(self._largest)
            passes = torch.tensor(self._passes, device=index.device)
            self._backward.index_add_(0, index, torch.full_like(index, sum(self._passes)))
            self._invalid.index_add_(0, index, (~largest.isfinite()).sum(0))
            self._zero.index_add_(0, index, ((largest == 0) * passes[:, None]).sum(0))
        if self._losses:
            losses = torch.stack((self._first[index], *(values.double() for values in self._losses)))
            place = losses.isnan().logical_not().byte().argmax(0)  # the first of equal values
            first = losses.gather(0, place[None])[0]
            self._again[index] |= ~first.isnan() & (place < len(self._losses))
            self._rose[index] |= (losses > first).any(0)
            self._first[index] = first
        self._largest, self._passes, self._losses = [], [], []

    @property
    def backward(self) -> Tensor:
        """Gradients of each image, (N,)."""
        self._settle()
        return self._backward

    def signs(self) -> dict[str, Tensor]:
        """Returns the images that show a sign, bool (N,) on the CPU, by its name; signs that no image shows are left out.

        An image counts as one with zero gradients if all of its gradients were zero.
        """
        self._settle()
        found = {
            "nan_gradients": self._invalid > 0,
            "zero_gradients": (self._backward > 0) & (self._zero == self._backward),
            "flat_loss": self._again & ~self._rose & (self._first.abs() > _COARSE),
        }
        return {name: images.cpu() for name, images in found.items() if bool(images.any())}


class Watched(nn.Module):
    """A model that is watched from outside, for attacks that do not report their gradients, such as those of libraries.

    A point belongs to the image at its place in a batch of all images, otherwise to the nearest image.

    Attributes that it lacks are those of the model.

    Args:
        model: any callable, images (N, C, H, W) to logits (N, K).
        images: the images that are attacked, (N, C, H, W).
    """

    def __init__(self, model: Callable[[Tensor], Tensor], images: Tensor) -> None:
        super().__init__()
        self.model, self.training = model, getattr(model, "training", False)
        self.images = images
        self.watch = Watch(images.flatten(1)[:, 0])
        self.forward_passes = torch.zeros_like(self.watch.backward)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":
                raise
            return getattr(self.model, name)

    def forward(self, points: Tensor) -> Tensor:
        """Returns the model's logits."""
        count = len(self.images)
        index = torch.arange(count, device=points.device)
        if len(points) != count:
            apart = torch.cdist(points.detach().flatten(1).float(), self.images.flatten(1).float())
            index = apart.argmin(1)
        self.forward_passes.index_add_(0, index, torch.ones_like(index))
        if points.requires_grad and torch.is_grad_enabled():
            points = _Tap.apply(points, self.watch, index)
        logits: Tensor = self.model(points)
        return logits


class _Tap(torch.autograd.Function):
    """Returns its input, and shows the gradient to a watch."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, watch: Watch, index: Tensor) -> Tensor:
        ctx.watch, ctx.index = watch, index
        ctx.set_materialize_grads(False)
        return points.view_as(points)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if gradients[0] is None:
            raise ModelError(NO_GRADIENT)
        ctx.watch.gradient(ctx.index, gradients[0])
        return gradients[0], None, None
