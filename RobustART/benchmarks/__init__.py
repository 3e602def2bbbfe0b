"""Benchmarks. One file contains everything the package knows of a benchmark; importing it does not import torch.

A benchmark is a :class:`BenchmarkSpec` in :data:`BENCHMARKS`: its metrics, the function from records to numbers, their
presentation on pages, and a builder that returns the cells to run. CONTRIBUTING shows how to add one.
"""

from RobustART.benchmarks import (  # noqa: F401 - these modules register their specs
    adversarial,
    cifar_c,
    clean,
    corruption_sets,
    imagenet_c,
    imagenet_o,
    imagenet_p,
    imagenet_s,
    photos,
    transfer,
)
from RobustART.benchmarks.building import Batched, Benchmark, Cell, Pass, build_benchmark, clean_view
from RobustART.benchmarks.layout import Layout
from RobustART.metrics.spec import (
    BENCHMARKS,
    Axis,
    BenchmarkSpec,
    Companions,
    Headline,
    MetricSpec,
    TableSpec,
    add_benchmark,
)

__all__ = [
    "BENCHMARKS",
    "Axis",
    "Batched",
    "Benchmark",
    "BenchmarkSpec",
    "Cell",
    "Companions",
    "Headline",
    "Layout",
    "MetricSpec",
    "Pass",
    "TableSpec",
    "add_benchmark",
    "build_benchmark",
    "clean_view",
]
