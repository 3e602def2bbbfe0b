"""ImageNet-C's corruption errors, CE and mCE (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261)."""

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
"""The 19 corruptions by official group."""
SCORED = tuple(name for group, names in GROUPS.items() if group != "extra" for name in names)
"""The 15 corruptions that mCE averages; the other 4 are extra."""
Errors = Mapping[str, ArrayLike]
"""For each corruption its top-1 error at each severity, (..., severities)."""


def group_of(corruption: str) -> str | None:
    """Returns the official group of a corruption, such as ``weather`` for ``fog``; None for a user's own corruption."""
    return next((group for group, names in GROUPS.items() if corruption in names), None)


def corruption_errors(errors: Errors, baseline: Errors) -> dict[str, NDArray[np.float64]]:
    r"""Returns the corruption error (CE) of each corruption in percent, (...).

    .. math::
        \text{CE}_c = 100 \frac{\sum_s E_{s,c}}{\sum_s E^\text{baseline}_{s,c}}

    where :math:`E_{s,c}` is the top-1 error under corruption :math:`c` at severity :math:`s`.

    Args:
        errors: for each corruption its top-1 error at each severity, (..., S), in any unit.
        baseline: errors of the baseline model, (S,), in the same unit; its other corruptions are ignored.

    Raises:
        UndefinedError: there are no corruptions; or the baseline lacks one of them or a severity, or its errors are 0.

    >>> corruption_errors({"fog": [0.2, 0.4]}, {"fog": [0.5, 0.7]})["fog"].round(2).item()
    50.0
    """
    return {name: own.sum(axis=-1) / other.sum() * 100.0 for name, (own, other) in _pairs(errors, baseline).items()}


def relative_corruption_errors(
    errors: Errors, clean: ArrayLike, baseline: Errors, baseline_clean: float
) -> dict[str, NDArray[np.float64]]:
    r"""Returns the relative corruption error of each corruption in percent, (...).

    .. math::
        \text{relative CE}_c = 100 \frac{\sum_s (E_{s,c} - E_\text{clean})}
                                        {\sum_s (E^\text{baseline}_{s,c} - E^\text{baseline}_\text{clean})}

    where :math:`E_{s,c}` is the top-1 error under corruption :math:`c` at severity :math:`s`.

    Args:
        errors: for each corruption its top-1 error at each severity, (..., S), in any unit.
        clean: top-1 error without corruption, (...).
        baseline: errors of the baseline model, (S,), in the same unit.
        baseline_clean: error of the baseline model without corruption.

    Raises:
        UndefinedError: as in :func:`corruption_errors`; or the baseline's error does not rise.

    >>> relative_corruption_errors({"fog": [0.3, 0.5]}, 0.2, {"fog": [0.6, 0.8]}, 0.3)["fog"].round(2).item()
    50.0
    """
    found = {}
    for name, (own, other) in _pairs(errors, baseline).items():
        rise = float((other - baseline_clean).sum())
        if rise <= 0:
            raise UndefinedError(f"relative CE is undefined: the baseline's error does not rise under {name}")
        found[name] = (own - np.asarray(clean, dtype=np.float64)[..., None]).sum(axis=-1) / rise * 100.0
    return found


def mean_corruption_error(errors: Errors, baseline: Errors) -> float:
    r"""Returns the mean corruption error (mCE) in percent; published values are of 15 corruptions.

    .. math::
        \text{mCE} = \frac{1}{C} \sum_c \text{CE}_c

    with :math:`\text{CE}_c` as in :func:`corruption_errors`, which has the arguments and errors.

    >>> mce = mean_corruption_error({"fog": [0.2, 0.4], "snow": [0.3, 0.6]}, {"fog": [0.5, 0.7], "snow": [0.4, 0.6]})
    >>> round(mce, 2)
    70.0
    """
    return float(np.mean(list(corruption_errors(errors, baseline).values())))


def relative_mean_corruption_error(errors: Errors, clean: float, baseline: Errors, baseline_clean: float) -> float:
    r"""Returns the relative mean corruption error (relative mCE) in percent.

    .. math::
        \text{relative mCE} = \frac{1}{C} \sum_c \text{relative CE}_c

    with :math:`\text{relative CE}_c` as in :func:`relative_corruption_errors`, which has the arguments and errors.

    >>> errors, baseline = {"fog": [0.3, 0.5], "snow": [0.5, 0.7]}, {"fog": [0.6, 0.8], "snow": [0.7, 0.9]}
    >>> round(relative_mean_corruption_error(errors, 0.2, baseline, 0.3), 2)
    65.0
    """
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
