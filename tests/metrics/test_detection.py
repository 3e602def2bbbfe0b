"""Telling unknown images apart: known answers, and scikit-learn as judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from RobustART.metrics import UndefinedError
from RobustART.metrics.detection import detection, detection_draws
from RobustART.metrics.resampling import draw_counts, interval


def test_known_answers():
    assert detection([0.9, 0.8], [0.1, 0.2, 0.3]) == {"aupr": 100, "auroc": 100, "fpr95": 0}
    constant = detection(np.zeros(2000), np.zeros(10000))
    assert constant["aupr"] == pytest.approx(100 * 2000 / 12000)
    assert constant["auroc"] == 50
    assert constant["fpr95"] == 100
    assert detection([0.1], [0.9, 0.8]) == {"aupr": pytest.approx(100 / 3), "auroc": 0, "fpr95": 100}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
)
def test_scikit_learn_agrees_also_with_ties(positive, negative):
    labels, scores = [1] * len(positive) + [0] * len(negative), np.array(positive + negative, float)
    got = detection(positive, negative)
    assert got["aupr"] == pytest.approx(100 * average_precision_score(labels, scores))
    assert got["auroc"] == pytest.approx(100 * roc_auc_score(labels, scores))
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    last = int(np.argmax(tpr == 1))  # the official code looks no further, and from there backwards
    nearest = min(range(last, 0, -1), key=lambda i: abs(tpr[i] - 0.95))
    assert got["fpr95"] == pytest.approx(100 * fpr[nearest])


def test_fpr95_takes_the_nearest_recall_of_the_official_code():
    """200 unknown images: a recall of 190 of 200 is hit exactly, and further known ones at the same recall count."""
    unknown = np.arange(200, 0, -1) + 0.5  # found one after the other
    known = np.array([11.2, 11.1, 5.0])  # two stand just behind the 190th unknown one, at 11.5
    assert detection(unknown, known)["fpr95"] == pytest.approx(200 / 3)


def test_order_and_scale_do_not_matter():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 300), rng.normal(0, 1, 500)
    expected = detection(positive, negative)
    assert detection(rng.permutation(positive) * 3 + 1, rng.permutation(negative) * 3 + 1) == pytest.approx(expected)


def test_draws_are_the_numbers_of_each_resample():
    rng = np.random.default_rng(4)
    positive, negative = rng.integers(2, 9, 30).astype(float), rng.integers(0, 7, 50).astype(float)
    draws = detection_draws(positive, negative, resamples=15, seed=2)
    (found,), (wrong,) = (list(draw_counts(n, resamples=15, seed=[2, kind])) for kind, n in enumerate((30, 50)))
    for i in range(15):
        expected = detection(np.repeat(positive, found[i]), np.repeat(negative, wrong[i]))
        assert {name: values[i] for name, values in draws.items()} == pytest.approx(expected)


def test_intervals_hold_the_value_and_shrink_with_more_images():
    rng = np.random.default_rng(1)
    widths = []
    for n in (100, 1600):
        positive, negative = rng.normal(1, 1, n), rng.normal(0, 1, 2 * n)
        value, draws = detection(positive, negative), detection_draws(positive, negative, resamples=500)
        for name in value:
            low, high = interval(draws[name])
            assert low < value[name] < high
        low, high = interval(draws["auroc"])
        widths.append(high - low)
    again = detection_draws(positive, negative, resamples=500)["auroc"]
    assert (draws["auroc"] == again).all()
    assert widths[1] < widths[0] / 3


def test_auroc_interval_is_about_hanley_and_mcneils():
    """Their formula of 1982 for the standard error of the area."""
    rng = np.random.default_rng(2)
    positive, negative = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    area = detection(positive, negative)["auroc"] / 100
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + 399 * (q1 - area**2) + 399 * (q2 - area**2)) / 400**2)
    low, high = interval(detection_draws(positive, negative)["auroc"])
    assert (high - low) / 100 == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_nothing_to_tell_apart_is_undefined():
    with pytest.raises(UndefinedError, match="detection of 0 unknown among 1 known"):
        detection([], [1.0])
    with pytest.raises(UndefinedError, match="1 scores are not numbers"):
        detection([0.5, np.nan], [1.0])
