"""What a benchmark is: cells, passes, and a function from records to numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from RobustART.data import ImageDataset, Sample, View
from RobustART.errors import ConfigError
from RobustART.imaging import Array
from RobustART.metrics.estimates import Summary
from RobustART.models import Classifier
from RobustART.options import check_options, option_defaults
from RobustART.records import Records
from RobustART.registry import Registry


@dataclasses.dataclass(frozen=True)
class Cell:
    """One column of the results: how an image is seen, and how it is attacked."""

    name: str
    """Unique in its pass."""
    view: View
    """Made by a loader process; cells that share the object share the work."""
    attack: Callable[..., Tensor] | None = None
    """(model, images, labels, *, seeds) -> images, on the device. Cells that share the object share its images."""
    victim: str | None = None
    """Name of the model that is attacked, on the images that it sees right; None is the one under evaluation."""
    judge: str | None = None
    """Name of the model whose predictions are recorded; None is the one under evaluation."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """One data set with all the cells it is seen through; each image is decoded once."""

    dataset: ImageDataset
    """The images."""
    cells: tuple[Cell, ...]
    """The columns."""
    classes: tuple[int, ...] | None = None
    """Only these classes compete: predictions, confidences and ranks are among them. None is all."""
    name: str = ""
    """Tells passes of one benchmark apart."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is measured on one model."""

    name: str
    """Name of the result file."""
    passes: tuple[Pass, ...]
    """Data sets and cells."""
    summarize: Callable[[Records], Summary]
    """From the result file to numbers."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """All options, defaults too: they belong to the result. A builder gives those that differ from what it was given."""
    models: dict[str | None, Classifier] = dataclasses.field(default_factory=dict)
    """Other models than the one under evaluation, by the names that cells give them."""


Builder = Callable[..., Benchmark]
BENCHMARKS: Registry[Builder] = Registry("benchmark")
"""Names to functions (dataset, *, options) -> :class:`Benchmark`."""


def build_benchmark(name: str, dataset: ImageDataset, options: Mapping[str, Any] | None = None) -> Benchmark:
    """Returns the benchmark of a name over a data set.

    Raises:
        UnknownNameError: there is no such benchmark.
        ConfigError: an option is unknown or impossible.
    """
    builder = BENCHMARKS[name]
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"the options of the benchmark {name} must be a mapping, got {options!r}")
    given = dict(options or {})
    check_options(given, builder, f"the benchmark {name}")
    benchmark = builder(dataset, **given)
    options = {**option_defaults(builder), **given, **benchmark.options}
    return dataclasses.replace(benchmark, options=options)


def clean_view(sample: Sample, rng: np.random.Generator) -> Array:
    """The image as the model takes it."""
    return sample.crop


def as_list(value: Any, kind: Any, where: str) -> list[Any]:
    """Returns one entry or a list of them as a list; anything else is a ConfigError that names ``where``."""
    if isinstance(value, kind) and not isinstance(value, bool):
        return [value]
    entries = list(value) if isinstance(value, (list, tuple, range)) else None
    if entries is None or not all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in entries):
        raise ConfigError(f"{where} must be one entry or a list of them, got {value!r}")
    return entries
