"""The multiplications and additions (MACs) that a network needs for one image.

MACs are counted as the benchmark's table counts them: those of convolutions and linear layers. The products of queries,
keys and values in attention, normalisations, activations and pooling are left out.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

LAYERS = ("convolution", "addmm", "mm")
"""Operations with a weight. A batched product (``bmm``, ``scaled_dot_product_attention``) is one of attention."""


def count_macs(network: nn.Module, input_size: int, *, attention: bool = False) -> int:
    """Returns the MACs of one image of ``input_size`` x ``input_size`` pixels, in evaluation mode.

    Nothing is computed and the network is left as it is: a copy of it runs on the meta device.

    Args:
        network: takes images (N, 3, H, W).
        input_size: in pixels.
        attention: whether to count the products inside attention too.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imported here, since it imports triton

    shadow = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(1, 3, input_size, input_size, device="meta"))
    counts = counter.get_flop_counts().get("Global", {})
    flops = sum(count for operation, count in counts.items() if attention or str(operation).split(".")[-1] in LAYERS)
    return int(flops) // 2
