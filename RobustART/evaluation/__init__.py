"""Evaluation of a model on benchmarks. ``evaluate(model, dataset, benchmarks)`` is the entry point."""

from RobustART.benchmarks import BENCHMARKS, Benchmark, Cell, Pass
from RobustART.evaluation.run import evaluate
from RobustART.report import Report

__all__ = ["BENCHMARKS", "Benchmark", "Cell", "Pass", "Report", "evaluate"]
