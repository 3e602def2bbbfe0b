"""The builder's keyword arguments: which are allowed, the original's names for them, and checks of their values."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

from RobustART.errors import ModelError
from RobustART.models.architectures import Architecture

RENAMED: dict[str, dict[str, str]] = {
    "resnet": {"zero_init_residual": "zero_init_last"},
    "densenet": {"drop_rate": "proj_drop_rate"},
    "mobilenet_v2": {"scale": "width_mult"},
    "vit": {"image_size": "img_size"},
    "deit": {"image_size": "img_size"},
    "mlp_mixer": {"drop_path": "drop_path_rate", "drop_rate": "proj_drop_rate"},
    "swin": {"drop_rate": "proj_drop_rate"},
    "efficientnet": {"dropout_rate": "drop_rate", "drop_connect_rate": "drop_path_rate"},
}
"""The original's names of arguments by family, and the builder's names for them."""
RENAMED |= {"resnext": RENAMED["resnet"], "wide_resnet": RENAMED["resnet"]}

LOADING = ("pretrained", "weights", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments of the libraries that load weights, or name them."""
OTHER = ("features_only", "out_indices", "feature_cls", "scriptable", "exportable", "no_jit", "pruned", "progress")
"""Arguments of the libraries that make something other than a classifier, or have no effect here."""
RATES = (
    "dropout", "attention_dropout", "drop_path", "drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate",
    "pos_drop_rate", "patch_drop_rate", "drop_block_rate", "dropout_rate", "drop_connect_rate",
)  # fmt: skip
"""Probabilities, in any builder."""
COUNTS = ("num_classes", "patch_size", "representation_size", "embed_dim", "num_heads")
"""Integers above 0, in any builder that takes a number."""
STRUCTURE = ("patch_size", "layers", "depth", "depths", "embed_dim", "num_heads")
NAMED = ("shape", "size", "scale", "width_mult", "mode", *STRUCTURE)
"""Arguments that would make another network of a row; those of the structure are fixed even if the table omits them."""
FREE = {"mobilenet_v2": ("width_mult",), "mobilenet_v3": ("scale", "mode")}
"""Rows that take such arguments, and which."""


def check_arguments(name: str, kwargs: Mapping[str, Any]) -> None:
    """Raises a ModelError for arguments that timm or torchvision would accept or ignore, but that are invalid here."""
    for key in LOADING:
        if key in kwargs:
            raise ModelError(
                f"{key!r} is not an argument of {name!r} here; use weights: pretrained, or a file, beside the name"
            )
    for key, value in kwargs.items():
        if key in OTHER:
            raise ModelError(
                f"{key!r} is not an argument of {name!r} here, where every model is a plain classifier; leave it out"
            )
        if key == "in_chans" and value != 3:
            raise ModelError(f"{name!r}: in_chans must be 3, images have three channels, got {value!r}")
        if value is None:
            continue
        if key == "num_classes" or (key in COUNTS and isinstance(value, (int, float))):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ModelError(f"{name!r}: {key} must be an integer above 0, got {value!r}")
        elif key in RATES and (not _is_number(value) or not 0 <= value < 1):
            raise ModelError(f"{name!r}: {key} must be a probability from 0 to below 1, got {value!r}")
        elif key in ("scale", "width_mult") and (not _is_number(value) or not value > 0):
            raise ModelError(f"{name!r}: {key} must be a number above 0, got {value!r}")
        elif key == "qkv_bias" and not isinstance(value, bool):
            raise ModelError(f"{name!r}: qkv_bias must be true or false, got {value!r}")


def refuse_none(name: str, kwargs: Mapping[str, Any], known: Container[str] = ()) -> None:
    """Raises a ModelError for arguments that are None, except known ones: timm ignores them whatever their names."""
    for key, value in kwargs.items():
        if value is None and key not in known:
            raise ModelError(f"{name!r}: {key} is None, which timm ignores; leave it out")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def row_arguments(row: Architecture, name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the builder's arguments for a row of the table, with the original's names translated.

    Raises:
        ModelError: two arguments contradict each other, or one would make another network than the row's.
    """
    given = dict(kwargs)
    _check_bn(name, given.pop("bn", None))
    if row.family == "efficientnet":
        for key, value in _overrides(name, given.pop("override_params", None)).items():
            if given.setdefault(key, value) != value:
                raise ModelError(
                    f"{name!r}: {key} is {given[key]!r}, but override_params says {value!r}; set one of them"
                )
    for old, new in RENAMED.get(row.family, {}).items():
        if old in given:
            value = given.pop(old)
            if given.setdefault(new, value) != value:
                raise ModelError(f"{name!r}: {old} is {value!r}, but {new}, which means the same, is {given[new]!r}")
    if row.family == "clip":
        return given  # whose architecture and source are arguments
    fixed = {"width_mult": 1.0, **row.arguments}
    for key in (*NAMED, *(("representation_size",) if row.set != "original" else ())):
        if key not in given or key in FREE.get(row.name, ()) or (key not in fixed and key not in STRUCTURE):
            continue
        if key not in fixed or given[key] != fixed[key]:
            own = f"with {key} {fixed[key]!r}" if key in fixed else f"whose {key} is settled"
            raise ModelError(f"{name!r} is the network {own}, got {given[key]!r}; another network has another name")
    return given


def _check_bn(name: str, bn: Any) -> None:
    if bn is None:
        return
    kwargs = bn.get("kwargs") or {} if isinstance(bn, dict) else None
    if not isinstance(kwargs, dict) or set(bn) - {"use_sync_bn", "kwargs"}:
        raise ModelError(f"{name!r}: bn must be {{use_sync_bn: bool, kwargs: {{...}}}}, got {bn!r}")
    if set(kwargs) - {"group_size", "var_mode"}:
        raise ModelError(f"{name!r}: bn.kwargs may hold group_size and var_mode, of synchronised BatchNorm, got {bn!r}")
    if bn.get("use_sync_bn"):
        raise ModelError(
            f"{name!r}: bn {bn} asks for BatchNorm across processes, which belongs to a training; leave it out here"
        )


def _overrides(name: str, params: Any) -> dict[str, Any]:
    known = ("num_classes", "dropout_rate", "drop_connect_rate")
    if params is None:
        return {}
    if not isinstance(params, dict) or set(params) - set(known):
        raise ModelError(f"{name!r}: override_params may hold {', '.join(known)}, got {params!r}")
    return params
