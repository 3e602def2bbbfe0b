"""Single transforms of training images by name: torchvision's, timm's, and some that neither has.

They take pillow images, or uint8 tensors (3, H, W) after ``to_tensor``, and draw from the generators of ``torch``,
``random`` and ``numpy``, which the loader seeds for every image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from PIL import ImageFilter
from torch import Tensor

from RobustART.core.preprocessing import Preprocessing
from RobustART.core.ranges import Range, Share, Sizes
from RobustART.errors import ConfigError
from RobustART.registry import Registry

Picture = Any
"""A pillow image, or after ``to_tensor`` a uint8 tensor (3, H, W)."""
Transform = Callable[[Picture], Picture]

TRANSFORMS: Registry[Callable[..., Transform]] = Registry("transform")
"""Names in lists to functions (preprocessing, options) -> transform."""

WHERE = "data.train.transforms"

LARGEST_SIDE = 4096
"""Largest side of a training image, in pixels."""
Pixels = Annotated[int, Range(1, LARGEST_SIDE)]
Border = Annotated[int, Range(0, LARGEST_SIDE)]
Factor = Annotated[float, Range(0, 100)]
"""An exponent or a factor."""
PAIR = Sizes((2,), rising=True)
Side = Pixels | Annotated[tuple[Pixels, ...], Sizes((1, 2))] | None
"""Pixels, or (height, width); None is the model's own."""
Padding = Border | Annotated[tuple[Border, ...], Sizes((1, 2, 4))] | None
"""Pixels at all sides; or (left and right, top and bottom); or left, top, right, bottom."""
Areas = Annotated[tuple[Annotated[float, Range(0, 1, above=True)], ...], PAIR]
"""The least and the largest share of an image's area."""
Ratios = Annotated[tuple[Annotated[float, Range(0, 1000, above=True)], ...], PAIR]
"""The least and the largest width over height."""
Degrees = Annotated[float, Range(0, 360)] | Annotated[tuple[Annotated[float, Range(-360, 360)], ...], PAIR]
"""Up to so many to both sides, or from and to."""
Spread = Factor | Annotated[tuple[Factor, ...], PAIR]
"""By how much a factor may differ from 1, or the factors from and to; for blur a standard deviation in pixels."""
Hue = Annotated[float, Range(0, 0.5)] | Annotated[tuple[Annotated[float, Range(-0.5, 0.5)], ...], PAIR]
"""Rotation of the hue as a share of the colour circle: its largest size, or its least and largest value."""
Filter = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos"]


def as_tensor(picture: Picture) -> Tensor:
    """Returns an image as a uint8 tensor (3, H, W); tensors of one or several views are returned unchanged."""
    if isinstance(picture, Tensor):
        return picture
    from torchvision.transforms.functional import pil_to_tensor

    return pil_to_tensor(picture)


def torchvision_transform(name: str) -> Any:
    """Returns a class of ``torchvision.transforms``."""
    from torchvision import transforms  # not v2, whose bookkeeping costs more than a flip

    return getattr(transforms, name)


def _mode(name: str) -> Any:
    from torchvision.transforms import InterpolationMode

    return InterpolationMode(name)


@TRANSFORMS.register("resize")
def _resize(pre: Preprocessing, *, size: Side = None, interpolation: Filter = "bilinear") -> Transform:
    return torchvision_transform("Resize")(_side(size, pre.resize), interpolation=_mode(interpolation))


@TRANSFORMS.register("center_crop")
def _center_crop(pre: Preprocessing, *, size: Side = None) -> Transform:
    return torchvision_transform("CenterCrop")(_side(size, pre.input_size))


@TRANSFORMS.register("random_crop")
def _random_crop(pre: Preprocessing, *, size: Side = None, padding: Padding = None) -> Transform:
    return torchvision_transform("RandomCrop")(_side(size, pre.input_size), padding=padding)


@TRANSFORMS.register("random_resized_crop")
def _random_resized_crop(
    pre: Preprocessing, *, size: Side = None, scale: Areas = (0.08, 1.0), ratio: Ratios = (3 / 4, 4 / 3),
    interpolation: Filter = "bilinear",
) -> Transform:  # fmt: skip
    return torchvision_transform("RandomResizedCrop")(
        _side(size, pre.input_size), scale=scale, ratio=ratio, interpolation=_mode(interpolation)
    )


