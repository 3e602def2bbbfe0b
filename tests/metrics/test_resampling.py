"""The bootstrap: resamples written out, sums that do not depend on their order, and intervals that hold the truth."""

from fractions import Fraction

import numpy as np
import pytest

from RobustART.metrics import UndefinedError, estimates
from RobustART.metrics.calibration import calibration_draws, expected_calibration_error, rms_calibration_error
from RobustART.metrics.detection import detection_draws
from RobustART.metrics.functional import wilson
from RobustART.metrics.resampling import RESAMPLES, distance_interval, draw_counts, interval, resampled_sums


def test_counts_are_samples_of_n_with_replacement():
    counts = np.concatenate(list(draw_counts(50, resamples=400, seed=1)))
    assert counts.shape == (400, 50)
    assert (counts.sum(axis=1) == 50).all()
    # Each image is drawn Binomial(50, 1/50) times: mean 1, variance 0.98.
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(0.98, abs=0.03)


def test_blocks_do_not_show(monkeypatch):
    whole = np.concatenate(list(draw_counts(30, resamples=40)))
    monkeypatch.setattr("RobustART.metrics.resampling._BLOCK", 70)
    assert (np.concatenate(list(draw_counts(30, resamples=40))) == whole).all()
    assert (np.concatenate(list(draw_counts(30, resamples=40, width=3000))) == whole).all()


@pytest.mark.parametrize("dtype", [bool, float])
def test_sums_are_those_of_the_drawn_images_exactly(dtype):
    """Sums of fractions: no order of adding, no number of threads and no library can change them."""
    rng = np.random.default_rng(0)
    values = rng.random((200, 3)) < 0.4 if dtype is bool else rng.normal(size=(200, 3)) * [1e-3, 1, 1e4]
    sums = resampled_sums(values, resamples=10, seed=5)
    (counts,) = draw_counts(200, resamples=10, seed=5)
    for i, row in enumerate(counts):
        for k in range(3):
            exact = sum(int(count) * Fraction(float(value)) for count, value in zip(row, values[:, k], strict=True))
            assert sums[i, k] == pytest.approx(float(exact), rel=1e-9, abs=1e-12 * np.abs(values[:, k]).max())
    backwards = resampled_sums(values[:, ::-1], resamples=10, seed=5)[:, ::-1]
    assert (backwards == sums).all()


def test_mean_is_seeded_and_near_the_normal_interval():
    values = np.random.default_rng(0).normal(50, 10, size=2000)
    found = estimates.mean(values)
    assert found == estimates.mean(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1)
    same = estimates.mean([7.0, 7.0])
    assert (same.value, same.low, same.high) == (7.0, 7.0, 7.0)


def test_all_numbers_share_their_resamples():
    """So the difference of two runs is paired: what goes up in all images goes up in all resamples."""
    values = np.random.default_rng(0).random(300)
    first, second = estimates.mean(values), estimates.mean(values + 0.25)
    assert second.draws - first.draws == pytest.approx(0.25)


def test_sets_of_different_sizes_are_drawn_apart():
    rng = np.random.default_rng(0)
    rows = [rng.normal(10, 2, 400), rng.normal(20, 2, 100)]
    found = estimates.mean_of_means(rows)
    assert found.value == pytest.approx(np.mean([row.mean() for row in rows]))
    error = np.sqrt(sum(row.var() / len(row) for row in rows)) / 2
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.n == 500
    together = estimates.mean_of_means([rows[0], rows[0][::-1]])
    assert together.value == pytest.approx(rows[0].mean())


def test_undefined():
    with pytest.raises(UndefinedError, match="over no images"):
        estimates.mean([])
    with pytest.raises(UndefinedError, match="1 values are not numbers"):
        estimates.mean([1.0, np.nan])


def test_a_ratio_of_nothing_and_of_everything_keeps_a_width():
    """The bootstrap alone would say that 0 of 10 is 0, with certainty."""
    clean = np.ones(12, dtype=bool)
    clean[10:] = False
    found = estimates.ratios({"none": (~clean, clean), "all": (clean, clean)}, "")
    assert (found["none"].low, found["none"].high) == pytest.approx(wilson(0, 10))
    assert (found["all"].low, found["all"].high) == pytest.approx(wilson(10, 10))
    assert found["none"].n == 10


