"""Single transforms of training pictures by name: torchvision's, timm's, and what neither has.

They work on pillow pictures, or on uint8 tensors (3, H, W) after ``to_tensor``, and draw from the generators of ``torch``,
``random`` and ``numpy``, which the loader seeds for every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import ImageFilter
from torch import Tensor

from RobustART.errors import ConfigError
from RobustART.preprocessing import Preprocessing
from RobustART.registry import Registry

Picture = Any
"""A pillow picture, or after ``to_tensor`` a uint8 tensor (3, H, W)."""
Transform = Callable[[Picture], Picture]

TRANSFORMS: Registry[Callable[..., Transform]] = Registry("transform")
"""Names in lists to functions (preprocessing, options) -> transform."""

WHERE = "data.train.transforms"


def as_tensor(picture: Picture) -> Tensor:
    """Returns a picture as a uint8 tensor (3, H, W); what is one, or several, already is left."""
    if isinstance(picture, Tensor):
        return picture
    from torchvision.transforms.functional import pil_to_tensor

    tensor: Tensor = pil_to_tensor(picture)
    return tensor


def _torchvision(name: str) -> Any:
    from torchvision import transforms  # not v2, whose bookkeeping costs more than a flip

    return getattr(transforms, name)


def _mode(name: str) -> Any:
    from torchvision.transforms import InterpolationMode

    modes = {mode.value: mode for mode in InterpolationMode}
    if name not in modes:
        raise ConfigError(f"{WHERE}: interpolation must be one of {', '.join(modes)}, got {name!r}")
    return modes[name]


@TRANSFORMS.register("resize")
def _resize(pre: Preprocessing, *, size: Any = None, interpolation: str = "bilinear") -> Transform:
    transform: Transform = _torchvision("Resize")(_side(size, pre.resize), interpolation=_mode(interpolation))
    return transform


@TRANSFORMS.register("center_crop")
def _center_crop(pre: Preprocessing, *, size: Any = None) -> Transform:
    transform: Transform = _torchvision("CenterCrop")(_side(size, pre.input_size))
    return transform


@TRANSFORMS.register("random_crop")
def _random_crop(pre: Preprocessing, *, size: Any = None, padding: Any = None) -> Transform:
    transform: Transform = _torchvision("RandomCrop")(_side(size, pre.input_size), padding=padding)
    return transform


@TRANSFORMS.register("random_resized_crop")
def _random_resized_crop(
    pre: Preprocessing, *, size: Any = None, scale: Any = (0.08, 1.0), ratio: Any = (3 / 4, 4 / 3),
    interpolation: str = "bilinear",
) -> Transform:  # fmt: skip
    transform: Transform = _torchvision("RandomResizedCrop")(
        _side(size, pre.input_size), scale=tuple(scale), ratio=tuple(ratio), interpolation=_mode(interpolation)
    )
    return transform


@TRANSFORMS.register("random_horizontal_flip")
def _horizontal_flip(pre: Preprocessing, *, p: float = 0.5) -> Transform:
    transform: Transform = _torchvision("RandomHorizontalFlip")(_probability(p))
    return transform


@TRANSFORMS.register("random_vertical_flip")
def _vertical_flip(pre: Preprocessing, *, p: float = 0.5) -> Transform:
    transform: Transform = _torchvision("RandomVerticalFlip")(_probability(p))
    return transform


TRANSFORMS.add("ramdom_vertical_flip", _vertical_flip)  # as the original spells it


@TRANSFORMS.register("random_rotation")
def _rotation(pre: Preprocessing, *, degrees: Any, interpolation: str = "nearest") -> Transform:
    transform: Transform = _torchvision("RandomRotation")(degrees, interpolation=_mode(interpolation))
    return transform


@TRANSFORMS.register("random_orientation_rotation")
def _orientation(pre: Preprocessing) -> Transform:
    from torchvision.transforms.functional import rotate

    return lambda picture: rotate(picture, 90.0 * int(torch.randint(4, ())), expand=True)


@TRANSFORMS.register("color_jitter")
def _color_jitter(
    pre: Preprocessing, *, brightness: Any = None, contrast: Any = None, saturation: Any = None, hue: Any = None,
    p: float = 1.0,
) -> Transform:  # fmt: skip
    jitter: Transform = _torchvision("ColorJitter")(brightness or 0, contrast or 0, saturation or 0, hue or 0)
    return _sometimes(jitter, p)


@TRANSFORMS.register("to_grayscale")
def _grayscale(pre: Preprocessing, *, num_output_channels: int = 3, p: float = 1.0) -> Transform:
    if num_output_channels != 3:
        raise ConfigError(f"{WHERE}: to_grayscale gives three equal channels here, got {num_output_channels}")
    return _sometimes(_torchvision("Grayscale")(3), p)


@TRANSFORMS.register("adjust_gamma")
def _gamma(pre: Preprocessing, *, gamma: float, gain: float = 1.0) -> Transform:
    from torchvision.transforms.functional import adjust_gamma

    return lambda picture: adjust_gamma(picture, gamma, gain)


@TRANSFORMS.register("gaussian_blur")
def _blur(pre: Preprocessing, *, sigma: Any = (0.1, 2.0), p: float = 1.0) -> Transform:
    low, high = sigma if isinstance(sigma, (list, tuple)) else (sigma, sigma)

    def blur(picture: Picture) -> Picture:
        if isinstance(picture, Tensor):
            raise ConfigError(f"{WHERE}: gaussian_blur must come before to_tensor, cutout and random_erasing")
        radius = low + (high - low) * torch.rand(()).item()
        return picture.filter(ImageFilter.GaussianBlur(radius))

    return _sometimes(blur, p)


@TRANSFORMS.register("cutout")
def _cutout(pre: Preprocessing, *, n_holes: int = 2, length: int = 32, prob: float = 0.5) -> Transform:
    """Squares of the model's mean colour (DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552)."""
    colour = _mean_colour(pre)

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
    pre: Preprocessing, *, p: float = 0.25, scale: Any = (0.02, 1 / 3), ratio: Any = (0.3, 3.3), value: Any = "mean"
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
            fill = _mean_colour(pre) if value == "mean" else torch.tensor(round(255 * value), dtype=torch.uint8)
        tensor[:, top : top + height, left : left + width] = fill
        return tensor

    return _sometimes(erase, p)


