"""Normalisation as the first layer of every model.

Every model of this package takes images in [0, 1] and normalises by itself, so that ``eps`` means the same for all of
them and no caller can forget, or repeat, the normalisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.defaults import NOT_KNOWN
from RobustART.core.logits import logits_of
from RobustART.core.preprocessing import INNER, Preprocessing


class Normalize(nn.Module):
    """Subtracts a mean and divides by a standard deviation, channel by channel.

    Args:
        mean: one value per channel, in the units of images in [0, 1].
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Returns normalised images, (N, C, H, W) as given."""
        return (images - self.mean) / self.std

    def extra_repr(self) -> str:
        """Returns the values, for printing."""
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


class Classifier(nn.Module):
    """A network behind its normalisation: takes images in [0, 1], returns logits.

    Args:
        network: takes normalised images.
        preprocessing: its mean and std are applied here; the rest defines how loaders make its input.
        source: where the network comes from, for the report.
        own: the preprocessing that the network states itself; None if it states none.

    Attributes:
        arguments: arguments of the builder as strings; they belong to the conditions of a result.
        notes: sentences for the report on how the model was made.
        technique: what the weights were trained with, such as ``plain``; ``not known``, ``untrained``.
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, source: str = "", own: Preprocessing | None = None
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.own = own
        self.source = source
        self.arguments: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()
        self.technique = NOT_KNOWN
        self.normalize = Normalize(preprocessing.mean, preprocessing.std)
        self.network = network

    @property
    def overridden(self) -> dict[str, Any]:
        """The preprocessing fields, except mean and std, whose values differ from what the network states."""
        stated = dataclasses.asdict(self.preprocessing)
        own = stated if self.own is None else dataclasses.asdict(self.own)
        return {key: value for key, value in stated.items() if key not in INNER and value != own[key]}

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, K) of images (N, C, H, W) in [0, 1]."""
        return logits_of(self.network(self.normalize(images)), self.network)
