"""Paired comparisons: scipy's exact test, and intervals that hold the truth."""

import numpy as np
import pytest
from scipy.stats import binomtest

from RobustART.metrics import UndefinedError
from RobustART.metrics.paired import holm, mcnemar, paired_difference


def verdicts(both, lost, won, neither):
    first = [1] * (both + lost) + [0] * (won + neither)
    second = [1] * both + [0] * lost + [1] * won + [0] * neither
    return first, second


@pytest.mark.parametrize(("lost", "won"), [(5, 0), (0, 1), (3, 7), (40, 41), (900, 700), (30000, 30500)])
def test_mcnemar_against_scipy(lost, won):
    expected = binomtest(lost, lost + won, 0.5).pvalue
    assert mcnemar(*verdicts(10, lost, won, 5)) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_equal_runs_is_1():
    assert mcnemar([1, 0, 1], [1, 0, 1]) == 1


def test_difference_by_hand():
    """Newcombe's method 10 on (both, lost, won, neither) = (20, 4, 10, 6), its formula written out with Wilson's limits."""
    first, second = verdicts(20, 4, 10, 6)
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(100 * 6 / 40)
    one, two = (np.array(binomtest(k, 40).proportion_ci(0.95, "wilson")) for k in (24, 30))
    phi = (20 * 6 - 4 * 10 - 20) / np.sqrt(24 * 16 * 30 * 10)
    below, above = 0.75 - two[0], one[1] - 0.6
    assert low == pytest.approx(100 * (0.15 - np.sqrt(below**2 - 2 * phi * below * above + above**2)))
    below, above = 0.6 - one[0], two[1] - 0.75
    assert high == pytest.approx(100 * (0.15 + np.sqrt(below**2 - 2 * phi * below * above + above**2)))
    back = paired_difference(second, first)
    assert back == pytest.approx((-difference, -high, -low))


@pytest.mark.parametrize("shares", [(0.6, 0.1, 0.15, 0.15), (0.3, 0.3, 0.1, 0.3), (0.9, 0.02, 0.03, 0.05)])
@pytest.mark.parametrize("n", [20, 500])
def test_the_interval_of_a_difference_holds_the_truth_19_times_of_20(shares, n):
    rng = np.random.default_rng(1)
    truth, inside = 100 * (shares[2] - shares[1]), []
    for counts in rng.multinomial(n, shares, size=400):
        _, low, high = paired_difference(*verdicts(*counts))
        inside.append(low - 1e-9 <= truth <= high + 1e-9)
    assert np.mean(inside) >= 0.92


def test_pairing_narrows_the_interval():
    """Two runs that agree on nearly all images are told apart better than their own intervals tell."""
    _, low, high = paired_difference(*verdicts(600, 5, 25, 370))
    assert low > 0
    _, low, high = paired_difference(*verdicts(600, 5, 25, 370)[::-1])
    assert high < 0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == pytest.approx([1.0, 1.0])


def test_undefined():
    with pytest.raises(UndefinedError, match="paired comparison"):
        mcnemar([], [])
    with pytest.raises(UndefinedError, match=r"\(2,\) with \(1,\) verdicts"):
        paired_difference([1, 0], [1])
