"""Policies of augmentation by name: torchvision's and timm's random choices among many operations."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from RobustART.core.options import convert
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.ranges import NotNegative, Range, Share
from RobustART.errors import ConfigError
from RobustART.training.augment.operations import TRANSFORMS, WHERE, Transform, mean_colour, torchvision_transform


@TRANSFORMS.register("auto_augment")
def _auto_augment(pre: Preprocessing, *, policy: str = "imagenet") -> Transform:
    """The learnt policies of Cubuk 2019 (https://arxiv.org/abs/1805.09501)."""
    from torchvision.transforms import AutoAugmentPolicy

    policies = {known.value: known for known in AutoAugmentPolicy}
    if policy not in policies:
        raise ConfigError(f"{WHERE}: auto_augment's policy must be one of {', '.join(policies)}, got {policy!r}")
    return torchvision_transform("AutoAugment")(policies[policy])


@TRANSFORMS.register("rand_augment")
def _rand_augment(
    pre: Preprocessing, *, num_ops: Annotated[int, Range(0, 100)] = 2,
    magnitude: Annotated[int, Range(0, 30)] = 9,
) -> Transform:  # fmt: skip
    """RandAugment (Cubuk 2020, https://arxiv.org/abs/1909.13719)."""
    return torchvision_transform("RandAugment")(num_ops, magnitude)


@TRANSFORMS.register("trivial_augment")
def _trivial_augment(pre: Preprocessing) -> Transform:
    """TrivialAugment, wide (Mueller and Hutter 2021, https://arxiv.org/abs/2103.10158)."""
    return torchvision_transform("TrivialAugmentWide")()


@TRANSFORMS.register("aug_mix")
def _aug_mix(
    pre: Preprocessing, *, severity: Annotated[int, Range(1, 10)] = 3,
    mixture_width: Annotated[int, Range(1, 100)] = 3,
    chain_depth: Literal[-1] | Annotated[int, Range(1, 100)] = -1,
    alpha: Annotated[float, Range(0, 1000, above=True)] = 1.0, all_ops: bool = False,
) -> Transform:  # fmt: skip
    """AugMix (Hendrycks 2020, https://arxiv.org/abs/1912.02781).

    As in the paper without the operations that ImageNet-C tests (``all_ops: true`` uses them too).
    """
    return torchvision_transform("AugMix")(severity, mixture_width, chain_depth, alpha, all_ops)


_STEPS, _SOME, _SWITCH = Annotated[int, Range(0, 100)], Annotated[int, Range(1, 100)], Annotated[int, Range(0, 1)]
TIMM_PARTS: dict[str, dict[str, Any]] = {
    "rand": {"m": _STEPS, "n": _SOME, "p": Share, "mstd": NotNegative, "mmax": _STEPS, "inc": _SWITCH},
    "augmix": {
        "m": _STEPS, "w": _SOME, "d": _SOME, "a": Annotated[float, Range(0, 1000, above=True)], "b": _SWITCH,
        "mstd": NotNegative,
    },
    **{name: {"mstd": NotNegative} for name in ("original", "originalr", "v0", "v0r", "3a")},
}  # fmt: skip
"""Values of the parts of timm's policy strings, by their first part."""
TIMM_SETS = ("tweights", "t3a", "t3aw")
"""Parts of ``rand`` that name a set of operations."""


def _check_policy(config: str) -> None:
    """Raises a ConfigError for a part of a policy string that timm would ignore or cannot use."""
    kind, *parts = config.split("-")
    known = TIMM_PARTS.get(kind, {})  # a kind that is not there is timm's to refuse
    sets = f", or one of {', '.join(TIMM_SETS)}" if kind == "rand" else ""
    for part in parts if known else ():
        if kind == "rand" and part in TIMM_SETS:
            continue
        found = re.fullmatch(r"([a-z]+)(\d+(?:\.\d*)?)", part)
        if found is None or found[1] not in known:
            raise ConfigError(
                f"{WHERE}: timm_augment's config {config!r} has the part {part!r}, but in '{kind}-...' a part must be one "
                f"of {', '.join(known)} and a number{sets}"
            )
        value = float(found[2]) if "." in found[2] else int(found[2])
        convert(value, known[found[1]], f"timm_augment's config {config!r}: {found[1]}")


@TRANSFORMS.register("timm_augment")
def _timm_augment(pre: Preprocessing, *, config: str) -> Transform:
    """timm's policies by their string, such as ``rand-m9-mstd0.5-inc1`` or ``augmix-m5-w4``."""
    from timm.data import auto_augment as timm_policies

    _check_policy(config)
    kind = config.partition("-")[0]
    names = {"rand": "rand_augment_transform", "augmix": "augment_and_mix_transform"}
    build = getattr(timm_policies, names.get(kind, "auto_augment_transform"))
    colour = tuple(int(value) for value in mean_colour(pre).flatten())
    try:
        transform: Transform = build(config, {"img_mean": colour, "translate_const": pre.input_size // 3})
    except (AssertionError, ValueError, KeyError) as error:
        raise ConfigError(f"{WHERE}: timm does not know the policy {config!r} ({error})") from None
    return transform
