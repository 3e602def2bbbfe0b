"""The family of architectures of a model, as far as its report states it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from RobustART.core.defaults import NOT_KNOWN

_KINDS = {
    "CNN": (
        ("Wide ResNet", r"wide_resnet|wrn"), ("ResNeXt", r"resnext|ssl_resnext|swsl_resnext"), ("RepVGG", r"repvgg"),
        ("DenseNet", r"densenet"), ("ShuffleNetV2", r"shufflenet_?v2"), ("MobileNetV2", r"mobilenet_?v2"),
        ("MobileNetV3", r"mobilenet_?v3"), ("RegNet", r"regnet"), ("EfficientNetV2", r"efficientnet_?v2"),
        ("EfficientNet", r"efficientnet"), ("ConvNeXt V2", r"convnext_?v2"), ("ConvNeXt", r"convnext"),
        ("ResNet", r"resnet\d"), ("AlexNet", r"alexnet"), ("VGG", r"vgg"),
    ),
    "Transformer": (("DeiT", r"deit"), ("Swin", r"swin"), ("ViT", r"vit_"), ("CLIP", r"clip_vit")),
    "MLP": (("MLP-Mixer", r"mixer"),),
}  # fmt: skip
FAMILIES = tuple((f"{name} ({kind})", pattern) for kind, rows in _KINDS.items() for name, pattern in rows)
"""Families with the pattern that their names of architectures begin with, after an optional ``tf_``; the first match
counts."""


def family(model: Mapping[str, Any]) -> str:
    """Returns the family of a report's ``model``, from its name in a library or in RobustART, otherwise its class."""
    library, _, name = model["source"].rpartition(":")
    if library in ("timm", "torchvision", "robustart"):
        for known, pattern in FAMILIES:
            if re.match(rf"(tf_|gluon_|legacy_)?({pattern})", name):
                return known
    return str(model["architecture"] or NOT_KNOWN)
