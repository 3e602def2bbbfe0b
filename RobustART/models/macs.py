"""How large a network is: its parameters, and the multiplications and additions (MACs) of one image.

MACs are counted as the benchmark's table counts them: those of convolutions and linear layers. The products of queries,
keys and values in attention, normalisations, activations and pooling are left out.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from RobustART.errors import ModelError

LAYERS = ("convolution", "addmm", "mm")
"""Operations with a weight. A batched product (``bmm``, ``scaled_dot_product_attention``) is one of attention."""


class _Numbers(TorchFunctionMode):
    """Leaves ``torch.linspace`` on the CPU: older builders of timm read rates of dropped paths from it."""

    def __torch_function__(self, function: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)


@contextlib.contextmanager
def meta_device() -> Iterator[None]:
    """Within the block, networks are built on the meta device, without memory: enough for counting and for shapes."""
    with torch.device("meta"), _Numbers():
        yield


def count_parameters(network: nn.Module) -> int:
    """Returns the number of learned values; buffers such as BatchNorm's means do not count."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, input_size: int, *, attention: bool = False) -> int:
    """Returns the MACs of one image of ``input_size`` x ``input_size`` pixels, in evaluation mode.

    Nothing is computed and the network is left as it is: a copy of it runs on the meta device.

    Args:
        network: takes images (N, 3, H, W).
        input_size: in pixels.
        attention: whether to count the products inside attention too.

    Raises:
        ModelError: the network does not take images of this size.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imported here, since it imports triton

    shadow = copy.deepcopy(network).to("meta").eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shadow(torch.empty(1, 3, input_size, input_size, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(f"the network does not take images of {input_size} x {input_size} pixels: {error}") from error
    counts = counter.get_flop_counts().get("Global", {})
    flops = sum(count for operation, count in counts.items() if attention or str(operation).split(".")[-1] in LAYERS)
    return int(flops) // 2