@TRANSFORMS.register("auto_augment")
def _auto_augment(pre: Preprocessing, *, policy: str = "imagenet") -> Transform:
    """The learnt policies of Cubuk 2019 (https://arxiv.org/abs/1805.09501)."""
    from torchvision.transforms import AutoAugmentPolicy

    policies = {known.value: known for known in AutoAugmentPolicy}
    if policy not in policies:
        raise ConfigError(f"{WHERE}: auto_augment's policy must be one of {', '.join(policies)}, got {policy!r}")
    transform: Transform = _torchvision("AutoAugment")(policies[policy])
    return transform


@TRANSFORMS.register("rand_augment")
def _rand_augment(pre: Preprocessing, *, num_ops: int = 2, magnitude: int = 9) -> Transform:
    """RandAugment (Cubuk 2020, https://arxiv.org/abs/1909.13719)."""
    transform: Transform = _torchvision("RandAugment")(num_ops, magnitude)
    return transform


@TRANSFORMS.register("trivial_augment")
def _trivial_augment(pre: Preprocessing) -> Transform:
    """TrivialAugment, wide (Mueller and Hutter 2021, https://arxiv.org/abs/2103.10158)."""
    transform: Transform = _torchvision("TrivialAugmentWide")()
    return transform


@TRANSFORMS.register("aug_mix")
def _aug_mix(
    pre: Preprocessing, *, severity: int = 3, mixture_width: int = 3, chain_depth: int = -1, alpha: float = 1.0,
    all_ops: bool = False,
) -> Transform:  # fmt: skip
    """AugMix (Hendrycks 2020, https://arxiv.org/abs/1912.02781).

    As in the paper without the operations that ImageNet-C tests (``all_ops: true`` uses them too).
    """
    transform: Transform = _torchvision("AugMix")(severity, mixture_width, chain_depth, alpha, all_ops)
    return transform


@TRANSFORMS.register("timm_augment")
def _timm_augment(pre: Preprocessing, *, config: str) -> Transform:
    """timm's policies by their description, such as ``rand-m9-mstd0.5-inc1`` or ``augmix-m5-w4``."""
    from timm.data import auto_augment as timm_policies

    kind = config.partition("-")[0]
    names = {"rand": "rand_augment_transform", "augmix": "augment_and_mix_transform"}
    build = getattr(timm_policies, names.get(kind, "auto_augment_transform"))
    colour = tuple(int(value) for value in _mean_colour(pre).flatten())
    try:
        transform: Transform = build(config, {"img_mean": colour, "translate_const": pre.input_size // 3})
    except (AssertionError, ValueError, KeyError) as error:
        raise ConfigError(f"{WHERE}: timm does not know the policy {config!r} ({error})") from None
    return transform


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


def _mean_colour(pre: Preprocessing) -> Tensor:
    return torch.tensor([round(255 * value) for value in pre.mean], dtype=torch.uint8).view(-1, 1, 1)


def _probability(p: float) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ConfigError(f"{WHERE}: a probability must be from 0 to 1, got {p!r}")
    return p


def _sometimes(transform: Transform, p: float) -> Transform:
    if _probability(p) == 1:
        return transform
    return lambda picture: transform(picture) if torch.rand(()).item() < p else picture
