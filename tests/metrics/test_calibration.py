"""Calibration errors and AURRA: hand computation, definitions as loops, resamples drawn one by one."""

import itertools
import math

import numpy as np
import pytest

from RobustART.metrics import UndefinedError
from RobustART.metrics.calibration import (
    aurra,
    calibration_draws,
    expected_calibration_error,
    rms_calibration_error,
)
from RobustART.metrics.resampling import draw_counts


def test_rms_calibration_error_by_hand():
    assert rms_calibration_error([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0]) == pytest.approx(15)
    assert rms_calibration_error([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    # Two bins of 2 and 3: the last one takes the remainder and counts.
    got = rms_calibration_error([0.1, 0.2, 0.7, 0.8, 0.9], [0, 0, 1, 1, 0], bin_size=2)
    assert got == pytest.approx(100 * math.sqrt(2 / 5 * 0.15**2 + 3 / 5 * (0.8 - 2 / 3) ** 2))


def test_expected_calibration_error_by_hand():
    # Bins of width 0.5: 0.2 and 0.5 in the first (its upper edge is its own), 0.6 and 1.0 in the second.
    got = expected_calibration_error([0.2, 0.5, 0.6, 1.0], [0, 1, 1, 1], bins=2)
    assert got == pytest.approx(100 * (abs(0.7 - 1) + abs(1.6 - 2)) / 4)
    assert expected_calibration_error([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    # Gaps of opposite signs in one bin cancel, in two they do not.
    assert expected_calibration_error([0.96, 0.94], [1, 0], bins=1) == pytest.approx(100 * 0.9 / 2)
    assert expected_calibration_error([0.96, 0.04], [0, 1], bins=2) == pytest.approx(96)


def test_aurra_by_hand():
    assert aurra([0.9, 0.8, 0.7], [1, 1, 1]) == 100
    assert aurra([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3)
    assert aurra([0.7, 0.9, 0.8], [1, 1, 0]) == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3)


@pytest.mark.parametrize("n", [7, 230])
def test_draws_are_the_numbers_of_each_resample(n):
    """The same images drawn, each resample written out and measured by the functions above and by their definitions."""
    rng = np.random.default_rng(n)
    confidence = np.round(rng.random(n), 2)  # with ties
    correct = rng.random(n) < confidence
    draws = calibration_draws(confidence, correct, resamples=20, seed=3)
    (counts,) = draw_counts(n, resamples=20, seed=3)
    for i, row in enumerate(counts):
        who = np.repeat(np.arange(n), row)
        conf, right = confidence[who], correct[who]
        assert draws["rms_calibration_error"][i] == pytest.approx(rms_calibration_error(conf, right))
        assert draws["ece"][i] == pytest.approx(expected_calibration_error(conf, right))
        tied = np.array(
            [right[conf == value].mean() for value in conf]
        )  # images of equal confidence share their places
        shares = [tied[np.argsort(-conf, kind="stable")][:k].mean() for k in range(1, n + 1)]
        assert draws["aurra"][i] == pytest.approx(100 * np.mean(shares))
        assert aurra(conf, right) == pytest.approx(100 * np.mean(shares))


def test_images_of_equal_confidence_in_any_order():
    """By hand, then in every order, and AURRA against the mean over all orders of a strict ranking."""
    # Places 1 and 2 count 1/2 each: the accuracies among the first k are 1/2, 1/2, 1/3.
    assert aurra([0.9, 0.9, 0.1], [1, 0, 0]) == pytest.approx(100 * (1 / 2 + 1 / 2 + 1 / 3) / 3)
    # Bins of 2 among three equal ones, of which one is right: 2 x (0.6 - 1/3), then (0.6 - 1/3) and 0.9 - 1.
    expected = 100 * math.sqrt(2 / 4 * (0.6 - 1 / 3) ** 2 + 2 / 4 * ((0.6 - 1 / 3 + 0.9 - 1) / 2) ** 2)
    assert rms_calibration_error([0.6, 0.6, 0.6, 0.9], [1, 0, 0, 1], bin_size=2) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(1, 4, 7) / 4, rng.integers(0, 2, 7)
    orders = [list(order) for order in itertools.permutations(range(7))]
    every = {aurra(confidence[order], correct[order]) for order in orders[::50]}
    assert len(every) == 1
    ranked = confidence[orders[0]] - 1e-9 * np.array(orders)
    means = [aurra(row, correct) for row in ranked]
    assert min(means) < max(means)
    assert np.mean(means) == pytest.approx(every.pop())
    errors = {rms_calibration_error(confidence[order], correct[order], bin_size=2) for order in orders[::50]}
    assert len(errors) == 1
    whole = rng.permutation(1000)
    confidence, correct = np.round(rng.random(1000), 2), rng.integers(0, 2, 1000)
    for measure in (aurra, rms_calibration_error):
        assert measure(confidence, correct) == measure(confidence[whole], correct[whole])


def test_without_ties_the_official_code_agrees():
    """Bins of 100 cut from the sorted arrays, and the running mean, as in hendrycks/natural-adv-examples."""
    rng = np.random.default_rng(1)
    confidence, correct = rng.permutation(np.linspace(0.001, 0.999, 730)), rng.integers(0, 2, 730)
    order = np.argsort(confidence)
    edges = [*range(0, 700, 100), 730]
    bins = [order[start:end] for start, end in itertools.pairwise(edges)]
    squares = [len(b) / 730 * (confidence[b].mean() - correct[b].mean()) ** 2 for b in bins]
    assert rms_calibration_error(confidence, correct) == pytest.approx(100 * math.sqrt(sum(squares)))
    running = np.cumsum(correct[order[::-1]]) / np.arange(1, 731)
    assert aurra(confidence, correct) == pytest.approx(100 * running.mean())


@pytest.mark.parametrize("measure", [rms_calibration_error, expected_calibration_error, aurra, calibration_draws])
def test_undefined(measure):
    with pytest.raises(UndefinedError, match="over no images is undefined"):
        measure([], [])
    with pytest.raises(UndefinedError, match="1 confidences are not numbers"):
        measure([0.5, np.nan], [1, 0])
    with pytest.raises(UndefinedError, match="confidences for"):
        measure([0.5, 0.6], [1])
