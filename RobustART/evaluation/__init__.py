"""Evaluation: benchmarks as data, one engine, one report. ``evaluate(model, dataset, benchmarks)`` is the way in."""

from RobustART.benchmarks import BENCHMARKS, Benchmark, Cell, Pass
from RobustART.evaluation.report import Report
from RobustART.evaluation.run import evaluate

__all__ = ["BENCHMARKS", "Benchmark", "Cell", "Pass", "Report", "evaluate"]
