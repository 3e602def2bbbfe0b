"""Stability of predictions over the frames of a video, ImageNet-P (Hendrycks and Dietterich 2019, section 4.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from RobustART.errors import UndefinedError

SCORED_PERTURBATIONS = (
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate", "tilt",
    "scale",
)  # fmt: skip
"""The 10 perturbations that ImageNet-P's metrics average."""
PUBLISHED_PERTURBATIONS = (*SCORED_PERTURBATIONS, "speckle_noise", "gaussian_blur", "spatter", "shear")
"""All published perturbations: the scored ones and the 4 extra ones."""
T5D_MAX = 15.0
"""Upper bound of :func:`top5_distance`, reached when all five classes have left the top five."""
ZIPF_MAX = 1.85
"""Upper bound of :func:`zipf_distance` for any number of classes; for 3,000 the most distant ranking is at 1.848."""


def is_noise(perturbation: str) -> bool:
    """Returns whether a perturbation's frames are compared with the first frame, instead of the previous one."""
    return "noise" in perturbation


def references(frames: int, *, noise: bool, stride: int = 1) -> list[int]:
    """Returns the index of the frame that each frame is compared with; a frame without a reference is its own.

    Args:
        frames: number of frames of the video.
        noise: whether the reference is the first frame.
        stride: distance of the reference frame otherwise; the first ``stride`` frames have none.
    """
    return [0 if noise else (t - stride if t >= stride else t) for t in range(frames)]


def _pairs(frames: int, noise: bool, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    reference = np.array(references(frames, noise=noise, stride=stride))
    later = np.flatnonzero(reference != np.arange(frames))
    if later.size == 0:
        raise UndefinedError(f"a video of {frames} frames has no pairs of frames {stride} apart")
    return reference[later], later


def flip_probability(predictions: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    r"""Returns the flip probability of each video in percent, (N,).

    .. math::
        \text{FP} = \frac{100}{|J|} \sum_{j \in J} [\hat y_j \ne \hat y_{r(j)}]

    where :math:`J` are the frames with a reference frame :math:`r(j)` and :math:`\hat y_j` is the prediction of frame
    :math:`j`.

    Args:
        predictions: predicted class of each frame, (N, T).
        noise: whether the reference is the first frame, instead of the one ``stride`` frames before.
        stride: distance of the reference frame.

    Raises:
        UndefinedError: the videos have no pairs of frames.

    >>> flip_probability([[1, 2, 1, 2], [3, 3, 3, 3]], noise=False).tolist()
    [100.0, 0.0]
    """
    array = np.asarray(predictions)
    before, after = _pairs(array.shape[1], noise, stride)
    return np.asarray(100.0 * (array[:, before] != array[:, after]).mean(axis=1))


def top5_distance(top5: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    r"""Returns the top-5 distance (T5D) of each video, in [0, 15], (N,): its mean over pairs of frames.

    .. math::
        d = \sum_{i=0}^{4} |i - \sigma(i)|

    where :math:`\sigma(i)` is the position, from 0, in a frame's top five of the class at position :math:`i` of the
    reference frame, and 5 if that class has left the top five.

    Args:
        top5: the five classes with the highest scores in each frame, in descending order, (N, T, 5).
        noise: whether the reference is the first frame, instead of the one ``stride`` frames before.
        stride: distance of the reference frame.

    Raises:
        UndefinedError: the videos have no pairs of frames.

    >>> top5_distance([[[0, 1, 2, 3, 4], [1, 0, 2, 3, 9]]], noise=False).tolist()
    [3.0]
    """
    array = np.asarray(top5)
    before, after = _pairs(array.shape[1], noise, stride)
    same = array[:, before, :, None] == array[:, after, None, :]  # (N, pairs, place before, place after)
    places = array.shape[2]
    now = np.where(same.any(axis=-1), same.argmax(axis=-1), places)
    return np.asarray(np.abs(now - np.arange(places)).sum(axis=-1).mean(axis=1), dtype=np.float64)


def zipf_distance(ranks: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    r"""Returns the Zipf distance of each video, (N,): its mean over pairs of frames.

    .. math::
        d = \sum_{i=1}^{K} \frac{1}{i} \left|\frac{1}{i} - \frac{1}{\sigma(i)}\right|

    where :math:`\sigma(i)` is the rank in a frame of the class with rank :math:`i` in the reference frame.

    Args:
        ranks: rank of each class in each frame, from 1, (N, T, K).
        noise: whether the reference is the first frame, instead of the one ``stride`` frames before.
        stride: distance of the reference frame.

    Raises:
        UndefinedError: the videos have no pairs of frames.

    >>> zipf_distance([[[1, 2, 3], [2, 1, 3]]], noise=False).tolist()
    [0.75]
    """
    weight = 1.0 / np.asarray(ranks, dtype=np.float64)
    reference = weight[:, references(weight.shape[1], noise=noise, stride=stride)]
    return mean_over_pairs((np.abs(reference - weight) * reference).sum(axis=-1), noise=noise, stride=stride)


def mean_over_pairs(distances: ArrayLike, *, noise: bool, stride: int = 1) -> NDArray[np.float64]:
    """Returns the mean over pairs of frames, (N,), of the distance of each frame from its reference, (N, T)."""
    array = np.asarray(distances, dtype=np.float64)
    _, after = _pairs(array.shape[1], noise, stride)
    return np.asarray(array[:, after].mean(axis=1))
