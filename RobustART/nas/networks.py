"""Builds modules from plans, and the supernet: the largest network of a space, whose weights contain all others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from RobustART.core.preprocessing import Preprocessing
from RobustART.models.model_libraries import MODEL_LIBRARIES, ModelLibrary
from RobustART.nas.plans import POOL, Block, Conv, Plan
from RobustART.nas.spaces import SPACES, Encoding, Space, create_space

ACTIVATIONS = {"relu": nn.ReLU, "hswish": nn.Hardswish, "hsigmoid": nn.Hardsigmoid, None: nn.Identity}


class Layer(nn.Module):
    """A convolution with BatchNorm or a bias, and its activation, that can also compute as a smaller one.

    The smaller one uses the first channels and the middle of the kernel. In training it does not update the running
    statistics, even if its sizes are equal: the plan's identity decides, not its content.
    """

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.plan = conv
        self.conv = nn.Conv2d(
            conv.inputs,
            conv.outputs,
            conv.kernel,
            conv.stride,
            conv.kernel // 2,
            groups=conv.groups,
            bias=not conv.norm,
        )
        self.norm = nn.BatchNorm2d(conv.outputs) if conv.norm else None
        self.act = ACTIVATIONS[conv.act]()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor, conv: Conv) -> Tensor:
        """Returns maps (N, outputs, H', W'), of this layer or of the smaller one that ``conv`` describes."""
        if conv is self.plan:
            maps = self.conv(maps)
            maps = maps if self.norm is None else self.norm(maps)
        else:
            weight = part(self.conv.weight, (conv.outputs, conv.inputs // conv.groups, conv.kernel, conv.kernel))
            bias = None if self.conv.bias is None else self.conv.bias[: conv.outputs]
            maps = F.conv2d(maps, weight, bias, conv.stride, conv.kernel // 2, groups=conv.groups)
            maps = maps if self.norm is None else _smaller_norm(self.norm, maps)
        return self.act(maps)


def _smaller_norm(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Returns the output of a BatchNorm layer for fewer channels than it has."""
    count = maps.shape[1]
    weight, bias = norm.weight[:count], norm.bias[:count]
    if norm.training:
        return F.batch_norm(maps, None, None, weight, bias, training=True, eps=norm.eps)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return F.batch_norm(maps, norm.running_mean[:count], norm.running_var[:count], weight, bias, eps=norm.eps)


class Residual(nn.Module):
    """The module of a :class:`Block`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.convs = nn.ModuleList(map(Layer, block.convs))
        self.squeeze = nn.ModuleList(map(Layer, block.squeeze or ()))
        self.shortcut = Layer(block.shortcut) if block.shortcut else None
        self.act = ACTIVATIONS[block.act]()
        if block.residual and block.shortcut is None:  # initialised as the identity (arXiv:1706.02677, 5.1)
            nn.init.zeros_(self.convs[-1].get_parameter("norm.weight"))

    def forward(self, maps: Tensor, block: Block) -> Tensor:
        """Returns maps (N, outputs, H', W'), of this block or of the smaller one that ``block`` describes."""
        out = _in_a_row(self.convs[:-1], block.convs[:-1], maps)
        if block.squeeze is not None:
            out = out * _in_a_row(self.squeeze, block.squeeze, out.mean((2, 3), keepdim=True))
        out = self.convs[-1](out, block.convs[-1])
        if block.shortcut is not None and self.shortcut is not None:
            out = out + self.shortcut(maps, block.shortcut)
        elif block.residual:
            out = out + maps
        return self.act(out)


def _in_a_row(layers: Iterable[nn.Module], convs: Sequence[Conv], maps: Tensor) -> Tensor:
    for layer, conv in zip(layers, convs, strict=True):
        maps = layer(maps, conv)
    return maps


class Network(nn.Module):
    """One network of a space.

    Args:
        plan: its layers.
        size: side of its input in pixels, stated in ``preprocessing``; other sizes are accepted.
    """

    def __init__(self, plan: Plan, size: int) -> None:
        super().__init__()
        self.plan = plan
        self.preprocessing = Preprocessing(input_size=size, resize=round(size * 8 / 7))
        self.stem = Layer(plan.stem)
        self.pool = nn.MaxPool2d(POOL.kernel, POOL.stride, POOL.kernel // 2) if plan.pool else nn.Identity()
        self.stages = nn.ModuleList(nn.ModuleList(map(Residual, stage)) for stage in plan.stages)
        self.head = nn.ModuleList(map(Layer, plan.head))
        self.top = nn.ModuleList(map(Layer, plan.top))
        self.classifier = nn.Linear(plan.features, plan.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, K) of normalised images (N, 3, H, W)."""
        return self.run(images, self.plan)

    def run(self, images: Tensor, plan: Plan) -> Tensor:
        """Returns logits (N, K) of a plan's network, which must be part of this one."""
        maps = self.pool(self.stem(images, plan.stem))
        for stage, blocks in zip(self.stages, plan.stages, strict=True):
            assert isinstance(stage, nn.ModuleList)
            for block, planned in zip(stage, blocks, strict=False):  # a shallower stage has the first blocks
                maps = block(maps, planned)
        maps = _in_a_row(self.head, plan.head, maps).mean((2, 3), keepdim=True)
        features = _in_a_row(self.top, plan.top, maps).flatten(1)
        if plan.features == self.plan.features:
            return self.classifier(features)
        return F.linear(features, self.classifier.weight[:, : plan.features], self.classifier.bias)


