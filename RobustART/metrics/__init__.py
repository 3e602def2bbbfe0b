"""Metrics: pure functions in ``functional`` and evaluators over result files. Nothing here imports torch."""

from RobustART.metrics.estimates import Estimate, Metric, Summary
from RobustART.metrics.evaluators import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
)
from RobustART.metrics.functional import UndefinedError

__all__ = [
    "AdvRobustEvaluator",
    "Estimate",
    "ImageNetAEvaluator",
    "ImageNetCEvaluator",
    "ImageNetEvaluator",
    "ImageNetOEvaluator",
    "ImageNetPEvaluator",
    "ImageNetSEvaluator",
    "Metric",
    "Summary",
    "UndefinedError",
]
