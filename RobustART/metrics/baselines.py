"""Published baseline errors that normalise ImageNet-C's metrics, each with its source."""

from __future__ import annotations

import csv
import functools
from importlib import resources

ALEXNET_CLEAN_ERROR = 0.4348
"""AlexNet's top-1 error on ImageNet's validation set, in [0, 1], which relative mCE subtracts.

Source: torchvision's AlexNet with 56.52 % top-1 accuracy, the model of :func:`alexnet_corruption_errors`.
"""


@functools.cache
def alexnet_corruption_errors() -> dict[str, list[float]]:
    """Returns AlexNet's top-1 errors on ImageNet-C, in [0, 1]: for each of 19 corruptions a list over severities 1 to 5.

    Source: hendrycks/robustness issue 10. The means over severities agree with the denominators of the official mCE.
    """
    text = resources.files(__package__).joinpath("alexnet_imagenet_c_error.csv").read_text(encoding="utf-8")
    return {
        row["corruption"]: [float(row[f"severity{s}"]) for s in range(1, 6)]
        for row in csv.DictReader(text.splitlines())
    }
