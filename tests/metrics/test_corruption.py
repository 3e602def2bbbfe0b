"""ImageNet-C's errors: AlexNet against itself, a published row, hand computation."""

import numpy as np
import pytest

from RobustART.metrics import UndefinedError
from RobustART.metrics import corruption as C
from RobustART.metrics.baselines import ALEXNET_CLEAN_ERROR, alexnet_corruption_errors
from RobustART.metrics.corruption import GROUPS, SCORED, group_of
from RobustART.noise.corruptions import CORRUPTIONS
from tests.conftest import ROOT


def test_groups_are_those_of_the_corruptions():
    assert list(SCORED) == [name for name in alexnet_corruption_errors() if name not in GROUPS["extra"]]
    for group, names in GROUPS.items():
        assert {group_of(name) for name in names} == {group}
    assert {name for names in GROUPS.values() for name in names} == set(CORRUPTIONS)


def test_there_is_one_table_of_groups():
    """A second one could drift: the report's pages and the metrics read the same."""
    holders = [
        path.name for path in (ROOT / "RobustART").rglob("*.py") if '"defocus_blur", "glass_blur"' in path.read_text()
    ]
    assert holders == ["corruption.py"]


def test_alexnets_own_errors_give_an_mce_of_100():
    errors = alexnet_corruption_errors()
    assert len(errors) == 19
    own = {name: errors[name] for name in SCORED}
    assert C.mean_corruption_error(own, errors) == pytest.approx(100)
    assert C.relative_mean_corruption_error(own, ALEXNET_CLEAN_ERROR, errors, ALEXNET_CLEAN_ERROR) == pytest.approx(100)
    halved = {name: [value / 2 for value in values] for name, values in errors.items()}
    assert C.mean_corruption_error(halved, errors) == pytest.approx(50)
    # The denominators of the official score, as easyrobust lists them.
    assert np.mean(errors["gaussian_noise"]) == pytest.approx(0.886428, abs=1e-6)
    assert np.mean(errors["jpeg_compression"]) == pytest.approx(0.606500, abs=1e-6)


def test_relative_ce_by_hand():
    """Clean error 0.2, then 0.3 and 0.5; the baseline's 0.4, then 0.6 and 0.8: a rise of 0.4 over one of 0.6."""
    errors, baseline = {"fog": [0.3, 0.5]}, {"fog": [0.6, 0.8], "snow": [1.0, 1.0]}
    assert C.relative_corruption_errors(errors, 0.2, baseline, 0.4)["fog"] == pytest.approx(100 * 0.4 / 0.6)
    assert C.corruption_errors(errors, baseline)["fog"] == pytest.approx(100 * 0.8 / 1.4)


def test_many_models_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    baseline = {"fog": [0.6, 0.8], "snow": [0.5, 0.9]}
    errors = {name: rng.random((4, 2)) for name in baseline}
    clean = rng.random(4) / 10
    whole = C.relative_corruption_errors(errors, clean, baseline, 0.4)
    for i in range(4):
        alone = C.relative_corruption_errors({n: e[i] for n, e in errors.items()}, clean[i], baseline, 0.4)
        assert {name: values[i] for name, values in whole.items()} == pytest.approx(alone)


@pytest.mark.parametrize(
    ("errors", "baseline", "reason"),
    [
        ({}, {}, "over no corruptions"),
        ({"fog": [1.0]}, {"snow": [1.0]}, "CE of fog is undefined: the baseline has no such corruption"),
        ({"fog": [1.0]}, {"fog": [1.0, 1.0]}, "it has 1 severities, the baseline 2"),
        ({"fog": [1.0]}, {"fog": [0.0]}, "the baseline's errors are 0"),
        ({"fog": [np.nan]}, {"fog": [1.0]}, "an error is not a number"),
    ],
)
def test_undefined(errors, baseline, reason):
    with pytest.raises(UndefinedError, match=reason):
        C.mean_corruption_error(errors, baseline)


def test_a_baseline_that_does_not_suffer_is_no_denominator():
    with pytest.raises(UndefinedError, match="error does not rise under fog"):
        C.relative_corruption_errors({"fog": [0.5]}, 0.1, {"fog": [0.4]}, 0.4)
