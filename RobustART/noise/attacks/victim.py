"""The model under attack: its logits and input gradients, checked and counted; the model itself is not changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from RobustART.core.logits import check_logits
from RobustART.errors import ConfigError, ModelError

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor], Tensor]


@contextmanager
def guarded(model: Model, device: torch.device) -> Iterator[None]:
    """Restores the model and the random number generators after an attack, also after an exception.

    A module in training mode is put into evaluation mode, since the attack would otherwise change its running statistics;
    a module in evaluation mode is not changed, even if some of its sub-modules are in training mode.
    """
    module = model if isinstance(model, nn.Module) else None
    training = [part for part in module.modules() if part.training] if module is not None and module.training else []
    learning = [value for value in module.parameters() if value.requires_grad] if module is not None else []
    rng = torch.get_rng_state()
    device_rng = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        for part in training:
            part.training = False
        for value in learning:
            value.requires_grad_(False)
        # An attack may be called under inference_mode, where nothing could be differentiated.
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for value in learning:
            value.requires_grad_(True)
        for part in training:
            part.training = True
        torch.set_rng_state(rng)
        if device_rng is not None:
            torch.cuda.set_rng_state(device_rng, device)


class Victim:
    """A classifier that is run on points of known images, with a count of the passes of each image.

    The model gets the points in the type of its first floating-point parameter (float32, bf16, ...); a callable
    without parameters gets them unchanged. Logits are returned as float32, or as float64 from a float64 model.

    Args:
        model: any callable, (N, C, H, W) in [0, 1] to logits (N, K).
        labels: labels of the images, int64 (N,); the first pass checks them against the model's classes.
        amp: ``"bf16"`` runs the model under autocast to bfloat16, except for exact logits; None keeps the caller's
            autocast.
    """

    def __init__(self, model: Model, labels: Tensor, amp: str | None = None) -> None:
        self.model, self.amp = model, amp
        self.dtype = parameter_dtype(model)
        self.classes: int | None = None
        self._forward, self._backward = _Tally(labels), _Tally(labels)
        self._labels = labels

    @property
    def forward_passes(self) -> Tensor:
        """Forward passes of each image, int64 (N,)."""
        return self._forward.total()

    @property
    def backward_passes(self) -> Tensor:
        """Backward passes of each image, int64 (N,)."""
        return self._backward.total()

    def logits(self, points: Tensor, index: Tensor, *, exact: bool = False) -> Tensor:
        """Returns the logits (M, K) of points (M, C, H, W) of the images ``index``, (M,), without a graph.

        With ``exact`` no autocast lowers their precision, neither this victim's nor the caller's.
        """
        # Not inference_mode: a defence that takes gradients while it predicts could not run in it.
        with torch.no_grad():
            return self._ask(points, index, exact=exact).detach()

    def gradient(self, points: Tensor, index: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits (M, K), losses (M,) and the gradient (M, C, H, W) of each loss with respect to its own point.

        Args:
            points: (M, C, H, W).
            index: the image of each point, (M,).
            loss: logits (M, K) to losses (M,); they are summed, so no image's gradient depends on the batch size.
        """
        leaf = points.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._ask(leaf, index)
            losses = loss(logits)
            if not losses.requires_grad:
                raise ModelError(
                    "the model's output does not depend differentiably on its input, so there is no gradient to "
                    "follow; remove torch.no_grad(), argmax or rounding from it, or use the 'square' attack"
                )
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        self._backward.add(index)
        return logits.detach(), losses.detach(), torch.nan_to_num(gradient, nan=0.0)

    def class_gradients(
        self, points: Tensor, index: Tensor, source: Tensor, others: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields for each column of ``others``: its logit minus that of ``source``, and the gradient of the difference.

        Args:
            points: (M, C, H, W).
            index: the image of each point, (M,).
            source: a class per point, (M,).
            others: the classes to compare it with, (M, J).
        """
        leaf = points.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._ask(leaf, index)
            values = logits.gather(1, others) - logits.gather(1, source[:, None])
            totals = values.sum(0).unbind()
        for j, total in enumerate(totals):
            (gradient,) = torch.autograd.grad(total, leaf, retain_graph=j < len(totals) - 1)
            self._backward.add(index)
            yield values[:, j].detach(), torch.nan_to_num(gradient, nan=0.0)

    def _ask(self, points: Tensor, index: Tensor, *, exact: bool = False) -> Tensor:
        points = points if self.dtype is None else points.to(self.dtype)
        if exact:
            with torch.autocast(points.device.type, enabled=False):
                logits = self.model(points)
        elif self.amp:
            with torch.autocast(points.device.type, dtype=torch.bfloat16):
                logits = self.model(points)
        else:
            logits = self.model(points)
        check_output(logits, len(points))
        if self.classes is None:
            self.classes = logits.shape[1]
            check_labels(self._labels, self.classes)
        self._forward.add(index)
        return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


class _Tally:
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


def check_output(output: object, count: int) -> None:
    """Raises ``ModelError`` unless a model's output is logits (count, K), K at least 2, without NaN."""
    logits = check_logits(output, count, classes=2)
    if not math.isfinite(logits.detach().sum()) and logits.isnan().any():
        raise ModelError("the model returned NaN logits; an attack on it would prove nothing")


def check_labels(labels: Tensor, classes: int) -> None:
    """Raises ``ConfigError`` if a label is not a class of the model."""
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        low, high = int(labels.min()), int(labels.max())
        raise ConfigError(f"labels must be in 0..{classes - 1} for a model of {classes} classes, got {low}..{high}")


def parameter_dtype(model: Model) -> torch.dtype | None:
    """Returns the type of a module's first floating-point parameter or buffer; None for any other callable."""
    if not isinstance(model, nn.Module):
        return None
    for tensors in (model.parameters(), model.buffers()):
        for value in tensors:
            if value.is_floating_point():
                return value.dtype
    return None
