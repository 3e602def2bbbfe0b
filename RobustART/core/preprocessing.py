"""How a photo becomes a model's input, as data: resize and crop for loaders, mean and std for the model's first layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from RobustART.core.imaging import FILTERS, Array, center_crop, resize, resize_shorter
from RobustART.errors import ConfigError, DataError, nearest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Channel means of ImageNet's training set, the convention of torchvision's models."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel standard deviations, of the same source."""
INNER = ("mean", "std")
"""Fields of :class:`Preprocessing` that the model applies itself; the others make its input."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes a model's input. The defaults are those of torchvision's first ImageNet models."""

    input_size: int = 224
    """Side of the square input, in pixels."""
    resize: int = 256
    """Shorter side before the crop, in pixels; with ``crop_mode="squash"`` both sides."""
    interpolation: str = "bilinear"
    """Pillow's filter for the resize."""
    crop_mode: str = "center"
    """``center`` keeps the aspect ratio and crops the middle; ``squash`` resizes to a square, then crops; ``none`` only
    crops, and a picture smaller than the input is an error."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean of each channel in [0, 1]."""
    std: tuple[float, ...] = IMAGENET_STD
    """Standard deviation of each channel."""

    def __post_init__(self) -> None:
        """Refuses what no model can mean."""
        for name in ("mean", "std"):
            try:
                object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
            except (TypeError, ValueError):
                raise ConfigError(
                    f"preprocessing.{name} must be a list of numbers, got {getattr(self, name)!r}"
                ) from None
        for name in ("input_size", "resize"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ConfigError(f"preprocessing.{name} must be a whole number above 0, got {getattr(self, name)!r}")
        if self.interpolation not in FILTERS:
            raise ConfigError(
                f"preprocessing.interpolation must be one of {', '.join(FILTERS)}, got {self.interpolation!r}"
            )
        if self.crop_mode not in ("center", "squash", "none"):
            raise ConfigError(f"preprocessing.crop_mode must be 'center', 'squash' or 'none', got {self.crop_mode!r}")
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ConfigError(
                f"preprocessing.mean and .std must both have 3 values, or 1 for all channels, got {self.mean}, {self.std}"
            )
        if any(value <= 0 for value in self.std):
            raise ConfigError(f"preprocessing.std must be above 0, got {self.std}")

    def changed(self, fields: Mapping[str, Any] | None) -> Preprocessing:
        """Returns this preprocessing with other values of some fields; a ConfigError names what is none."""
        return dataclasses.replace(self, **checked_fields(fields))

    def apply(self, image: Array) -> Array:
        """Returns the model's view of a photo, uint8 (input_size, input_size, 3); no normalisation, that is the model's.

        Equal to the pixel with torchvision's ``Resize`` and ``CenterCrop`` on a pillow picture.
        """
        if self.crop_mode == "none":
            if min(image.shape[:2]) < self.input_size:
                raise DataError(
                    f"the picture is {image.shape[0]} x {image.shape[1]}, smaller than the model's input, "
                    f"{self.input_size}, and this preprocessing only crops"
                )
            return center_crop(image, self.input_size)
        if self.crop_mode == "squash":
            resized = resize(image, (self.resize, self.resize), self.interpolation)
        else:
            resized = resize_shorter(image, self.resize, self.interpolation)
        return center_crop(resized, self.input_size)


def checked_fields(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns some fields of :class:`Preprocessing` by name; a ConfigError names what is none."""
    if fields is not None and not isinstance(fields, Mapping):
        raise ConfigError(f"preprocessing must be a mapping of fields, got {fields!r}")
    known = [field.name for field in dataclasses.fields(Preprocessing)]
    for name in fields or {}:
        if name not in known:
            suggestion = nearest(str(name), known) or ";"
            raise ConfigError(f"unknown key preprocessing.{name}{suggestion} Known: {', '.join(known)}")
    return dict(fields or {})
