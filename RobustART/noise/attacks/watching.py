"""Watches the gradients and losses that an attack sees, for the signs that it failed (:mod:`RobustART.core.signs`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_COARSE = 1e-4
"""Losses below this are too coarse in float32 to show whether they rise: 1 - p of a confident network is rounded."""


class Watch:
    """Counts, for each image, the gradients that are invalid or zero, and records whether the loss ever rose.

    Args:
        labels: a tensor (N,) for the N images, on their device.
    """

    def __init__(self, labels: Tensor) -> None:
        self.backward = torch.zeros_like(labels, dtype=torch.int64)
        """Gradients of each image, (N,)."""
        self._invalid, self._zero = torch.zeros_like(self.backward), torch.zeros_like(self.backward)
        self._first = torch.full_like(labels, torch.nan, dtype=torch.float64)
        self._again, self._rose = torch.zeros_like(labels, dtype=torch.bool), torch.zeros_like(labels, dtype=torch.bool)

    def gradient(self, index: Tensor, gradient: Tensor, passes: int = 1) -> Tensor:
        """Counts the gradients (M, C, H, W) of the images ``index``, (M,), each as the result of ``passes`` passes.

        Returns them with zeros instead of NaN.
        """
        largest = gradient.detach().flatten(1).abs().amax(1)
        self.backward.index_add_(0, index, torch.full_like(index, passes))
        self._invalid.index_add_(0, index, (~largest.isfinite()).long())
        self._zero.index_add_(0, index, (largest == 0).long() * passes)
        return torch.nan_to_num(gradient, nan=0.0)

    def loss(self, index: Tensor, losses: Tensor) -> None:
        """Takes the losses (M,) that an attack raises, of different images ``index``, (M,)."""
        first, losses = self._first[index], losses.double()
        self._again[index] |= ~first.isnan()
        self._rose[index] |= losses > first
        self._first[index] = torch.where(first.isnan(), losses, first)

    def signs(self) -> dict[str, Tensor]:
        """Returns the images that show a sign, bool (N,) on the CPU, by its name; signs that no image shows are left out.

        An image counts as one with zero gradients if all of its gradients were zero.
        """
        found = {
            "nan_gradients": self._invalid > 0,
            "zero_gradients": (self.backward > 0) & (self._zero == self.backward),
            "flat_loss": self._again & ~self._rose & (self._first.abs() > _COARSE),
        }
        return {name: images.cpu() for name, images in found.items() if bool(images.any())}


class Watched(nn.Module):
    """A model that is watched from outside, for attacks that do not report their gradients, such as those of libraries.

    A point belongs to the image at its place in a batch of all images, otherwise to the nearest image.

    Args:
        model: maps images (N, C, H, W) to logits (N, K).
        images: the images that are attacked, (N, C, H, W).
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model, self.training = model, model.training
        self.images = images
        self.watch = Watch(images.flatten(1)[:, 0])
        self.forward_passes = torch.zeros_like(self.watch.backward)

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
        return points.view_as(points)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.watch.gradient(ctx.index, gradients[0])
        return gradients[0], None, None
