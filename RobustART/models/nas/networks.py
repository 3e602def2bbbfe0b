"""From plans to modules, and the supernet: the largest network of a space, whose weights hold those of all others."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from RobustART.models.nas.plans import POOL, Block, Conv, Plan
from RobustART.models.nas.spaces import Encoding, Space
from RobustART.preprocessing import Preprocessing

ACTIVATIONS = {"relu": nn.ReLU, "hswish": nn.Hardswish, "hsigmoid": nn.Hardsigmoid, None: nn.Identity}


class Layer(nn.Module):
    """A convolution with BatchNorm or a bias, and its activation."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            conv.inputs,
            conv.outputs,
            conv.kernel,
            conv.stride,
            conv.kernel // 2,
            groups=conv.groups,
            bias=not conv.norm,
        )
        self.norm = nn.BatchNorm2d(conv.outputs) if conv.norm else nn.Identity()
        self.act = ACTIVATIONS[conv.act]()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """Returns maps (N, outputs, H', W')."""
        out: Tensor = self.act(self.norm(self.conv(maps)))
        return out


class Residual(nn.Module):
    """A :class:`Block`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.convs = nn.ModuleList(map(Layer, block.convs))
        self.squeeze = nn.Sequential(*map(Layer, block.squeeze)) if block.squeeze else None
        self.shortcut = Layer(block.shortcut) if block.shortcut else None
        self.residual = block.residual
        self.act = ACTIVATIONS[block.act]()

    def forward(self, maps: Tensor) -> Tensor:
        """Returns maps (N, outputs, H', W')."""
        out = maps
        for layer in self.convs[:-1]:
            out = layer(out)
        if self.squeeze is not None:
            out = out * self.squeeze(out.mean((2, 3), keepdim=True))
        out = self.convs[-1](out)
        if self.residual:
            out = out + (maps if self.shortcut is None else self.shortcut(maps))
        result: Tensor = self.act(out)
        return result


class Network(nn.Module):
    """One network of a space.

    Args:
        plan: its layers.
        size: side of its input in pixels; it says so in ``preprocessing``, and takes others too.
    """

    def __init__(self, plan: Plan, size: int) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(input_size=size, resize=round(size * 8 / 7))
        self.stem = Layer(plan.stem)
        self.pool = nn.MaxPool2d(POOL.kernel, POOL.stride, POOL.kernel // 2) if plan.pool else nn.Identity()
        self.stages = nn.ModuleList(nn.Sequential(*map(Residual, stage)) for stage in plan.stages)
        self.head = nn.Sequential(*map(Layer, plan.head))
        self.top = nn.Sequential(*map(Layer, plan.top))
        self.classifier = nn.Linear(plan.features, plan.classes)
        for block in self.modules():
            if isinstance(block, Residual) and block.residual and block.shortcut is None:
                nn.init.zeros_(
                    block.convs[-1].get_parameter("norm.weight")
                )  # it begins as the identity (arXiv:1706.02677, 5.1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, K) of normalised images (N, 3, H, W)."""
        maps = self.pool(self.stem(images))
        for stage in self.stages:
            maps = stage(maps)
        maps = self.top(self.head(maps).mean((2, 3), keepdim=True))
        logits: Tensor = self.classifier(maps.flatten(1))
        return logits


class Supernet(Network):
    """The largest network of a space, which can answer as any of the others by parts of its own weights.

    A layer takes the first channels of its weights, a smaller kernel the middle of the larger one, a shallower stage its
    first blocks; kernels are not transformed. Images are resized to the active input size by bilinear interpolation.
    BatchNorm's running statistics are those of the largest network alone: others leave them as they are, and need
    statistics of their own before they are used (measure them on :meth:`subnet`).

    Args:
        space: of its sub-networks.
    """

    def __init__(self, space: Space) -> None:
        largest = space.largest()
        super().__init__(space.plan(largest), largest["input_size"])
        self.space = space
        self._active: list[Encoding] = [largest]
        self._stacked = False

    def set(self, encoding: Encoding) -> None:
        """Makes a sub-network the one that answers."""
        self._active, self._stacked = [self.space.check(encoding)], False

    @contextlib.contextmanager
    def together(self, encodings: Sequence[Encoding]) -> Iterator[None]:
        """Lets several answer at once, inside: logits are (E, N, K) then."""
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
        if encoding == self.space.largest():
            return super().forward(images)
        twin = _skeleton(self.space.plan(encoding))
        twin.train(self.training)
        state = self._parts(twin)
        if self.training:
            statistics = {name for name, _ in twin.named_buffers()}
            state = {name: value.clone() if name in statistics else value for name, value in state.items()}
        logits: Tensor = torch.func.functional_call(twin, state, (images,), strict=True)
        return logits

    def _parts(self, twin: Network) -> dict[str, Tensor]:
        """Returns the parts of the own parameters and buffers that a smaller network consists of; they share memory."""
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        names = (*twin.named_parameters(), *twin.named_buffers())
        return {name: part(own[name], like.shape) for name, like in names}

    def subnet(self, encoding: Encoding) -> Network:
        """Returns a sub-network as a network of its own, with copies of its weights, in evaluation mode."""
        encoding = self.space.check(encoding)
        plan = self.space.plan(encoding)
        parts = self._parts(_skeleton(plan))
        with torch.device("meta"):
            network = Network(plan, encoding["input_size"])
        network.to_empty(device=self.classifier.weight.device)
        network.load_state_dict({name: value.detach() for name, value in parts.items()})
        return network.eval()


def part(weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns the part of a layer's weights that a smaller layer has: first channels, middle of the kernel."""
    for dim, length in enumerate(shape):
        start = (weights.shape[dim] - length) // 2 if dim >= 2 else 0
        weights = weights.narrow(dim, start, length)
    return weights


@functools.lru_cache(maxsize=32)
def _skeleton(plan: Plan) -> Network:
    """Returns a network without values."""
    with torch.device("meta"):
        return Network(plan, 1)
