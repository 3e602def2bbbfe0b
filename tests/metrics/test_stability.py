"""Steadiness of predictions over frames: known answers, and the definitions written out as loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from RobustART.benchmarks.imagenet_p import ranking
from RobustART.metrics import UndefinedError, stability
from RobustART.metrics.functional import wilson
from RobustART.metrics.stability import flip_probability, flips, mean_over_pairs, references, top5_distance


def pairs(frames, noise, stride):
    """The frames to compare, as the official evaluation walks through a video."""
    found = []
    for start in range(1 if noise else stride):
        sequence = list(range(start, frames, 1 if noise else stride))
        found += [(0 if noise else before, after) for before, after in itertools.pairwise(sequence)]
    return sorted(found, key=lambda pair: pair[1])


@pytest.mark.parametrize(("noise", "stride"), [(False, 1), (False, 2), (False, 3), (True, 1)])
def test_references_are_the_official_pairs(noise, stride):
    for frames in (4, 31, 41):
        got = [(r, t) for t, r in enumerate(references(frames, noise=noise, stride=stride)) if r != t]
        assert got == pairs(frames, noise, stride)


def test_flip_probability_by_hand():
    steady, alternating = [7] * 31, [1, 2] * 15 + [1]
    both = flip_probability([steady, alternating], noise=False)
    assert both.tolist() == [0, 100]
    assert flip_probability([steady, alternating], noise=True).tolist() == [0, 50]
    assert flip_probability([alternating], noise=False, stride=2).tolist() == [0]
    assert flip_probability([[1, 2, 2, 3]], noise=False).tolist() == [pytest.approx(200 / 3)]
    assert flip_probability([[1, 2, 2, 1]], noise=True).tolist() == [pytest.approx(200 / 3)]
    with pytest.raises(UndefinedError, match="1 frames has no pairs"):
        flip_probability([[1]], noise=False)


def test_top5_distance_by_hand():
    same = [0, 1, 2, 3, 4]
    assert top5_distance([[same, same, same]], noise=False).tolist() == [0]
    assert top5_distance([[same, [1, 0, 2, 3, 4]]], noise=False).tolist() == [2]
    assert top5_distance([[same, [5, 6, 7, 8, 9]]], noise=False).tolist() == [5 + 4 + 3 + 2 + 1]
    assert top5_distance([[same, [9, 0, 1, 2, 3]]], noise=False).tolist() == [5]
    assert top5_distance([[same, [9, 0, 1, 2, 3], same]], noise=True).tolist() == [2.5]


@pytest.mark.parametrize(("noise", "stride"), [(False, 1), (False, 3), (True, 1)])
def test_distances_equal_the_definitions(noise, stride):
    """Hendrycks and Dietterich's distances between permutations, from the ranks of all classes."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(3, 9, 40)).cumsum(axis=1).astype(np.float32))
    logits[0, 4] = logits[0, 3]
    logits[1, 5, 3:9] = 0.25  # ties
    found = ranking(logits, noise=noise, stride=stride)
    ranks = np.array([[rankdata(-frame, method="ordinal") for frame in video] for video in logits.numpy()])
    step = np.minimum(np.arange(40), 5)
    top5, zipf = [], []
    for video in ranks:
        ours5, oursz = [], []
        for before, after in pairs(9, noise, stride):
            sigma = video[after][np.argsort(video[before])]
            ours5.append(np.abs(step[:5] - step[sigma - 1][:5]).sum())
            place = np.arange(1, 41)
            oursz.append((np.abs(1 / place - 1 / sigma) / place).sum())
        top5.append(np.mean(ours5))
        zipf.append(np.mean(oursz))
    assert top5_distance(found["top5"].numpy(), noise=noise, stride=stride) == pytest.approx(top5)
    assert mean_over_pairs(found["zipf"].numpy(), noise=noise, stride=stride) == pytest.approx(zipf)
    assert (found["top5"][..., 0] == logits.argmax(-1)).all()


def test_rankings_of_few_classes_and_of_a_steady_video():
    found = ranking(torch.rand(1, 1, 3).expand(2, 4, 3), noise=False, stride=1)
    assert found["top5"].shape == (2, 4, 3)
    assert (found["zipf"] == 0).all()
    assert top5_distance(found["top5"].numpy(), noise=False).tolist() == [0, 0]


def test_no_zipf_distance_is_above_its_highest():
    """The most distant ranking of 300 classes, found by an exact assignment."""
    weight = 1.0 / np.arange(1, 301)
    cost = np.abs(weight[:, None] - weight) * weight[:, None]
    _, rank = linear_sum_assignment(cost, maximize=True)
    frames = np.stack([np.arange(1, 301), rank + 1])[None]
    found = ranking(-torch.from_numpy(frames), noise=False, stride=1)
    assert 1.8 < found["zipf"][0, 1] < stability.ZIPF_MAX
    left = np.array([[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]])
    assert stability.top5_distance(left, noise=False)[0] == stability.T5D_MAX


def predictions_of(flipping, videos, seed):
    """Predictions of videos of 11 frames in which each frame differs from the one before with a probability."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.random((videos, 11)) < flipping, axis=1)


def test_the_ratio_over_a_baseline_varies_with_the_baselines_videos():
    own = {"brightness": predictions_of(0.2, 4000, 0)}
    widths = []
    for videos in (20, 4000):
        found = flips(own, baseline={"brightness": predictions_of(0.4, videos, 1)}).metrics["mFR_of_these"]
        widths.append(found.high - found.low)
    # A share f of 10 pairs of frames in each of n videos: relative error sqrt((1 - f) / (10 n f)).
    expected = [2 * 1.96 * 50 * np.sqrt(0.6 / 0.4 / 10 / n + 0.8 / 0.2 / 40_000) for n in (20, 4000)]
    assert widths == pytest.approx(expected, rel=0.35)


def test_a_model_that_never_flips_may_flip():
    found = flips({"brightness": np.zeros((20, 5), int)}).metrics["mFP_of_these"]
    assert (found.low, found.high) == pytest.approx(wilson(0, 20))


def test_perturbations_without_names_are_drawn_apart():
    """Their lines need not be of the same photo, so that they cannot make up for each other."""
    rows = predictions_of(0.3, 300, 2)
    same = flips({"brightness": rows, "tilt": rows}).metrics["mFP_of_these"]
    one = flips({"brightness": rows}).metrics["mFP_of_these"]
    assert same.high - same.low == pytest.approx((one.high - one.low) / np.sqrt(2), rel=0.1)