class Supernet(Network):
    """The largest network of a space, which can compute as any of the others with parts of its weights.

    A layer uses the first channels of its weights, a smaller kernel the middle of the larger one, a shallower stage its
    first blocks; kernels are not transformed. Images are resized to the active input size by bilinear interpolation.
    BatchNorm's running statistics belong to the largest network alone: others do not update them, and their own must be
    measured before use (on what :meth:`subnet` returns).
    """

    def __init__(self, space: Space) -> None:
        largest = space.largest()
        super().__init__(space.plan(largest), largest["input_size"])
        self.space = space
        self._active: list[Encoding] = [largest]
        self._stacked = False

    def set(self, encoding: Encoding) -> None:
        """Makes a sub-network the active one."""
        self._active, self._stacked = [self.space.check(encoding)], False

    @contextlib.contextmanager
    def together(self, encodings: Sequence[Encoding]) -> Iterator[None]:
        """Makes several sub-networks active within the block; logits are then (E, N, K)."""
        before = self._active, self._stacked
        self._active, self._stacked = [self.space.check(encoding) for encoding in encodings], True
        try:
            yield
        finally:
            self._active, self._stacked = before

    def forward(self, images: Tensor) -> Tensor:
        """Returns the active network's logits (N, K), or those of several (E, N, K), of normalised images (N, 3, H, W)."""
        answers = [self._answer(encoding, images) for encoding in self._active]
        return torch.stack(answers) if self._stacked else answers[0]

    def _answer(self, encoding: Encoding, images: Tensor) -> Tensor:
        size = encoding["input_size"]
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        largest = encoding == self.space.largest()
        return self.run(images, self.plan if largest else self.space.plan(encoding))

    def subnet(self, encoding: Encoding) -> Network:
        """Returns a sub-network as an independent network in evaluation mode, with copies of its weights."""
        encoding = self.space.check(encoding)
        with torch.device("meta"):
            network = Network(self.space.plan(encoding), encoding["input_size"])
        network.to_empty(device=self.classifier.weight.device)
        own = self.state_dict()
        network.load_state_dict({name: part(own[name], like.shape) for name, like in network.state_dict().items()})
        return network.eval()


def part(weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns the part of a layer's weights that a smaller layer uses: first channels, middle of the kernel."""
    for dim, length in enumerate(shape):
        start = (weights.shape[dim] - length) // 2 if dim >= 2 else 0
        weights = weights.narrow(dim, start, length)
    return weights


def build_nas(name: str, *, encoding: Mapping[str, Any] | None = None, **options: Any) -> Network:
    """Returns the supernet of a space, or with ``encoding`` that sub-network alone, as a network with its own weights.

    ``encoding`` is the sub-network; None is the supernet.
    """
    space = create_space(name, options)
    if encoding is None:
        return Supernet(space)
    checked = space.check(encoding, f"model.kwargs.encoding of nas:{name}")
    return Network(space.plan(checked), checked["input_size"])


MODEL_LIBRARIES.add(
    "nas", ModelLibrary(lambda name, _, kwargs: build_nas(name, **kwargs), lambda: list(SPACES), untrained=True)
)
