"""A model with faster forms for passes whose results are checked: another runtime, and a copy for gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from RobustART.core.logits import parameter_dtype

Session = Callable[[Tensor], Tensor]
"""float32 images (N, C, H, W) in [0, 1] to float32 logits (N, K), without a graph."""


class Served(nn.Module):
    """A user's module with a session for passes without gradient, and a copy for gradients of attacks.

    Results that count as successes of attacks are confirmed by :func:`own_module`.

    Args:
        own: the user's module.
        shape: shape (C, H, W) of the images that the session takes.
        session: answers passes without gradient in float32; None is the module itself.
        proposals: module for passes with gradient; None is the module itself. Its parameters are not this module's.
    """

    def __init__(
        self, own: nn.Module, shape: tuple[int, ...], session: Session | None = None, proposals: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.own, self.shape, self.session, self._proposals = own, shape, session, (proposals,)
        self.input_dtype = parameter_dtype(own)
        self.train(own.training)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, K) of images (N, C, H, W)."""
        (proposals,) = self._proposals
        if torch.is_grad_enabled() and images.requires_grad:
            return (proposals or self.own)(images)
        fits = images.shape[1:] == self.shape and images.dtype == torch.float32 and len(images) > 0
        if self.session is not None and fits and not torch.is_autocast_enabled(images.device.type):
            return self.session(images)
        return self.own(images)

    @property
    def whole(self) -> nn.Module:
        """What the ``backward`` of an attack gets as the model."""
        return getattr(self.own, "whole", self.own)


def own_module(model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Returns the user's module of a :class:`Served`; any other model is returned unchanged."""
    return model.own if isinstance(model, Served) else model
