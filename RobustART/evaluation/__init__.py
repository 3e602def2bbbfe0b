"""Evaluation: benchmarks as data, one engine, one report. ``evaluate(model, dataset, benchmarks)`` is the way in."""

from RobustART.benchmarks import BENCHMARKS, Benchmark, Cell, Pass
from RobustART.evaluation.run import evaluate
from RobustART.report import Report

__all__ = ["BENCHMARKS", "Benchmark", "Cell", "Pass", "Report", "evaluate"]
