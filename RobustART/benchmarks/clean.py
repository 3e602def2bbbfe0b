"""Accuracy on clean images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from RobustART.benchmarks.building import Benchmark, Cell, Pass, clean_view
from RobustART.metrics.estimates import top_k
from RobustART.metrics.reading import check_one_cell, competing_classes, single_pass
from RobustART.metrics.results import Summary
from RobustART.metrics.spec import Axis, BenchmarkSpec, Entry, MetricSpec, add_benchmark
from RobustART.records.lines import CLEAN, Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from RobustART.data import ImageDataset

TOP1 = MetricSpec("top1", "Percentage of images whose true class has the highest score.", "high", headline=True)
TOP5 = MetricSpec("top5", "Percentage of images whose true class is among the five highest scores.", "high")


def build(dataset: ImageDataset) -> Benchmark:
    """Returns the evaluation of clean images."""
    return Benchmark(SPEC, (Pass(dataset, (Cell(CLEAN, clean_view),)),))


def summarize(records: Records) -> Summary:
    """Returns top-1 and top-5 accuracy of the first cell."""
    return top_k(single_pass(records).label_rank[:, 0], (1, 5), competing_classes(records))


def _axes(entry: Entry) -> Iterator[Axis]:
    yield Axis(CLEAN, "top-1 accuracy without noise", entry["metrics"]["top1"])


SPEC = add_benchmark(
    BenchmarkSpec(
        CLEAN, build, summarize, (TOP1, TOP5), title="clean images", noise="none", check=check_one_cell, axes=_axes,
        evaluator="ImageNetEvaluator",
    ),
)  # fmt: skip
