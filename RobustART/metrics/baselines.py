"""Published numbers that metrics divide by, each with its source."""

from __future__ import annotations

import csv
import functools
from importlib import resources

C_BAR = (
    "blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout", "cocentric_sine_waves",
    "inverse_sparkles", "perlin_noise", "plasma_noise", "single_frequency_greyscale", "sparkles",
)  # fmt: skip
"""The corruptions of ImageNet-C-bar (Mintun et al. 2021, https://arxiv.org/abs/2102.11273)."""
C_3D = (
    "near_focus", "far_focus", "bit_error", "color_quant", "flash", "fog_3d", "h265_abr", "h265_crf", "iso_noise",
    "low_light", "xy_motion_blur", "z_motion_blur",
)  # fmt: skip
"""The corruptions of ImageNet-3DCC (Kar et al. 2022, https://arxiv.org/abs/2203.01441)."""
ALEXNET_CLEAN_ERROR = 0.4348
"""AlexNet's top-1 error on ImageNet's validation set, in [0, 1], which relative mCE subtracts.

Source: torchvision's AlexNet, 56.52 % top-1, the model of the table below.
"""


@functools.cache
def alexnet_corruption_errors() -> dict[str, list[float]]:
    """Returns AlexNet's top-1 error in [0, 1] on ImageNet-C: 19 corruptions, each a list over severities 1 to 5.

    Source: hendrycks/robustness issue 10; the means over severities agree with the denominators of the official mCE.
    """
    text = resources.files(__package__).joinpath("alexnet_imagenet_c_error.csv").read_text(encoding="utf-8")
    return {
        row["corruption"]: [float(row[f"severity{s}"]) for s in range(1, 6)]
        for row in csv.DictReader(text.splitlines())
    }


def _classes(name: str) -> tuple[int, ...]:
    text = resources.files(__package__).joinpath(f"{name}_classes.txt").read_text(encoding="utf-8")
    return tuple(int(line) for line in text.split())


@functools.cache
def imagenet_o_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes that ImageNet-O's protocol compares, sorted; not those of ImageNet-A.

    Source: the WordNet ids of hendrycks/natural-adv-examples, eval.py, as numbers in the order of the 1,000 ids.
    """
    return _classes("imagenet_o")


@functools.cache
def imagenet_a_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes that ImageNet-A has, sorted.

    Source: the WordNet ids of hendrycks/natural-adv-examples, eval.py, as numbers in the order of the 1,000 ids.
    """
    return _classes("imagenet_a")


@functools.cache
def imagenet_r_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes that ImageNet-R has, sorted; not those of ImageNet-A.

    Source: the WordNet ids of hendrycks/imagenet-r, eval.py, as numbers in the order of the 1,000 ids.
    """
    return _classes("imagenet_r")
