"""The worked numbers in the docstrings of the metrics."""

import doctest
import importlib
import pkgutil

import pytest

from RobustART import metrics

MODULES = sorted(module.name for module in pkgutil.walk_packages(metrics.__path__, f"{metrics.__name__}."))
WORKED = {
    "calibration": ("rms_calibration_error", "expected_calibration_error", "aurra"),
    "corruption": ("corruption_errors", "relative_corruption_errors", "mean_corruption_error"),
    "detection": ("detection",),
    "functional": ("wilson", "label_rank", "masked_scores"),
    "paired": ("mcnemar", "paired_difference", "holm"),
    "stability": ("flip_probability", "top5_distance"),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(("module", "function"), [(module, name) for module, names in WORKED.items() for name in names])
def test_a_metric_has_a_worked_number(module, function):
    documented = importlib.import_module(f"{metrics.__name__}.{module}")
    assert ">>> " in getattr(documented, function).__doc__
