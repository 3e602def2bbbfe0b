"""Metrics: pure functions of arrays, and evaluators of result files. Nothing here imports torch."""

from RobustART.errors import UndefinedError
from RobustART.metrics.comparison import compare
from RobustART.metrics.evaluators import (
    AdvRobustEvaluator,
    ImageNetAEvaluator,
    ImageNetCEvaluator,
    ImageNetEvaluator,
    ImageNetOEvaluator,
    ImageNetPEvaluator,
    ImageNetSEvaluator,
    WorstCaseAdvRobustEvaluator,
)
from RobustART.metrics.results import Estimate, Metric, Summary

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
    "WorstCaseAdvRobustEvaluator",
    "compare",
]
