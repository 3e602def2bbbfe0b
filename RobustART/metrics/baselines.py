"""Published numbers that metrics divide by, each with its source."""

from __future__ import annotations

import csv
import functools
from importlib import resources

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
