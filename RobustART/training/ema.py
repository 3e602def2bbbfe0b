"""Averages of a model's weights: an exponential one without bias at its start, and the uniform one of SWA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from RobustART.core.ranges import Count, Range, ShareBelowOne
from RobustART.errors import ConfigError


class Average:
    """An average of a model's floating-point weights and buffers; integer buffers are copied.

    Args:
        model: the model, whose state is averaged under its ``state_dict`` names. It must stay on its device.
        use_double: keep the average in float64.
    """

    def __init__(self, model: nn.Module, use_double: bool = False) -> None:
        self.values: dict[str, Tensor] = {}
        self._floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._counts: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, value in model.state_dict().items():  # these share the memory of the model's own, which is kept
            kept = value.detach().clone()
            pairs = self._counts
            if value.is_floating_point():
                kept = kept.double() if use_double else kept
                pairs = self._floats
            self.values[name] = kept
            pairs[0].append(kept)
            pairs[1].append(value.detach())

    @torch.no_grad()
    def move(self, weight: float) -> None:
        """Moves the average towards the model's present state by the share ``weight``."""
        own, new = self._floats
        if weight == 1:
            torch._foreach_copy_(own, new)
        elif own:
            torch._foreach_lerp_(own, [n.to(o.dtype) for o, n in zip(own, new, strict=True)], weight)
        for value, count in zip(*self._counts, strict=True):
            value.copy_(count)

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """Loads averages; their names and shapes must be the model's."""
        wrong = set(values) ^ set(self.values)
        if wrong or any(values[name].shape != own.shape for name, own in self.values.items()):
            raise ConfigError(
                f"the averaged weights do not fit the model: {', '.join(sorted(wrong)[:5]) or 'shapes differ'}"
            )
        for name, own in self.values.items():
            own.copy_(values[name])


class Ema(Average):
    """Exponential moving average of weights, without the bias of its start.

    With weights w_t, ``e_t = d_t e_(t-1) + (1 - d_t) w_t`` from ``e_0 = 0`` and
    ``d_t = min(decay, (1 + t) / (warmup + t))``, the average is ``e_t / (1 - d_1 ... d_t)``: the correction of Adam (Kingma
    and Ba 2015, https://arxiv.org/abs/1412.6980). The original left it out, so that its averages began near zero.

    Args:
        model: see :class:`Average`.
        decay: share of the average that is kept at each step.
        inner_T: update once in this many steps, with ``decay ** inner_T``.
        warmup: larger values let early steps weigh more.
        copy_init: whether to start from the model's first weights, which then need no correction.
        use_double: whether to keep the average in float64.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        decay: ShareBelowOne = 0.999,
        inner_T: Count = 1,
        warmup: Annotated[float, Range(1)] = 1,
        copy_init: bool = False,
        use_double: bool = False,
    ) -> None:
        super().__init__(model, use_double)
        self.decay, self.inner_T, self.warmup = decay**inner_T, inner_T, warmup
        self.remaining = 0.0 if copy_init else 1.0

    def update(self, step: int) -> None:
        """Adds the weights after ``step``, from 1, to the average."""
        if step % self.inner_T:
            return
        decay = min(self.decay, (1 + step) / (self.warmup + step))
        self.remaining *= decay
        self.move((1 - decay) / (1 - self.remaining))

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds."""
        return {"values": self.values, "remaining": self.remaining}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads :meth:`state_dict`, or plain averages by name, as other programs write them."""
        ours = set(state) == {"values", "remaining"}
        self.load_values(state["values"] if ours else state)
        self.remaining = float(state["remaining"]) if ours else 0.0


class Swa(Average):
    """Uniform average of weights along the end of a training (Izmailov 2018, https://arxiv.org/abs/1803.05407).

    The weights of step ``first`` and of every ``every``-th step after it count.
    """

    def __init__(self, model: nn.Module, *, first: int, every: int) -> None:
        super().__init__(model)
        self.first, self.every, self.count = first, every, 0

    def update(self, step: int) -> None:
        """Adds the weights after ``step``, from 1, to the average if they count."""
        if step >= self.first and (step - self.first) % self.every == 0:
            self.count += 1
            self.move(1 / self.count)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds."""
        return {"values": self.values, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads :meth:`state_dict`."""
        self.load_values(state["values"])
        self.count = int(state["count"])


@torch.no_grad()
def recalibrate(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Recomputes the statistics of a model's BatchNorm layers in place, since averaged weights need different ones.

    Other layers are in evaluation mode, without dropout, so that the statistics are equal each time and in every process.

    Args:
        model: the model, whose layers get the mean of their statistics over the batches.
        images: batches (N, 3, H, W) in [0, 1], on the model's device; or of several views, (N, V, 3, H, W).
    """
    layers = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    training = model.training
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.training = True
    for batch in images:
        model(batch.flatten(0, 1) if batch.ndim == 5 else batch)
    model.train(training)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
