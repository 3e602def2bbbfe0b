"""The model under attack: its logits and input gradients, checked and counted; the model itself is not changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.logits import average, check_logits, parameter_dtype
from RobustART.core.seeding import generators_kept, seed_generators
from RobustART.core.serving import own_module
from RobustART.errors import ConfigError, ModelError, UserError, reason
from RobustART.noise.attacks.watching import NO_GRADIENT, Tally, Watch
from RobustART.registry import import_path

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor], Tensor]


@contextmanager
def guarded(model: Model, device: torch.device, seeds: Tensor | None = None) -> Iterator[None]:
    """Restores the model and the random number generators after an attack, also after an exception.

    A module in training mode is put into evaluation mode, since the attack would otherwise change its running statistics;
    a module in evaluation mode is not changed, even if some of its sub-modules are in training mode.

    Args:
        model: any callable.
        device: of the images.
        seeds: keys of the images; the first seeds the global generators, which a randomised model or a library's attack
            draws from, so that a batch gives the same result again.
    """
    module = model if isinstance(model, nn.Module) else None
    training = (
        [part for part in module.modules() if getattr(part, "training", False)]  # a frozen part has no mode
        if module is not None and module.training
        else []
    )
    learning = [value for value in module.parameters() if value.requires_grad] if module is not None else []
    try:
        for part in training:
            part.training = False
        for value in learning:
            value.requires_grad_(False)
        # An attack may be called under inference_mode, where nothing could be differentiated.
        with torch.inference_mode(False), torch.no_grad(), generators_kept(device):
            if seeds is not None and len(seeds):
                seed_generators(int(seeds[0]), device)
            yield
    finally:
        for value in learning:
            value.requires_grad_(True)
        for part in training:
            part.training = True


class Victim:
    """A classifier that is run on points of known images, with a count of the passes of each image.

    The model gets the points in the type of its first floating-point parameter (float32, bf16, ...); a callable
    without parameters gets them unchanged. Logits are returned as float32, or as float64 from a float64 model.

    Args:
        model: any callable, (N, C, H, W) in [0, 1] to logits (N, K).
        labels: labels of the images, int64 (N,); the first pass checks them against the model's classes.
        amp: ``"bf16"`` runs the model under autocast to bfloat16, except for exact logits; None keeps the caller's
            autocast.
        samples: passes that are averaged wherever the model is asked: their mean gradient and loss, their mean softmax.
        backward: makes of the model a callable whose gradient replaces the model's, or names such a function.

    Attributes:
        proposes: whether only exact logits count, because others are of lower precision or of another runtime.
    """

    def __init__(
        self, model: Model, labels: Tensor, amp: str | None = None, samples: int = 1, backward: Any = None
    ) -> None:
        self.model, self.amp, self.samples = model, amp, samples
        self.exact = own_module(model)
        self.proposes = amp is not None or self.exact is not model
        self._backward = replacement(backward)
        self._surrogate: Model | None = None
        self.dtype = parameter_dtype(model)
        self.classes: int | None = None
        self._forward = Tally(labels)
        self.watch = Watch(labels)
        self._labels = labels

    @property
    def forward_passes(self) -> Tensor:
        """Forward passes of each image, int64 (N,)."""
        return self._forward.total()

    def logits(self, points: Tensor, index: Tensor, *, exact: bool = False) -> Tensor:
        """Returns the logits (M, K) of points (M, C, H, W) of the images ``index``, (M,), without a graph.

        With ``exact`` no autocast lowers their precision, neither this victim's nor the caller's, and the user's module
        computes them.
        """
        # Not inference_mode: a defence that takes gradients while it predicts could not run in it.
        with torch.no_grad():
            answers = [self._ask(points, index, exact=exact).detach() for _ in range(self.samples)]
        return average_of(answers)

    def gradient(self, points: Tensor, index: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits (M, K), losses (M,) and the gradient (M, C, H, W) of each loss with respect to its own point.

        Args:
            points: (M, C, H, W).
            index: the image of each point, (M,).
            loss: logits (M, K) to losses (M,); they are summed, so no image's gradient depends on the batch size.
        """
        passes = [self._pass(points, index, loss) for _ in range(self.samples)]
        answers, losses, gradients = zip(*passes, strict=True)
        return average_of(answers), mean_of(losses), mean_of(gradients)

    def _pass(self, points: Tensor, index: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        leaf = points.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._differentiable(leaf, index)
            losses = loss(logits)
            gradient = input_gradient(losses.sum(), leaf)
        return logits.detach(), losses.detach(), self.watch.gradient(index, gradient)

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
            asked = [self._differentiable(leaf, index) for _ in range(self.samples)]
            values = mean_of([logits.gather(1, others) - logits.gather(1, source[:, None]) for logits in asked])
            totals = values.sum(0).unbind()
        for j, total in enumerate(totals):
            gradient = input_gradient(total, leaf, retain_graph=j < len(totals) - 1)
            yield values[:, j].detach(), self.watch.gradient(index, gradient, passes=self.samples)

    def _differentiable(self, leaf: Tensor, index: Tensor) -> Tensor:
        """Returns the model's logits with a graph: its own, or that of the callable that replaces it."""
        if self._backward is None:
            return self._ask(leaf, index)
        if self._surrogate is None:
            self._surrogate = self._backward(getattr(self.model, "whole", self.model))
        with torch.no_grad():
            own = self._ask(leaf.detach(), index)
        return _Replaced.apply(self._ask(leaf, index, model=self._surrogate), own)

    def _ask(self, points: Tensor, index: Tensor, *, exact: bool = False, model: Model | None = None) -> Tensor:
        model = model or (self.exact if exact else self.model)
        points = points if self.dtype is None else points.to(self.dtype)
        if exact:
            with torch.autocast(points.device.type, enabled=False):
                logits = called(model, points)
        elif self.amp:
            with torch.autocast(points.device.type, dtype=torch.bfloat16):
                logits = called(model, points)
        else:
            logits = called(model, points)
        check_output(logits, len(points))
        if self.classes is None:
            self.classes = logits.shape[1]
            check_labels(self._labels, self.classes)
        self._forward.add(index)
        return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


class _Replaced(torch.autograd.Function):
    """The model's own logits, whose gradient goes to the replacement."""

    @staticmethod
    def forward(ctx: Any, replacement: Tensor, own: Tensor) -> Tensor:
        if replacement.shape != own.shape:
            raise ModelError(
                f"the replacement of the model's gradient must return logits {tuple(own.shape)}, got "
                f"{tuple(replacement.shape)}"
            )
        return own.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def replacement(backward: Any) -> Callable[[Model], Model] | None:
    """Returns the function that ``backward`` is or names; raises a ConfigError if it is neither."""
    made = import_path(backward, "backward") if isinstance(backward, str) else backward
    if made is not None and not callable(made):
        raise ConfigError(f"backward must be module:function or a function of the model, got {backward!r}")
    return made


def mean_of(values: Sequence[Tensor]) -> Tensor:
    """Returns the mean of tensors; a single one as it is."""
    return values[0] if len(values) == 1 else torch.stack(tuple(values)).mean(0)


def average_of(answers: Sequence[Tensor]) -> Tensor:
    """Returns the averaged answer (M, K) to several logits (M, K), see :func:`average`; a single one as it is."""
    return answers[0] if len(answers) == 1 else average(torch.stack(tuple(answers), dim=1)).to(answers[0].dtype)


def called(model: Model, points: Tensor) -> Tensor:
    """Returns a model's answer; an error that it raises becomes a ModelError."""
    try:
        return model(points)
    except UserError:
        raise
    except Exception as error:
        raise ModelError(f"the model fails: {reason(error)}") from error


def input_gradient(total: Tensor, leaf: Tensor, *, retain_graph: bool = False) -> Tensor:
    """Returns the gradient of a sum with respect to the model's input; raises a ModelError if it has none."""
    if not total.requires_grad:
        raise ModelError(NO_GRADIENT)
    try:
        (gradient,) = torch.autograd.grad(total, leaf, retain_graph=retain_graph, allow_unused=True)
    except Exception as error:
        raise ModelError(f"the model's gradient cannot be computed: {reason(error)}") from error
    if gradient is None:
        raise ModelError(NO_GRADIENT)
    return gradient


def check_output(output: object, count: int) -> None:
    """Raises ``ModelError`` unless a model's output is logits (count, K), K at least 2, without NaN."""
    logits = check_logits(output, count)
    if not math.isfinite(logits.detach().sum()) and logits.isnan().any():
        raise ModelError("the model returned NaN logits; an attack on it would prove nothing")


def check_labels(labels: Tensor, classes: int) -> None:
    """Raises ``ConfigError`` if a label is not a class of the model."""
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        low, high = int(labels.min()), int(labels.max())
        raise ConfigError(f"labels must be in 0..{classes - 1} for a model of {classes} classes, got {low}..{high}")
