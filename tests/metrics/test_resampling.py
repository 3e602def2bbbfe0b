"""The bootstrap: resamples written out, sums that do not depend on their order, and intervals that hold the truth."""

from fractions import Fraction

import numpy as np
import pytest

from RobustART.metrics import UndefinedError, estimates
from RobustART.metrics.calibration import calibration
from RobustART.metrics.detection import detection, detection_draws, unknown_images
from RobustART.metrics.estimates import Sample
from RobustART.metrics.functional import wilson
from RobustART.metrics.resampling import RESAMPLES, draw_counts, interval, resampled_sums
from RobustART.metrics.systems import systems


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


def test_an_interval_that_saw_only_one_thing_is_wilsons():
    """The bootstrap alone would say, with certainty, that it can be nothing else."""
    for value, low, high in ((0.0, *wilson(0, 20)), (100.0, *wilson(20, 20))):
        found = estimates.mean(np.full(20, value))
        assert (found.low, found.high) == pytest.approx((low, high))
    found = estimates.mean(np.full(20, 5.0), upto=15.0)
    assert found.low == pytest.approx(5.0 * 20 / (20 + 1.959964**2))
    assert found.high == pytest.approx(15 - 10.0 * 20 / (20 + 1.959964**2))


def test_every_weighted_mean_has_the_bounds_of_its_weights():
    """Relative CE takes the clean error off, so it is lowest where all clean images are wrong and no noisy one is."""
    found = estimates.resampled(np.zeros((20, 3), bool), {"rise": lambda m: 50 * (m[..., 0] + m[..., 1] - m[..., 2])})
    high, low = 100 * wilson(0, 20)[1] / 100, -50 * wilson(0, 20)[1] / 100
    assert (found["rise"].low, found["rise"].high) == pytest.approx((low, high))
    assert found["rise"].within == (-50, 100)


def test_all_numbers_share_their_resamples():
    """So the difference of two runs is paired: what goes up in all images goes up in all resamples."""
    values = np.random.default_rng(0).random(300)
    first, second = estimates.mean(values, 2), estimates.mean(values + 0.25, 2)
    assert second.draws - first.draws == pytest.approx(0.25)


def test_sets_are_drawn_together_only_where_they_are_of_the_same_images():
    rng = np.random.default_rng(0)
    rows = rng.normal(50, 10, 400), rng.normal(30, 10, 400)

    def half_width(first, second):
        samples = [Sample(rows[0], first), Sample(2 * rows[0].mean() - rows[0], second), Sample(rows[1], "other")]
        found = estimates.of_means(samples, lambda means: means.mean(axis=-1), (0, 100))
        assert found.value == pytest.approx((2 * rows[0].mean() + rows[1].mean()) / 3)
        return (found.high - found.low) / 2

    error = 1.96 * rows[0].std() / np.sqrt(400) / 3, 1.96 * rows[1].std() / np.sqrt(400) / 3
    assert half_width("same", "same") == pytest.approx(error[1], rel=0.1)  # the first two make up for each other
    assert half_width("a", "b") == pytest.approx(np.sqrt(2 * error[0] ** 2 + error[1] ** 2), rel=0.1)


def test_sets_of_different_sizes_are_drawn_apart():
    rng = np.random.default_rng(0)
    samples = [Sample(rng.normal(15, 5, 400), "same"), Sample(rng.normal(15, 5, 100), "same")]
    found = estimates.of_means(samples, lambda means: means.mean(axis=-1), (5, 25))
    error = np.sqrt(sum(sample.values.var() / len(sample.values) for sample in samples)) / 2
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.n == 500


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


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize(
    "rates",
    [np.full(6, 0.9), np.array([0.95, 0.93, 0.9, 0.96, 0.97, 0.94]), np.full(13, 0.7), np.linspace(0.5, 0.6, 3)],
)
def test_intervals_of_systems_hold_the_truth_also_of_few_images(n, rates):
    """Plain percentiles hold the mean 80 times of 100 where nearly all is right, the worst of 13 hardly ever."""
    truth = {"mean_top1": rates.mean(), "std_top1": rates.std(), "worst_top1": rates.min()}
    rng = np.random.default_rng(11)
    held = dict.fromkeys(truth, 0)
    for _ in range(TRIALS):
        metrics = systems([str(i) for i in range(len(rates))], correct_in_cells(rng, n, rates)).metrics
        for name in truth:
            held[name] += (
                metrics[name].low <= 100 * truth[name] + 1e-9 and 100 * truth[name] - 1e-9 <= metrics[name].high
            )
    assert min(held.values()) >= 0.89 * TRIALS, held