@TRANSFORMS.register("random_horizontal_flip")
def _horizontal_flip(pre: Preprocessing, *, p: Share = 0.5) -> Transform:
    return torchvision_transform("RandomHorizontalFlip")(p)


@TRANSFORMS.register("random_vertical_flip")
def _vertical_flip(pre: Preprocessing, *, p: Share = 0.5) -> Transform:
    return torchvision_transform("RandomVerticalFlip")(p)


TRANSFORMS.add("ramdom_vertical_flip", _vertical_flip)  # as the original spells it


@TRANSFORMS.register("random_rotation")
def _rotation(pre: Preprocessing, *, degrees: Degrees, interpolation: Filter = "nearest") -> Transform:
    return torchvision_transform("RandomRotation")(degrees, interpolation=_mode(interpolation))


@TRANSFORMS.register("random_orientation_rotation")
def _orientation(pre: Preprocessing) -> Transform:
    from torchvision.transforms.functional import rotate

    return lambda picture: rotate(picture, 90.0 * int(torch.randint(4, ())), expand=True)


@TRANSFORMS.register("color_jitter")
def _color_jitter(
    pre: Preprocessing, *, brightness: Spread | None = None, contrast: Spread | None = None,
    saturation: Spread | None = None, hue: Hue | None = None, p: Share = 1.0,
) -> Transform:  # fmt: skip
    jitter: Transform = torchvision_transform("ColorJitter")(brightness or 0, contrast or 0, saturation or 0, hue or 0)
    return _sometimes(jitter, p)


@TRANSFORMS.register("to_grayscale")
def _grayscale(pre: Preprocessing, *, num_output_channels: int = 3, p: Share = 1.0) -> Transform:
    if num_output_channels != 3:
        raise ConfigError(f"{WHERE}: to_grayscale gives three equal channels here, got {num_output_channels}")
    return _sometimes(torchvision_transform("Grayscale")(3), p)


@TRANSFORMS.register("adjust_gamma")
def _gamma(pre: Preprocessing, *, gamma: Factor, gain: Factor = 1.0) -> Transform:
    from torchvision.transforms.functional import adjust_gamma

    return lambda picture: adjust_gamma(picture, gamma, gain)


@TRANSFORMS.register("gaussian_blur")
def _blur(pre: Preprocessing, *, sigma: Spread = (0.1, 2.0), p: Share = 1.0) -> Transform:
    low, high = sigma if isinstance(sigma, tuple) else (sigma, sigma)

    def blur(picture: Picture) -> Picture:
        if isinstance(picture, Tensor):
            raise ConfigError(f"{WHERE}: gaussian_blur must come before to_tensor, cutout and random_erasing")
        radius = low + (high - low) * torch.rand(()).item()
        return picture.filter(ImageFilter.GaussianBlur(radius))

    return _sometimes(blur, p)


@TRANSFORMS.register("cutout")
def _cutout(
    pre: Preprocessing, *, n_holes: Annotated[int, Range(1, 1000)] = 2, length: Pixels = 32, prob: Share = 0.5,
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
    p: Share = 0.25,
    scale: Areas = (0.02, 1 / 3),
    ratio: Ratios = (0.3, 3.3),
    value: Literal["mean", "random"] | Share = "mean",
) -> Transform:
    """A rectangle is overwritten (Zhong 2020, https://arxiv.org/abs/1708.04896).

    ``value``: ``mean`` is the model's mean colour, zero after normalisation; ``random`` is noise; or a number in [0, 1].
    """
    from torchvision.transforms import RandomErasing

    def erase(picture: Picture) -> Tensor:
        tensor = as_tensor(picture).clone()
        top, left, height, width, _ = RandomErasing.get_params(tensor, scale, ratio, [0.0])
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
def _normalize(pre: Preprocessing, *, mean: Sequence[float], std: Sequence[float]) -> Transform:
    for name, given in (("mean", mean), ("std", std)):
        own = tuple(getattr(pre, name))
        if set(given) != set(own) if len(set(own)) == 1 else tuple(given) != own:
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
