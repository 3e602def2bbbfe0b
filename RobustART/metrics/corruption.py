"""ImageNet-C's errors, divided by AlexNet's or not (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The 19 corruptions by their official group."""
SCORED = tuple(name for group, names in GROUPS.items() if group != "extra" for name in names)
"""The 15 corruptions that the scores count; the other 4 are extra."""
Errors = Mapping[str, ArrayLike]
"""Per corruption the top-1 error at each severity, (..., severities)."""


def corruption_errors(errors: Errors, baseline: Errors) -> dict[str, NDArray[np.float64]]:
    """Returns CE of each corruption in percent, (...): error over the baseline's, both summed over severities.

    Args:
        errors: per corruption the top-1 error at each severity, (..., S), in any unit.
        baseline: the same of the baseline model, (S,), in the same unit; corruptions only it has do not count.

    Raises:
        UndefinedError: there are no corruptions, or the baseline lacks one of them or its severities, or is 0.
    """
    return {name: own.sum(axis=-1) / other.sum() * 100.0 for name, (own, other) in _pairs(errors, baseline).items()}


def relative_corruption_errors(
    errors: Errors, clean: ArrayLike, baseline: Errors, baseline_clean: float
) -> dict[str, NDArray[np.float64]]:
    """Returns relative CE of each corruption in percent, (...): how far the error rises, over how far the baseline's does.

    Args:
        errors: per corruption the top-1 error at each severity, (..., S), in any unit.
        clean: the error without corruption, (...).
        baseline: the errors of the baseline model, (S,), in the same unit.
        baseline_clean: its error without corruption.

    Raises:
        UndefinedError: as in :func:`corruption_errors`; or the baseline's error does not rise.
    """
    found = {}
    for name, (own, other) in _pairs(errors, baseline).items():
        rise = float((other - baseline_clean).sum())
        if rise <= 0:
            raise UndefinedError(f"relative CE is undefined: the baseline's error does not rise under {name}")
        found[name] = (own - np.asarray(clean, dtype=np.float64)[..., None]).sum(axis=-1) / rise * 100.0
    return found


def mean_corruption_error(errors: Errors, baseline: Errors) -> float:
    """Returns mCE in percent, the mean of :func:`corruption_errors` over the corruptions; published ones are of 15."""
    return float(np.mean(list(corruption_errors(errors, baseline).values())))


def relative_mean_corruption_error(errors: Errors, clean: float, baseline: Errors, baseline_clean: float) -> float:
    """Returns relative mCE in percent, the mean of :func:`relative_corruption_errors` over the corruptions."""
    return float(np.mean(list(relative_corruption_errors(errors, clean, baseline, baseline_clean).values())))


def _pairs(errors: Errors, baseline: Errors) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    if not errors:
        raise UndefinedError("mCE over no corruptions is undefined")
    found = {}
    for name, values in errors.items():
        if name not in baseline:
            raise UndefinedError(f"CE of {name} is undefined: the baseline has no such corruption")
        own, other = np.asarray(values, dtype=np.float64), np.asarray(baseline[name], dtype=np.float64)
        if own.shape[-1:] != other.shape:
            raise UndefinedError(
                f"CE of {name} is undefined: it has {own.shape[-1]} severities, the baseline {other.size}"
            )
        if not np.isfinite(own).all():
            raise UndefinedError(f"CE of {name} is undefined: an error is not a number")
        if not other.sum() > 0:
            raise UndefinedError(f"CE of {name} is undefined: the baseline's errors are 0")
        found[name] = (own, other)
    return found
