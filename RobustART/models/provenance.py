"""What weights were trained with, as far as their file or library states it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from RobustART.core.defaults import NOT_KNOWN

PLAIN = "plain"
TRAINED = "trained"
"""Key of a checkpoint: ``technique``, ``architecture`` and further facts of the training that wrote it."""
_ADVERSARIES = {"pgd": "PGD", "trades": "TRADES", "fast": "fast", "free": "free"}
_OBJECTIVES = {"distillation": "distillation", "jsd": "AugMix's loss", "supernet": "supernet"}
_USUAL = (
    "STANDARD", "LINEAR", "ONECROP", "JUSTNORM", "resize", "center_crop", "random_crop", "random_resized_crop",
    "random_horizontal_flip", "color_jitter", "to_tensor", "normalize",
)  # fmt: skip
"""Transforms of a plain training; others are part of its technique."""


def technique_of(config: Mapping[str, Any], before: str | None = None) -> str:
    """Returns the technique of a training, such as ``plain`` or ``PGD adversarial training, mixup``.

    Args:
        config: its configuration as plain data.
        before: technique of the weights that it began with; None if they were random.
    """
    own = ", ".join(_parts(config)) or PLAIN
    return own if before is None else f"{own}; weights before: {before}"


def technique_of_weights(data: Any) -> str:
    """Returns the technique that the contents of a weights file state; ``NOT_KNOWN`` if they do not."""
    if not isinstance(data, Mapping):
        return NOT_KNOWN
    stated = data.get(TRAINED)
    if isinstance(stated, Mapping) and isinstance(stated.get("technique"), str):
        return " ".join(stated["technique"].split())[:200]
    conditions: Any = data.get("conditions")  # checkpoints that do not state the technique
    try:
        return technique_of(conditions, NOT_KNOWN if "start" in conditions.get("weights", {}) else None)
    except (KeyError, TypeError, AttributeError):  # other files than ours
        return NOT_KNOWN


def _parts(config: Mapping[str, Any]) -> Iterator[str]:
    training = config["training"]
    adversary, objective = training.get("adversary") or {}, training.get("objective") or {}
    if adversary:
        yield f"{_ADVERSARIES.get(adversary['type'], adversary['type'])} adversarial training"
    elif training.get("moco"):
        yield "MoCo v2"
    elif objective.get("type", PLAIN) != PLAIN:
        yield _OBJECTIVES.get(objective["type"], objective["type"])
    for name, key in (("label smoothing", "label_smooth"), ("mixup", "mixup"), ("cutmix", "cutmix")):
        if config.get(key):
            yield name
    if config.get("kw_weight"):
        yield "kurtosis regularisation"
    transforms = ((config.get("data") or {}).get("train") or {}).get("transforms") or []
    for item in [transforms] if isinstance(transforms, Mapping) else transforms:
        if item["type"] not in _USUAL and not training.get("moco"):
            yield str(item["type"])
    if training.get("train_only") is not None:
        yield f"training of {', '.join(training['train_only'])} alone"
