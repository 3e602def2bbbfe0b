"""Transforms of training images: the original's named sets, and lists of single transforms.

The result is uint8 (3, S, S), or (V, 3, S, S) where a set makes several views; scaling to [0, 1] and normalisation are the
model's, so ``normalize`` in a list may only repeat what the model does. Single transforms are in ``operations.py``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from RobustART.core.options import checked
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ConfigError, UserError, nearest
from RobustART.training.augment import policies as _policies  # noqa: F401 - registers its transforms
from RobustART.training.augment.operations import TRANSFORMS, WHERE, Picture, Transform, as_tensor


def compose(transforms: Sequence[Transform]) -> Transform:
    """Returns the transforms one after the other."""

    def apply(picture: Picture) -> Picture:
        for transform in transforms:
            picture = transform(picture)
        return picture

    return apply


@TRANSFORMS.register("compose")
def _compose(pre: Preprocessing, *, transforms: Any) -> Transform:
    return create_transform(transforms, pre)


@TRANSFORMS.register("views")
def _views(pre: Preprocessing, *, transforms: Any) -> Transform:
    """Several views of one image, each made by a list of transforms."""
    if not isinstance(transforms, (list, tuple)) or len(transforms) < 2:
        raise ConfigError(f"{WHERE}: views needs a list of two or more lists of transforms, got {transforms!r}")
    made = [create_transform(each, pre) for each in transforms]
    return lambda picture: torch.stack([as_tensor(each(picture)) for each in made])


_CROP: dict[str, Any] = {"type": "random_resized_crop"}
_SMALL_CROP: dict[str, Any] = {"type": "random_resized_crop", "kwargs": {"scale": [0.2, 1.0]}}
_FLIP: dict[str, Any] = {"type": "random_horizontal_flip"}
_GREY: dict[str, Any] = {"type": "to_grayscale"}
_STANDARD = [
    _CROP,
    _FLIP,
    {"type": "color_jitter", "kwargs": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}},
]
_CENTER: list[dict[str, Any]] = [{"type": "resize"}, {"type": "center_crop"}]
_MOCO_1 = [
    _SMALL_CROP,
    {"type": "to_grayscale", "kwargs": {"p": 0.2}},
    {"type": "color_jitter", "kwargs": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.4}},
    _FLIP,
]
_MOCO_2 = [
    _SMALL_CROP,
    {"type": "color_jitter", "kwargs": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "p": 0.8}},
    {"type": "to_grayscale", "kwargs": {"p": 0.2}},
    {"type": "gaussian_blur", "kwargs": {"p": 0.5}},
    _FLIP,
]


def _twice(transforms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "views", "kwargs": {"transforms": [transforms, transforms]}}]


NAMED: dict[str, list[dict[str, Any]]] = {
    "STANDARD": _STANDARD,
    "GRAYSCALE": [*_STANDARD, _GREY],
    "AUTOAUG": [_CROP, _FLIP, {"type": "auto_augment"}],
    "LINEAR": [_CROP, _FLIP],
    "MOCOV1": _twice(_MOCO_1),
    "MOCOV2": _twice(_MOCO_2),
    "SIMCLR": _twice(_MOCO_2),
    "ONECROP": _CENTER,
    "ONECROPGRAYSCALE": [*_CENTER, _GREY],
    "JUSTNORM": [],
}
"""The original's named sets, at the model's sizes. MOCO and SIMCLR make two views, along a separate dimension."""

GREY_MEAN, GREY_STD = 0.449, 0.226
"""Mean and standard deviation of the original's grey sets."""


def create_transform(config: Mapping[str, Any] | Sequence[Mapping[str, Any]], pre: Preprocessing) -> Transform:
    """Returns the transform of a config: ``{type: NAME}``, or a list of ``{type, kwargs}`` that may contain sets.

    Args:
        config: names in :data:`NAMED` or :data:`TRANSFORMS`; ``CamelCase`` is read as ``camel_case``.
        pre: the model's preprocessing; sizes that a transform does not name are its.

    Raises:
        ConfigError: an unknown name, or an invalid option.
    """
    items = [config] if isinstance(config, Mapping) else config
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise ConfigError(f"{WHERE} must be {{type: NAME}} or a list of {{type, kwargs}}, got {config!r}")
    return compose([_one(item, pre) for item in items])


def _one(item: Any, pre: Preprocessing) -> Transform:
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str) or set(item) - {"type", "kwargs"}:
        raise ConfigError(f"{WHERE}: each must be {{type: NAME, kwargs: {{...}}}}, got {item!r}")
    given, kwargs = item["type"], dict(item.get("kwargs") or {})
    if given in NAMED:
        if kwargs:
            raise ConfigError(f"{WHERE}: the set {given} takes no kwargs, got {kwargs}; write it as a list")
        if "GRAYSCALE" in given and (set(pre.mean), set(pre.std)) != ({GREY_MEAN}, {GREY_STD}):
            raise ConfigError(
                f"{WHERE}: {given} belongs to a model with mean {GREY_MEAN} and std {GREY_STD}; set model.preprocessing: "
                f"{{mean: [{GREY_MEAN}], std: [{GREY_STD}]}}"
            )
        return create_transform(NAMED[given], pre)
    name = given if given in TRANSFORMS else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given).lower()
    if name not in TRANSFORMS:
        hint = nearest(given, NAMED) or nearest(name, TRANSFORMS) or ";"
        raise ConfigError(
            f"{WHERE}: unknown transform {given!r}{hint} Known: {', '.join(NAMED)}; {', '.join(TRANSFORMS)}"
        )
    build = TRANSFORMS[name]
    kwargs = checked(build, kwargs, f"the transform {given} in {WHERE}")
    try:
        transform = build(pre, **kwargs)
    except UserError:
        raise
    except FAILURES as error:
        raise ConfigError(f"{WHERE}: {given} refuses {kwargs}: {error}") from None
    return _named(transform, given, kwargs)


FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors that libraries raise for invalid options or images."""


def _named(transform: Transform, name: str, kwargs: Mapping[str, Any]) -> Transform:
    """Returns the transform; its errors become a ConfigError that names it, its options and the image's size."""

    def apply(picture: Picture) -> Picture:
        try:
            return transform(picture)
        except UserError:
            raise
        except FAILURES as error:
            size = " x ".join(map(str, as_tensor(picture).shape))
            raise ConfigError(f"{WHERE}: {name} with {dict(kwargs)} fails on an image of {size}: {error}") from error

    return apply


@dataclasses.dataclass(frozen=True)
class TrainingView:
    """A transform whose result is checked."""

    transform: Transform
    """The transform."""
    size: int
    """Side of the model's input."""

    def __call__(self, picture: Image.Image, name: str) -> Tensor:
        """Returns uint8 (3, S, S) or (V, 3, S, S) of an RGB image; errors contain ``name``."""
        tensor = as_tensor(self.transform(picture))
        if tensor.dtype != torch.uint8 or tensor.ndim not in (3, 4) or tensor.shape[-3:] != (3, self.size, self.size):
            raise ConfigError(
                f"{WHERE} must make images of the model's input size, 3 x {self.size} x {self.size}, but made "
                f"{' x '.join(map(str, tensor.shape))} of {name}"
            )
        return tensor
