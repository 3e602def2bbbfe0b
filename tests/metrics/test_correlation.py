"""Rank correlations and their intervals, against scipy's."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from RobustART.errors import UndefinedError
from RobustART.metrics.correlation import spearman


@pytest.mark.parametrize("choices", [3, 1000])
def test_against_scipy_with_the_same_draws(choices):
    """With many ties (as of a few depths) and without."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, choices, 30)
    y = x / choices + rng.normal(size=30)
    found = spearman(x, y, resamples=200, seed=3)
    assert found["value"] == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    drawn = np.random.default_rng(3).integers(0, 30, size=(200, 30))
    values = [spearmanr(x[row], y[row]).statistic for row in drawn]
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-12)
    assert found["n"] == 30


def test_known_answers():
    x = np.arange(40)
    assert spearman(x, np.exp(x / 10)) == {"value": 1, "low": 1, "high": 1, "n": 40, "p": pytest.approx(0)}
    assert spearman(x, -x)["value"] == -1
    unrelated = spearman(x, np.random.default_rng(1).normal(size=40))
    assert unrelated["low"] < 0 < unrelated["high"]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([1, 2, 3, 4], [1, 2, 3, 4], "needs 5"), ([1, 2, 3, 4, 5], [7] * 5, "all values are the same")],
)
def test_what_is_not_defined_is_refused(x, y, message):
    with pytest.raises(UndefinedError, match=message):
        spearman(x, y)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Of two normal variables with correlation 0.6 Spearman's is 6/pi asin(0.3); 95 % of 200 intervals may be 91 to 98 %."""
    rng = np.random.default_rng(0)
    truth, held = 6 / np.pi * np.arcsin(0.3), 0
    for seed in range(200):
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        found = spearman(x, y, resamples=300, seed=seed)
        held += found["low"] <= truth <= found["high"]
    assert 180 <= held <= 198
