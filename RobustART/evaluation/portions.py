"""Splits batches into portions that fit the caches of a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from RobustART.core.logits import parameter_dtype

ELEMENTS = 4 * 3 * 224 * 224
"""Largest number of input values in a portion: 4 images of 224 x 224."""


class Portions(nn.Module):
    """Runs a network on portions of a batch, because the activations of a large batch do not fit the caches of a CPU.

    EfficientNet-Lite0 takes 1.5 to 2 times as long per image in batches of 32 as in batches of 4, forward and backward. The
    portions depend on the sizes of the batch and the images alone, so results do not depend on the machine.

    Args:
        network: maps images (N, C, H, W) to logits (N, K), each image independently; the attribute ``whole`` is what the
            ``backward`` of an attack gets as the model.
        elements: largest number of input values in a portion.
    """

    def __init__(self, network: nn.Module, elements: int = ELEMENTS) -> None:
        super().__init__()
        self.whole, self.elements = network, elements
        self.input_dtype = parameter_dtype(network)
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the network's logits."""
        count = math.ceil(images.numel() / self.elements)
        if count < 2 or len(images) < 2:
            return self.whole(images)
        return torch.cat([self.whole(portion) for portion in images.tensor_split(min(count, len(images)))])
