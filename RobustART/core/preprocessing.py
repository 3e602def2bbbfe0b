"""Preprocessing of an image for a model: resize and crop in the loader, mean and std in the model's first layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from RobustART.core.imaging import Array, center_crop, resize, resize_shorter
from RobustART.core.options import checked
from RobustART.core.ranges import Count, Range, Sizes
from RobustART.errors import ConfigError, DataError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Channel means of ImageNet's training set, as torchvision's models use them."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel standard deviations of ImageNet's training set, as torchvision's models use them."""
CHANNELS = Sizes((1, 3))
SCALE = "for images in [0, 1]: divide those of [0, 255] by 255"
Mean = Annotated[float, Range(-1, 1, text=f"from -1 to 1, {SCALE}")]
Std = Annotated[float, Range(0, 10, above=True, text=f"above 0 and at most 10, {SCALE}")]
INNER = ("mean", "std")
"""Fields of :class:`Preprocessing` that the model applies itself; the loader applies the others."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of an image for a model. The defaults are those of torchvision's first ImageNet weights."""

    input_size: Count = 224
    """Side of the square input, in pixels."""
    resize: Count = 256
    """Shorter side before the crop, in pixels; with ``crop_mode="squash"`` both sides."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = "bilinear"
    """Pillow's filter for the resize."""
    crop_mode: Literal["center", "squash", "none"] = "center"
    """``center`` keeps the aspect ratio and crops the center; ``squash`` resizes to a square, then crops; ``none`` only
    crops, and raises an error if an image is smaller than the input."""
    mean: Annotated[tuple[Mean, ...], CHANNELS] = IMAGENET_MEAN
    """Mean of each channel of images in [0, 1], or one value for all channels."""
    std: Annotated[tuple[Std, ...], CHANNELS] = IMAGENET_STD
    """Standard deviation of each channel of images in [0, 1], or one value for all channels."""

    def __post_init__(self) -> None:
        """Raises a ConfigError if a field is invalid."""
        for name, value in checked_fields(vars(self)).items():
            object.__setattr__(self, name, value)
        if len(self.mean) != len(self.std):
            raise ConfigError(f"preprocessing.mean and .std must have the same length, got {self.mean} and {self.std}")

    def changed(self, fields: Mapping[str, Any] | None) -> Preprocessing:
        """Returns this preprocessing with some fields replaced; raises a ConfigError that names an invalid one."""
        return dataclasses.replace(self, **checked_fields(fields))

    def apply(self, image: Array) -> Array:
        """Returns the model's input as uint8 (input_size, input_size, 3), resized and cropped but not normalised.

        It equals torchvision's ``Resize`` and ``CenterCrop`` of a Pillow image in every pixel.

        Args:
            image: uint8 (H, W, 3).

        Raises:
            DataError: ``crop_mode`` is ``none`` and the image is smaller than the input.
        """
        if self.crop_mode == "none":
            if min(image.shape[:2]) < self.input_size:
                raise DataError(
                    f"the image is {image.shape[0]} x {image.shape[1]}, smaller than the model's input, "
                    f"{self.input_size}, and this preprocessing only crops"
                )
            return center_crop(image, self.input_size)
        if self.crop_mode == "squash":
            resized = resize(image, (self.resize, self.resize), self.interpolation)
        else:
            resized = resize_shorter(image, self.resize, self.interpolation)
        return center_crop(resized, self.input_size)


def checked_fields(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns checked fields of :class:`Preprocessing` by name; raises a ConfigError that names an invalid one."""
    return checked(Preprocessing, {} if fields is None else fields, "preprocessing")
