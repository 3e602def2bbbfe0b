"""A network as data: its layers with their sizes, from which its modules are built and its cost is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution, padded so that stride 1 keeps the size; kernels are odd."""

    inputs: int
    """Input channels."""
    outputs: int
    """Output channels."""
    kernel: int = 1
    """Side of the kernel."""
    stride: int = 1
    """Step in both directions."""
    groups: int = 1
    """1, or the number of channels (depthwise)."""
    act: str | None = None
    """Activation after it: ``relu``, ``hswish``, ``hsigmoid``, or None."""
    norm: bool = True
    """Whether BatchNorm follows it; otherwise it has a bias."""

    def out_size(self, size: int) -> int:
        """Returns the side of its output map for an input of that side."""
        return (size - 1) // self.stride + 1

    @property
    def weights(self) -> int:
        """Number of weights in its kernels."""
        return self.outputs * self.inputs // self.groups * self.kernel**2

    @property
    def parameters(self) -> int:
        """Number of trained parameters: kernels, and a bias or BatchNorm's scale and shift."""
        return self.weights + self.outputs * (2 if self.norm else 1)


@dataclasses.dataclass(frozen=True)
class Block:
    """A sequence of convolutions with a shortcut around them."""

    convs: tuple[Conv, ...]
    """In the order of computation."""
    squeeze: tuple[Conv, Conv] | None = None
    """Squeeze and excitation (Hu 2018, https://arxiv.org/abs/1709.01507) before the last convolution."""
    shortcut: Conv | None = None
    """Convolution on the shortcut; None is the identity."""
    residual: bool = True
    """Whether there is a shortcut."""
    act: str | None = None
    """Activation after the sum."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole network."""

    stem: Conv
    """The first layer."""
    pool: bool
    """Whether 3 x 3 max pooling of stride 2 follows it."""
    stages: tuple[tuple[Block, ...], ...]
    """Blocks of each stage."""
    head: tuple[Conv, ...]
    """Convolutions before the mean over the map."""
    top: tuple[Conv, ...]
    """Convolutions after it."""
    features: int
    """Input channels of the classifier."""
    classes: int
    """Number of classes."""


POOL = Conv(1, 1, kernel=3, stride=2)
"""The geometry of the pooling after the stem."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a network."""

    parameters: int
    """Number of trained parameters."""
    macs: int
    """Multiply-adds of convolutions and linear layers for one image, as papers count them; no other layer is counted."""


def cost(plan: Plan, size: int) -> Cost:
    """Returns the cost of a network on images of ``size`` x ``size`` pixels; nothing is built."""
    parameters, macs = (plan.features + 1) * plan.classes, plan.features * plan.classes
    for conv, side in _walk(plan, size):
        parameters += conv.parameters
        macs += conv.weights * side**2
    return Cost(parameters, macs)


def _walk(plan: Plan, size: int) -> Iterator[tuple[Conv, int]]:
    """Yields every convolution with the side of its output map."""
    size = plan.stem.out_size(size)
    yield plan.stem, size
    if plan.pool:
        size = POOL.out_size(size)
    for stage in plan.stages:
        for block in stage:
            if block.shortcut is not None:
                yield block.shortcut, block.shortcut.out_size(size)
            for conv in block.convs:
                size = conv.out_size(size)
                yield conv, size
            for conv in block.squeeze or ():
                yield conv, 1
    for conv in plan.head:
        size = conv.out_size(size)
        yield conv, size
    for conv in plan.top:
        yield conv, 1
