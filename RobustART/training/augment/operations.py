"""Single transforms of training pictures by name: torchvision's, timm's, and what neither has.

They work on pillow pictures, or on uint8 tensors (3, H, W) after ``to_tensor``, and draw from the generators of ``torch``,
``random`` and ``numpy``, which the loader seeds for every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from PIL import ImageFilter
from torch import Tensor

from RobustART.core.preprocessing import Preprocessing
from RobustART.core.ranges import Numbers
from RobustART.errors import ConfigError
from RobustART.registry import Registry

Picture = Any
"""A pillow picture, or after ``to_tensor`` a uint8 tensor (3, H, W)."""
Transform = Callable[[Picture], Picture]

TRANSFORMS: Registry[Callable[..., Transform]] = Registry("transform")
"""Names in lists to functions (preprocessing, options) -> transform."""

WHERE = "data.train.transforms"

LARGEST_SIDE = 4096
"""Of a training picture, in pixels."""
Side = Annotated[
    Any, Numbers(1, LARGEST_SIDE, whole=True), Numbers(1, LARGEST_SIDE, whole=True, counts=(1, 2))
]  # fmt: skip
"""Pixels, or (height, width)."""
Padding = Annotated[
    Any, Numbers(0, LARGEST_SIDE, whole=True), Numbers(0, LARGEST_SIDE, whole=True, counts=(1, 2, 4))
]  # fmt: skip
"""Pixels at all sides; or (left and right, top and bottom); or left, top, right, bottom."""
Areas = Annotated[Any, Numbers(0, 1, above=True, counts=(2,), rising=True)]
"""The least and the largest share of a picture."""
Ratios = Annotated[Any, Numbers(0, 1000, above=True, counts=(2,), rising=True)]
"""The least and the largest width over height."""
Degrees = Annotated[Any, Numbers(0, 360), Numbers(-360, 360, counts=(2,), rising=True)]
"""Up to so many to both sides, or from and to."""
Strength = Annotated[Any, Numbers(0, 100), Numbers(0, 100, counts=(2,), rising=True)]
"""By how much a factor may differ from 1, or the factors from and to."""
Hue = Annotated[Any, Numbers(0, 0.5), Numbers(-0.5, 0.5, counts=(2,), rising=True)]
"""By which part of the circle of colours, or from and to."""
Blur = Annotated[Any, Numbers(0, 100), Numbers(0, 100, counts=(2,), rising=True)]
"""Standard deviation in pixels, or from and to."""
Chance = Annotated[float, Numbers(0, 1)]
"""A probability."""
Factor = Annotated[float, Numbers(0, 100)]
"""An exponent, or what is multiplied with."""


def as_tensor(picture: Picture) -> Tensor:
    """Returns a picture as a uint8 tensor (3, H, W); what is one, or several, already is left."""
    if isinstance(picture, Tensor):
        return picture
    from torchvision.transforms.functional import pil_to_tensor

    tensor: Tensor = pil_to_tensor(picture)
    return tensor


def torchvision_transform(name: str) -> Any:
    """Returns a class of ``torchvision.transforms``."""
    from torchvision import transforms  # not v2, whose bookkeeping costs more than a flip

    return getattr(transforms, name)


def _mode(name: str) -> Any:
    from torchvision.transforms import InterpolationMode

    modes = {mode.value: mode for mode in InterpolationMode}
    if name not in modes:
        raise ConfigError(f"{WHERE}: interpolation must be one of {', '.join(modes)}, got {name!r}")
    return modes[name]


@TRANSFORMS.register("resize")
def _resize(pre: Preprocessing, *, size: Side = None, interpolation: str = "bilinear") -> Transform:
    transform: Transform = torchvision_transform("Resize")(_side(size, pre.resize), interpolation=_mode(interpolation))
    return transform


@TRANSFORMS.register("center_crop")
def _center_crop(pre: Preprocessing, *, size: Side = None) -> Transform:
    transform: Transform = torchvision_transform("CenterCrop")(_side(size, pre.input_size))
    return transform


@TRANSFORMS.register("random_crop")
def _random_crop(pre: Preprocessing, *, size: Side = None, padding: Padding = None) -> Transform:
    transform: Transform = torchvision_transform("RandomCrop")(_side(size, pre.input_size), padding=padding)
    return transform


@TRANSFORMS.register("random_resized_crop")
def _random_resized_crop(
    pre: Preprocessing, *, size: Side = None, scale: Areas = (0.08, 1.0), ratio: Ratios = (3 / 4, 4 / 3),
    interpolation: str = "bilinear",
) -> Transform:  # fmt: skip
    transform: Transform = torchvision_transform("RandomResizedCrop")(
        _side(size, pre.input_size), scale=tuple(scale), ratio=tuple(ratio), interpolation=_mode(interpolation)
    )
    return transform


@TRANSFORMS.register("random_horizontal_flip")
def _horizontal_flip(pre: Preprocessing, *, p: Chance = 0.5) -> Transform:
    transform: Transform = torchvision_transform("RandomHorizontalFlip")(p)
    return transform


@TRANSFORMS.register("random_vertical_flip")
def _vertical_flip(pre: Preprocessing, *, p: Chance = 0.5) -> Transform:
    transform: Transform = torchvision_transform("RandomVerticalFlip")(p)
    return transform


TRANSFORMS.add("ramdom_vertical_flip", _vertical_flip)  # as the original spells it


@TRANSFORMS.register("random_rotation")
def _rotation(pre: Preprocessing, *, degrees: Degrees, interpolation: str = "nearest") -> Transform:
    transform: Transform = torchvision_transform("RandomRotation")(degrees, interpolation=_mode(interpolation))
    return transform


@TRANSFORMS.register("random_orientation_rotation")
def _orientation(pre: Preprocessing) -> Transform:
    from torchvision.transforms.functional import rotate

    return lambda picture: rotate(picture, 90.0 * int(torch.randint(4, ())), expand=True)


@TRANSFORMS.register("color_jitter")
def _color_jitter(
    pre: Preprocessing, *, brightness: Strength = None, contrast: Strength = None, saturation: Strength = None,
    hue: Hue = None, p: Chance = 1.0,
) -> Transform:  # fmt: skip
    jitter: Transform = torchvision_transform("ColorJitter")(brightness or 0, contrast or 0, saturation or 0, hue or 0)
    return _sometimes(jitter, p)


@TRANSFORMS.register("to_grayscale")
def _grayscale(pre: Preprocessing, *, num_output_channels: int = 3, p: Chance = 1.0) -> Transform:
    if num_output_channels != 3:
        raise ConfigError(f"{WHERE}: to_grayscale gives three equal channels here, got {num_output_channels}")
    return _sometimes(torchvision_transform("Grayscale")(3), p)


@TRANSFORMS.register("adjust_gamma")
def _gamma(pre: Preprocessing, *, gamma: Factor, gain: Factor = 1.0) -> Transform:
    from torchvision.transforms.functional import adjust_gamma

    return lambda picture: adjust_gamma(picture, gamma, gain)


@TRANSFORMS.register("gaussian_blur")
def _blur(pre: Preprocessing, *, sigma: Blur = (0.1, 2.0), p: Chance = 1.0) -> Transform:
    low, high = sigma if isinstance(sigma, (list, tuple)) else (sigma, sigma)

    def blur(picture: Picture) -> Picture:
        if isinstance(picture, Tensor):
            raise ConfigError(f"{WHERE}: gaussian_blur must come before to_tensor, cutout and random_erasing")
        radius = low + (high - low) * torch.rand(()).item()
        return picture.filter(ImageFilter.GaussianBlur(radius))

    return _sometimes(blur, p)


@TRANSFORMS.register("cutout")
def _cutout(
    pre: Preprocessing, *, n_holes: Annotated[int, Numbers(1, 1000, whole=True)] = 2,
    length: Annotated[int, Numbers(1, LARGEST_SIDE, whole=True)] = 32, prob: Chance = 0.5,
) -> Transform:  # fmt: skip
    """Squares of the model's mean colour (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552)."""
    colour = mean_colour(pre)

    def cut(picture: Picture) -> Tensor:
        tensor = as_tensor(picture).clone()
        height, width = tensor.shape[-2:]
        for _ in range(n_holes):
            y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
            rows, columns = (
                slice(max(y - length // 2, 0), y + length // 2),
                slice(max(x - length // 2, 0), x + length // 2),
            )
            tensor[:, rows, columns] = colour
        return tensor

    return _sometimes(cut, prob)


@TRANSFORMS.register("random_erasing")
def _erasing(
    pre: Preprocessing,
    *,
    p: Chance = 0.25,
    scale: Areas = (0.02, 1 / 3),
    ratio: Ratios = (0.3, 3.3),
    value: Any = "mean",
) -> Transform:
    """A rectangle is overwritten (Zhong 2020, https://arxiv.org/abs/1708.04896).

    ``value``: ``mean`` is the model's mean colour, zero after normalisation; ``random`` is noise; or a number in [0, 1].
    """
    from torchvision.transforms import RandomErasing

    if value not in ("mean", "random") and (isinstance(value, (bool, str)) or not 0 <= value <= 1):
        raise ConfigError(f"{WHERE}: random_erasing's value must be 'mean', 'random' or from 0 to 1, got {value!r}")

    def erase(picture: Picture) -> Tensor:
        tensor = as_tensor(picture).clone()
        top, left, height, width, _ = RandomErasing.get_params(tensor, tuple(scale), tuple(ratio), [0.0])
        if value == "random":
            fill = torch.randint(256, (3, height, width), dtype=torch.uint8)
        else:
            fill = mean_colour(pre) if value == "mean" else torch.tensor(round(255 * value), dtype=torch.uint8)
        tensor[:, top : top + height, left : left + width] = fill
        return tensor

    return _sometimes(erase, p)


@TRANSFORMS.register("to_tensor")
def _to_tensor(pre: Preprocessing) -> Transform:
    return as_tensor


@TRANSFORMS.register("normalize")
def _normalize(pre: Preprocessing, *, mean: Any, std: Any) -> Transform:
    for name, given in (("mean", mean), ("std", std)):
        own = tuple(getattr(pre, name))
        values = [given] if isinstance(given, (int, float)) else list(given)
        if set(values) != set(own) if len(set(own)) == 1 else tuple(values) != own:
            raise ConfigError(
                f"{WHERE}: normalize has {name} {given}, but the model normalises with {list(own)}; normalisation is the "
                f"model's first layer: set model.preprocessing.{name}"
            )
    return lambda picture: picture


def _side(size: Any, default: int) -> Any:
    return default if size is None else size


def mean_colour(pre: Preprocessing) -> Tensor:
    """Returns the model's mean, uint8 (3, 1, 1) or (1, 1, 1)."""
    return torch.tensor([round(255 * value) for value in pre.mean], dtype=torch.uint8).view(-1, 1, 1)


def _sometimes(transform: Transform, p: float) -> Transform:
    if p == 1:
        return transform
    return lambda picture: transform(picture) if torch.rand(()).item() < p else picture
