"""A private copy of a network for inference, with BatchNorm folded into the convolutions before it, channels last.

Gradients of attacks through the copy are faster, and differ from those of the network by rounding.
"""

from __future__ import annotations

import copy
from collections import Counter

import torch
from timm.layers import BatchNormAct2d
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, fx, nn

from RobustART.models.runtimes import Unsuited, check_plain, reason_of

_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)


class Folded(nn.Module):
    """Runs a folded copy on images in channels-last format."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (N, K) of images (N, C, H, W) in [0, 1]."""
        return self.network(images.contiguous(memory_format=torch.channels_last))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Returns whether a module is one node: a layer, whose forward is not looked into."""
        return isinstance(module, _NORMS) or not any(True for _ in module.children())


def folded(model: nn.Module, network: str = "network") -> Folded:
    """Returns a folded copy of a classifier in evaluation mode; the classifier is not changed.

    Args:
        model: (N, C, H, W) to logits.
        network: name of its sub-module that is folded, which must return what ``torch.fx`` can trace.

    Raises:
        Unsuited: the network has hooks, cannot be traced, or no BatchNorm directly follows a convolution.
    """
    check_plain(model)
    try:
        own = copy.deepcopy(model).requires_grad_(False)
        graph = _Tracer().trace(own.get_submodule(network))
    except Exception as error:  # a user's forward may raise anything when it is called with a tracer's proxies
        raise Unsuited(f"torch.fx cannot trace the network ({reason_of(error)})") from error
    inner = own.get_submodule(network)
    pairs = _pairs(inner, graph)
    if not pairs:
        raise Unsuited("no BatchNorm directly follows a convolution")
    for convolution, norm in pairs:
        _fold(inner, convolution, norm)
    return Folded(own.to(memory_format=torch.channels_last)).requires_grad_(False)


def _pairs(network: nn.Module, graph: fx.Graph) -> list[tuple[str, str]]:
    """Returns the names of convolutions and of the norms that are the only users of their outputs."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    shared = Counter(id(value) for _, value in network.named_parameters(remove_duplicate=False))
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or len(node.args) != 1 or not isinstance(node.args[0], fx.Node):
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) != 1:
            continue
        names = str(before.target), str(node.target)
        convolution, norm = (network.get_submodule(name) for name in names)
        if type(convolution) not in _CONVOLUTIONS or type(norm) not in _NORMS or norm.running_mean is None:
            continue
        if shared[id(convolution.weight)] == 1 and all(calls[name] == 1 and name not in read for name in names):
            pairs.append(names)
    return pairs


def _fold(network: nn.Module, convolution: str, norm: str) -> None:
    """Scales a convolution's weights by a norm, whose activation remains in its place."""
    layer, second = network.get_submodule(convolution), network.get_submodule(norm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(second, nn.BatchNorm2d)
    mean, variance = second.running_mean, second.running_var
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + second.eps).rsqrt()
    if second.weight is not None:
        scale = scale * second.weight.double()
    shift = -mean.double() if layer.bias is None else layer.bias.double() - mean.double()
    bias = shift * scale if second.bias is None else shift * scale + second.bias.double()
    weight = layer.weight.double() * scale[:, None, None, None]
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False)
    rest = nn.Sequential(second.drop, second.act) if isinstance(second, BatchNormAct2d) else nn.Identity()
    parent, _, child = norm.rpartition(".")
    setattr(network.get_submodule(parent), child, rest.eval())
