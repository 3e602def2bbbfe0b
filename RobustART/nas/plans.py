"""A network as data: its layers with their sizes. From a plan come the modules, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution, padded so that stride 1 keeps the size; kernels are odd."""

    inputs: int
    """Channels that come in."""
    outputs: int
    """Channels that go out."""
    kernel: int = 1
    """Side of the kernel."""
    stride: int = 1
    """Step in both directions."""
    groups: int = 1
    """1, or as many as there are channels."""
    act: str | None = None
    """``relu``, ``hswish``, ``hsigmoid`` or none, at the end."""
    norm: bool = True
    """BatchNorm after it; without, it has a bias."""

    def out_size(self, size: int) -> int:
        """Returns the side of the map that comes out."""
        return (size - 1) // self.stride + 1

    @property
    def weights(self) -> int:
        """Numbers in the kernels."""
        return self.outputs * self.inputs // self.groups * self.kernel**2

    @property
    def parameters(self) -> int:
        """Trained numbers: kernels, and a bias or BatchNorm's scale and shift."""
        return self.weights + self.outputs * (2 if self.norm else 1)


@dataclasses.dataclass(frozen=True)
class Block:
    """Convolutions in a row with a way around them."""

    convs: tuple[Conv, ...]
    """In their order."""
    squeeze: tuple[Conv, Conv] | None = None
    """Squeeze and excitation (Hu 2018, https://arxiv.org/abs/1709.01507) before the last convolution."""
    shortcut: Conv | None = None
    """Convolution on the way around; None is the identity."""
    residual: bool = True
    """Whether there is a way around."""
    act: str | None = None
    """After the sum."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole network."""

    stem: Conv
    """The first layer."""
    pool: bool
    """Whether a 3 x 3 maximum of stride 2 follows it."""
    stages: tuple[tuple[Block, ...], ...]
    """Blocks of each stage."""
    head: tuple[Conv, ...]
    """Convolutions before the mean over the map."""
    top: tuple[Conv, ...]
    """Convolutions after it."""
    features: int
    """Channels that the classifier sees."""
    classes: int
    """Its outputs."""


POOL = Conv(1, 1, kernel=3, stride=2)
"""The geometry of the pooling after the stem."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a network costs."""

    parameters: int
    """Trained numbers."""
    macs: int
    """Multiply-adds of convolutions and linear layers for one image, as papers count them; no other layer is counted."""


def cost(plan: Plan, size: int) -> Cost:
    """Returns what a network costs on images of ``size`` x ``size`` pixels, by arithmetic alone."""
    parameters, macs = (plan.features + 1) * plan.classes, plan.features * plan.classes
    for conv, side in _walk(plan, size):
        parameters += conv.parameters
        macs += conv.weights * side**2
    return Cost(parameters, macs)


def _walk(plan: Plan, size: int) -> Iterator[tuple[Conv, int]]:
    """Yields every convolution with the side of the map that it makes."""
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