def test_systems_that_never_differed_may_still_differ():
    metrics = systems(["a", "b"], np.ones((20, 2), bool)).metrics
    assert (metrics["std_top1"].low, metrics["std_top1"].high) == pytest.approx((0, wilson(0, 20)[1] / 2))
    assert (metrics["worst_top1"].low, metrics["worst_top1"].high) == pytest.approx(wilson(20, 20))


@pytest.mark.parametrize("n", [50, 300])
@pytest.mark.parametrize("off", [0.0, 0.1, 0.3])
def test_intervals_of_calibration_hold_the_truth(off, n):
    """A model that is right with probability confidence - off: both errors are off."""
    held = {"rms_calibration_error": 0, "ece": 0}
    rng = np.random.default_rng(3)
    for _ in range(60):
        confidence = 0.3 + 0.7 * rng.random(n)
        metrics = calibration(confidence, rng.random(n) < confidence - off).metrics
        for name in held:
            held[name] += metrics[name].low <= 100 * off <= metrics[name].high
    assert min(held.values()) >= 0.9 * 60, held


@pytest.mark.parametrize(("apart", "unknown", "known"), [(0.0, 20, 100), (0.5, 20, 100), (1.0, 30, 30), (2.5, 30, 30)])
def test_intervals_of_telling_images_apart_hold_the_truth(apart, unknown, known):
    """Plain percentiles hold AUPR 85, FPR95 72 times of 100 where one kind is rare."""
    rng = np.random.default_rng(5)
    truth = detection(rng.normal(apart, 1, 10_000 * unknown), rng.normal(0, 1, 10_000 * known))
    held = dict.fromkeys(("aupr", "auroc", "fpr95"), 0)
    for _ in range(150):
        metrics = unknown_images(-rng.normal(0, 1, known), -rng.normal(apart, 1, unknown)).metrics
        for name in held:
            held[name] += metrics[name].low <= truth[name] <= metrics[name].high
    assert min(held.values()) >= 0.88 * 150, held


def test_images_that_were_told_apart_perfectly():
    metrics = unknown_images(np.linspace(0.8, 0.9, 30), np.linspace(0.1, 0.2, 20)).metrics
    assert (metrics["auroc"].low, metrics["auroc"].high) == pytest.approx(wilson(20, 20))
    assert (metrics["fpr95"].low, metrics["fpr95"].high) == pytest.approx(wilson(0, 20))


def test_as_many_resamples_as_the_readme_says():
    assert RESAMPLES == 2000


def test_an_interval_holds_its_value():
    """Also where all resamples lie to one side of it."""
    found = estimates.from_draws(3.0, np.linspace(4.0, 5.0, 100), 10**9)
    assert (found.low, found.value) == (pytest.approx(3.0), 3.0)
    assert found.low <= 3.0
    assert 4.9 < found.high < 5.0


def test_an_interval_stays_where_the_number_can_be():
    found = calibration(np.full(20, 0.99), np.arange(20) < 2).metrics["ece"]
    assert found.value == pytest.approx(89.0)
    assert found.high == 100.0
    spread = systems(["a", "b"], np.stack([np.arange(20) < 18, np.arange(20) >= 18], axis=1)).metrics["std_top1"]
    assert spread.value == pytest.approx(40.0)
    assert spread.high == 50.0


def test_a_ratio_over_what_is_often_nothing_has_no_interval():
    own, base = Sample(np.full(20, 10.0), "own"), Sample(np.eye(20)[0] * 100.0, "base")
    found = estimates.of_means([own, base], lambda means: 100 * means[..., 0] / means[..., 1], (0, 1000))
    assert found.value == pytest.approx(200.0)
    assert (found.low, found.high) == (None, None)
    assert str(found) == "200.00"
