"""Benchmarks as data. Adding one is adding a record to a file here; the engine knows none of them."""

from RobustART.benchmarks import (  # noqa: F401 - they register their benchmarks
    adversarial,
    cifar,
    natural,
    perturbed,
    published,
    shifted,
    system,
)
from RobustART.benchmarks.core import BENCHMARKS, Batched, Benchmark, Cell, Pass, build_benchmark, clean_view

__all__ = ["BENCHMARKS", "Batched", "Benchmark", "Cell", "Pass", "build_benchmark", "clean_view"]
