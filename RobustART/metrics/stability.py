"""Steadiness of predictions over the frames of a video, ImageNet-P (Hendrycks and Dietterich 2019, section 4.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError

SCORED_PERTURBATIONS = (
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate", "tilt",
    "scale",
)  # fmt: skip
"""The 10 perturbations that ImageNet-P's scores count."""
PUBLISHED_PERTURBATIONS = (*SCORED_PERTURBATIONS, "speckle_noise", "gaussian_blur", "spatter", "shear")
"""These and the 4 extra ones."""
T5D_MAX = 15.0
"""The highest :func:`top5_distance`: all five classes have left."""
ZIPF_MAX = 1.85
"""No :func:`zipf_distance` is higher, whatever the number of classes: for 3,000 the most distant ranking is at 1.848."""


def is_noise(perturbation: str) -> bool:
    """Returns whether a perturbation's frames are compared with the first frame, not with the one before."""
    return "noise" in perturbation


def references(frames: int, *, noise: bool, stride: int = 1) -> list[int]:
    """Returns the frame that each of ``frames`` frames is compared with: itself where there is none.

    Args:
        frames: length of the video.
        noise: compare with the first frame.
        stride: compare with the frame this many before; each of the first ``stride`` frames begins a sequence.
    """
    return [0 if noise else (t - stride if t >= stride else t) for t in range(frames)]


def _pairs(frames: int, noise: bool, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    reference = np.array(references(frames, noise=noise, stride=stride))
    later = np.flatnonzero(reference != np.arange(frames))
    if later.size == 0:
        raise UndefinedError(f"a video of {frames} frames has no pairs of frames {stride} apart")
    return reference[later], later


def flip_probability(predictions: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    """Returns how often the prediction differs from that of the reference frame, in percent for each video, (N,).

    Args:
        predictions: (N, T).
        noise: compare with the first frame instead of the one before.
        stride: frames between a frame and the one before it.

    >>> flip_probability([[1, 2, 1, 2], [3, 3, 3, 3]], noise=False).tolist()
    [100.0, 0.0]
    """
    array = np.asarray(predictions)
    before, after = _pairs(array.shape[1], noise, stride)
    return np.asarray(100.0 * (array[:, before] != array[:, after]).mean(axis=1))


def top5_distance(top5: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    """Returns how far the five first classes of the reference frame move in the ranking, for each video, (N,).

    The distance of two rankings is the sum over the reference's five places, 0 to 4, of how many places the class there
    has moved; a class that has left the first five stands at place 5. It is 0 to 15.

    Args:
        top5: the five highest classes of each frame, (N, T, 5).
        noise: compare with the first frame instead of the one before.
        stride: frames between a frame and the one before it.
    """
    array = np.asarray(top5)
    before, after = _pairs(array.shape[1], noise, stride)
    same = array[:, before, :, None] == array[:, after, None, :]  # (N, pairs, place before, place after)
    places = array.shape[2]
    now = np.where(same.any(axis=-1), same.argmax(axis=-1), places)
    return np.asarray(np.abs(now - np.arange(places)).sum(axis=-1).mean(axis=1), dtype=np.float64)


def zipf_distance(ranks: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    """Returns how far all classes move in the ranking, the first ones most, for each video, (N,).

    The distance of two rankings is the sum over ranks i of the reference of |1/i - 1/sigma(i)| / i, sigma(i) being the rank
    of that class in the other frame.

    Args:
        ranks: of each class in each frame, from 1, (N, T, K).
        noise: compare with the first frame instead of the one before.
        stride: frames between a frame and the one before it.
    """
    weight = 1.0 / np.asarray(ranks, dtype=np.float64)
    reference = weight[:, references(weight.shape[1], noise=noise, stride=stride)]
    return mean_over_pairs((np.abs(reference - weight) * reference).sum(axis=-1), noise=noise, stride=stride)


def mean_over_pairs(distances: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    """Returns the mean over pairs of frames of distances that stand with the later frame, (N, T) to (N,)."""
    array = np.asarray(distances, dtype=np.float64)
    _, after = _pairs(array.shape[1], noise, stride)
    return np.asarray(array[:, after].mean(axis=1))
