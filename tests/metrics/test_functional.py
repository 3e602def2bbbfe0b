"""Numbers against hand computation, scipy, and each other."""

import math

import numpy as np
import pytest
from scipy import stats

from RobustART.metrics import functional as F
from RobustART.metrics.baselines import alexnet_corruption_errors, imagenet_a_classes, imagenet_r_classes
from RobustART.metrics.functional import UndefinedError


@pytest.mark.parametrize(("k", "n"), [(0, 20), (18, 20), (20, 20), (1, 3), (500, 1000)])
def test_wilson_against_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert F.wilson(k, n) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_bootstrap_is_seeded_and_near_the_normal_interval():
    values = np.random.default_rng(0).normal(50, 10, size=2000)
    low, high = F.bootstrap_mean(values)
    assert (low, high) == F.bootstrap_mean(values)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.1)
    assert high == pytest.approx(values.mean() + half, abs=0.1)
    assert F.bootstrap_mean([7.0, 7.0]) == (7.0, 7.0)


def test_label_rank_by_hand_with_ties():
    scores = [[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]
    assert F.label_rank(scores, [1, 0, 1, 0]).tolist() == [0, 0, 1, 2]
    assert F.top_k_accuracy([0, 0, 1, 2], 1) == 50
    assert F.top_k_accuracy([0, 0, 1, 2], 2) == 75


def test_top_k_against_scikit_learn():
    from sklearn.metrics import top_k_accuracy_score

    rng = np.random.default_rng(0)
    scores, labels = rng.random((200, 10)), rng.integers(0, 10, 200)
    ranks = F.label_rank(scores, labels)
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(10))
        assert F.top_k_accuracy(ranks, k) == pytest.approx(100 * expected)


def test_rms_calibration_error_by_hand():
    assert F.rms_calibration_error([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0]) == pytest.approx(15)
    assert F.rms_calibration_error([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    # Two bins of 2 and 3: the last one takes the remainder and counts.
    got = F.rms_calibration_error([0.1, 0.2, 0.7, 0.8, 0.9], [0, 0, 1, 1, 0], bin_size=2)
    expected = 100 * math.sqrt(2 / 5 * 0.15**2 + 3 / 5 * (0.8 - 2 / 3) ** 2)
    assert got == pytest.approx(expected)


def test_aurra_by_hand():
    assert F.aurra([0.9, 0.8, 0.7], [1, 1, 1]) == 100
    assert F.aurra([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3)
    assert F.aurra([0.7, 0.9, 0.8], [1, 1, 0]) == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3)


def test_adversarial_robustness_by_hand():
    clean = [1, 1, 0, 1]
    assert F.adversarial_robustness(clean, clean) == (3, 3)
    assert F.adversarial_robustness(clean, [1, 0, 1, 0]) == (1, 3)
    assert F.adversarial_robustness(clean, [[1, 1], [1, 0], [1, 1], [1, 1]]) == (2, 3)
    with pytest.raises(UndefinedError, match="no image is classified right"):
        F.adversarial_robustness([0, 0], [1, 1])


def test_alexnets_own_errors_give_an_mce_of_100():
    errors = alexnet_corruption_errors()
    assert len(errors) == 19
    assert F.mean_corruption_error({k: errors[k] for k in list(errors)[:15]}, errors) == pytest.approx(100)
    halved = {name: [value / 2 for value in values] for name, values in errors.items()}
    assert F.mean_corruption_error(halved, errors) == pytest.approx(50)
    # The denominators of the official score, as easyrobust lists them.
    assert np.mean(errors["gaussian_noise"]) == pytest.approx(0.886428, abs=1e-6)
    assert np.mean(errors["jpeg_compression"]) == pytest.approx(0.606500, abs=1e-6)


def test_imagenet_a_classes():
    classes = imagenet_a_classes()
    assert len(set(classes)) == 200
    assert classes == tuple(sorted(classes))
    assert classes[:3] == (6, 11, 13)


def test_imagenet_r_classes():
    """The numbers that stand as a comment in the official evaluation, eval.py of hendrycks/imagenet-r; timm has the same."""
    from pathlib import Path

    import timm.data

    classes = imagenet_r_classes()
    assert len(set(classes)) == 200
    assert (classes[:5], classes[-5:]) == ((1, 2, 4, 6, 8), (967, 980, 981, 983, 988))
    listed = Path(timm.data.__file__).parent / "_info" / "imagenet_r_indices.txt"
    assert classes == tuple(int(line) for line in listed.read_text().split())


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.wilson(0, 0), lambda: F.bootstrap_mean([]), lambda: F.top_k_accuracy([]), lambda: F.aurra([], []),
        lambda: F.rms_calibration_error([], []), lambda: F.mean_corruption_error({}, {}),
    ],
)  # fmt: skip
def test_no_images_is_undefined_never_zero(call):
    with pytest.raises(UndefinedError, match="undefined"):
        call()