def test_a_large_ratio_has_the_interval_of_the_delta_method():
    rng = np.random.default_rng(0)
    clean = rng.random(5000) < 0.8
    held = rng.random(5000) < 0.3
    found = estimates.ratios({"AR": (held, clean)}, "")["AR"]
    share, n = found.value / 100, int(clean.sum())
    half = 196 * np.sqrt(share * (1 - share) / n)
    assert found.low == pytest.approx(found.value - half, abs=0.15)
    assert found.high == pytest.approx(found.value + half, abs=0.15)


TRIALS = 120


def covered(truth, trial):
    """Share of TRIALS simulated runs whose interval holds the truth."""
    rng = np.random.default_rng(7)
    inside = [low <= truth <= high for low, high in (trial(rng) for _ in range(TRIALS))]
    return float(np.mean(inside))


def correct_in_cells(rng, n, rates):
    """Verdicts on n images that are hard or easy in all cells alike, right in cell k with probability rates[k]."""
    hard = rng.normal(size=(n, 1))
    noise = rng.normal(size=(n, len(rates)))
    from scipy.stats import norm

    return 0.8 * hard + 0.6 * noise < norm.ppf(rates)


def test_intervals_of_means_and_ratios_hold_the_truth_19_times_of_20():
    rates = np.array([0.8, 0.6, 0.5, 0.3])
    weights = np.array([0.9, 0.7, 0.8, 0.6])  # a baseline's errors, as in mCE

    def mce(rng):
        wrong = ~correct_in_cells(rng, 200, rates)
        found = estimates.resampled(wrong, {"mCE": lambda m: (m / weights).mean(axis=-1)})["mCE"]
        return found.low, found.high

    def ar(rng):
        right = correct_in_cells(rng, 60, rates)
        found = estimates.ratios({"AR": (rng.random(60) < 0.1, right[:, 0])}, "")["AR"]
        return found.low, found.high

    def aupr_and_auroc(rng):
        draws = detection_draws(rng.normal(1, 1, 60), rng.normal(0, 1, 120), resamples=400)
        return interval(draws["auroc"])

    from scipy.stats import norm

    assert 0.90 <= covered(((1 - rates) / weights).mean(), mce) <= 0.99
    assert 0.90 <= covered(10.0, ar) <= 1.0
    assert 0.88 <= covered(100 * norm.cdf(1 / np.sqrt(2)), aupr_and_auroc) <= 0.99


def test_intervals_of_numbers_that_chance_raises_hold_the_truth():
    """A plain percentile interval of these would lie above the truth, always, where the truth is 0."""
    plain = []

    def spread_of(rates):
        def trial(rng):
            right = correct_in_cells(rng, 200, rates)
            draws = (resampled_sums(right, resamples=400) / 200).std(axis=1)
            plain.append(interval(draws))
            return distance_interval(float(right.mean(axis=0).std()), draws)

        return covered(float(np.std(rates)), trial)

    assert spread_of(np.full(13, 0.75)) >= 0.95
    assert not any(low <= 0 <= high for low, high in plain)
    assert spread_of(np.linspace(0.65, 0.85, 13)) >= 0.88


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_intervals_of_calibration_errors_hold_the_truth(off):
    """A model that is right with probability confidence - off: both errors are off."""
    found = {"rms_calibration_error": [], "ece": []}
    rng = np.random.default_rng(3)
    for _ in range(60):
        confidence = 0.3 + 0.7 * rng.random(300)
        correct = rng.random(300) < confidence - off
        draws = calibration_draws(confidence, correct, resamples=200)
        for name, measure in (
            ("rms_calibration_error", rms_calibration_error), ("ece", expected_calibration_error)
        ):  # fmt: skip
            low, high = distance_interval(measure(confidence, correct), draws[name])
            found[name].append(low <= 100 * off <= high)
    assert np.mean(found["rms_calibration_error"]) >= 0.85
    assert np.mean(found["ece"]) >= 0.85


def test_as_many_resamples_as_the_readme_says():
    assert RESAMPLES == 2000


def test_an_interval_holds_its_value():
    """Also where all resamples lie to one side of it."""
    found = estimates.from_draws(3.0, np.linspace(4.0, 5.0, 100), 10)
    assert (found.low, found.value) == (3.0, 3.0)
    assert 4.9 < found.high < 5.0
