"""The family of architectures and the training technique of a run, as far as its report states them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FAMILIES = (
    ("Wide ResNet", r"wide_resnet|wrn"), ("ResNeXt", r"resnext|ssl_resnext|swsl_resnext"), ("RepVGG", r"repvgg"),
    ("DenseNet", r"densenet"), ("ShuffleNetV2", r"shufflenet_?v2"), ("MobileNetV2", r"mobilenet_?v2"),
    ("MobileNetV3", r"mobilenet_?v3"), ("RegNet", r"regnet"), ("EfficientNetV2", r"efficientnet_?v2"),
    ("EfficientNet", r"efficientnet"), ("DeiT", r"deit"), ("Swin", r"swin"), ("ConvNeXt V2", r"convnext_?v2"),
    ("ConvNeXt", r"convnext"), ("MLP-Mixer", r"mixer"), ("ViT", r"vit_"), ("ResNet", r"resnet\d"), ("AlexNet", r"alexnet"),
    ("VGG", r"vgg"), ("CLIP", r"clip"),
)  # fmt: skip
"""Families with the pattern that their names of architectures begin with, after an optional ``tf_``; the first match
counts."""

NOT_STATED = "not stated"
UNTRAINED = "untrained"


def family(model: Mapping[str, Any]) -> str:
    """Returns the family of a report's ``model``, from its name in a library or in RobustART, otherwise its class."""
    library, _, name = model["source"].rpartition(":")
    if library in ("timm", "torchvision", "robustart"):
        for known, pattern in FAMILIES:
            if re.match(rf"(tf_|gluon_|legacy_)?({pattern})", name):
                return known
    return str(model["architecture"] or NOT_STATED)


def _enabled(section: Any) -> bool:
    """Returns whether a setting of a configuration is enabled: a section with ``enable``, or a true value."""
    return bool(section.get("enable") if isinstance(section, Mapping) else section)


def technique(report: Mapping[str, Any]) -> str:
    """Returns the training technique of a model, from its configuration or timm's tag of the weights.

    The techniques of a configuration are label smoothing, mixup, cutmix, EMA and kurtosis regularisation.
    """
    if any("randomly initialised" in warning for warning in report["warnings"]):
        return UNTRAINED
    config = report["conditions"]["config"] or {}
    found = [
        name
        for name, used in (
            ("label smoothing", config.get("label_smooth", 0.0)),
            ("mixup", config.get("mixup", 0.0)),
            ("cutmix", config.get("cutmix", 0.0)),
            ("EMA", _enabled(config.get("ema"))),
            ("kurtosis", config.get("kw_weight", 0.0)),
        )
        if used
    ]
    if found:
        return ", ".join(found)
    library, _, name = report["model"]["source"].rpartition(":")
    tag = name.partition(".")[2]
    return tag if library == "timm" and tag else NOT_STATED
