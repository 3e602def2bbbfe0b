"""What a benchmark's builder returns: cells, passes, and the benchmark they make."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from RobustART.core.options import checked, option_defaults
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ConfigError
from RobustART.metrics.spec import BENCHMARKS, BenchmarkSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from RobustART.core.imaging import Array
    from RobustART.data import ImageDataset, Sample
    from RobustART.data.loader import View
    from RobustART.models import Classifier


@dataclasses.dataclass(frozen=True)
class Batched:
    """How a view is made for many images at once, on a device: the loader makes ``source``, ``change`` the view of it."""

    source: View
    """What is shipped, without draws."""
    key: str
    """Sources of one key, and views of that ``view_key``, are shipped once."""
    change: Callable[..., Tensor]
    """(images uint8 (N, S, S, 3) on any device, *, rngs) -> uint8 (N, S, S, 3), with the draws that the view would make."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One column of the results: how an image is seen, and how it is attacked."""

    name: str
    """Unique in its pass; its draws depend on it."""
    view: View
    """Made by a loader process."""
    coordinates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Where the cell is in the benchmark, as plain data: ``{"corruption": "fog", "severity": 3}``."""
    attack: Callable[..., Tensor] | None = None
    """(model, images, labels, *, seeds) -> images, on the device."""
    view_key: str = ""
    """Cells of one key are seen through one view, which is made once; the name by default."""
    attack_key: str = ""
    """Cells of one key, view and victim share the images of one attack, made once; the name by default."""
    victim: str | None = None
    """Name of the model that is attacked, on the images that it sees right; None is the one under evaluation."""
    judge: str | None = None
    """Name of the model whose predictions are recorded; None is the one under evaluation."""
    batched: Batched | None = None
    """Makes the view in an evaluation, where there is one; ``view`` is then what it stands for, within rounding."""


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
    preprocessing: Callable[[Preprocessing], Preprocessing] | None = None
    """What this data set needs instead of the model's own preprocessing, made from it; the input size must stay."""
    measure: Callable[[Tensor, Tensor], Mapping[str, Tensor]] | None = None
    """(views uint8 (N, V, S, S, 3), logits (N, V, K)) -> further numbers to record, each (N, V, ...), by name."""
    reference: str | None = None
    """The cell that the others differ too little from to see it: a picture shows them as amplified differences."""

    def prepare(self, preprocessing: Preprocessing) -> Preprocessing:
        """Returns the preprocessing of this pass for a model with the given one."""
        return self.preprocessing(preprocessing) if self.preprocessing else preprocessing

    def measured(self, views: Tensor, logits: Tensor, columns: Sequence[int]) -> list[dict[str, list[Any]]]:
        """Returns, for each image, what :attr:`measure` finds as a list over cells, by name; nothing where there is none.

        Args:
            views: uint8 (N, V, S, S, 3).
            logits: (N, V, K).
            columns: the view of each cell.
        """
        found = self.measure(views, logits) if self.measure else {}
        plain = {
            name: (values.double().mul(1e8).round() / 1e8 if values.is_floating_point() else values)[
                :, columns
            ].tolist()
            for name, values in found.items()
        }
        return [{name: values[row] for name, values in plain.items()} for row in range(len(views))]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is measured on one model."""

    spec: BenchmarkSpec
    """The benchmark it is of."""
    passes: tuple[Pass, ...]
    """Data sets and cells."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """All options, defaults too, each in one spelling: they are conditions of the result. A builder gives those that
    differ from what it was given, such as ``["fog"]`` for ``"fog"``."""
    folders: dict[str, str] = dataclasses.field(default_factory=dict)
    """Where its files are. That is no condition of the result; the fingerprint of their content is one."""
    notes: tuple[str, ...] = ()
    """Warnings of the report, such as that of an incomplete data set."""
    notes_on: Callable[[Preprocessing], tuple[str, ...]] | None = None
    """Further warnings for a model of a preprocessing, such as that the images were generated for another one."""
    uses: tuple[Callable[..., Any], ...] = ()
    """Functions that its views call by name, such as corruptions; the source of a user's own is a condition."""
    models: dict[str | None, Classifier] = dataclasses.field(default_factory=dict)
    """Models beside the one under evaluation, by the names that cells give them."""

    @property
    def name(self) -> str:
        """Its name, and that of its result file."""
        return self.spec.name


PLACES = ("root_dir", "meta")
"""Options that say where files lie."""
READING = ("preprocess", "decoder", "exif_orientation")
"""Options that say how files are read; without files they are no part of a result."""
STORED = "stored"
"""Name of the cell of published images as they are stored."""


def build_benchmark(name: str, dataset: ImageDataset | None, options: Mapping[str, Any] | None = None) -> Benchmark:
    """Returns the benchmark of a name over a data set.

    Args:
        name: in :data:`~RobustART.metrics.spec.BENCHMARKS`, or ``module:spec``.
        dataset: clean images; None will do for a benchmark that is a data set of its own.
        options: its options.

    Raises:
        UnknownNameError: there is no such benchmark.
        ConfigError: an option is unknown or impossible, or the benchmark needs clean images.
    """
    spec = BENCHMARKS[name]
    if spec.name not in BENCHMARKS:  # named module:spec, by a module that does not register it
        BENCHMARKS.add(spec.name, spec)
    elif BENCHMARKS[spec.name] is not spec:
        raise ConfigError(f"the benchmark {name} has the name {spec.name!r}, which is that of another benchmark")
    builder = spec.build
    given = checked(builder, {} if options is None else options, f"the benchmark {name}")
    benchmark = builder(dataset, **given)
    known = option_defaults(builder)
    if any(part.dataset is None for part in benchmark.passes):
        files = "; or the folder of its files in its option root_dir" if "root_dir" in known else ""
        raise ConfigError(
            f"the benchmark {name} needs images: name them in data.test, such as data: {{test: {{root_dir: ...}}}}{files}"
        )
    every = {**known, **given, **benchmark.options}
    made = "root_dir" in every and every["root_dir"] is None
    folders = {key: os.fspath(every[key]) for key in PLACES if every.get(key) is not None}
    left_out = (*PLACES, *READING) if made else PLACES
    every = {key: value for key, value in every.items() if key not in left_out} | ({"root_dir": None} if made else {})
    return dataclasses.replace(benchmark, options=every, folders=folders)


def refuse_without_files(benchmark: str, **given: Any) -> None:
    """Raises a ConfigError if options that say how files are read are given where ``root_dir`` names none.

    Args:
        benchmark: its name.
        given: values of those options; what differs from the default is refused.
    """
    defaults = option_defaults(BENCHMARKS[benchmark].build)
    for name, value in given.items():
        if value != defaults[name]:
            raise ConfigError(
                f"{benchmark}.{name} is {value!r}, but that is for published files, and {benchmark}.root_dir names none; "
                "clean images are read as data.test says"
            )


def class_list(name: str) -> tuple[int, ...]:
    """Returns the classes of a published set, from the file ``{name}_classes.txt`` of this package."""
    text = resources.files(__package__).joinpath(f"{name}_classes.txt").read_text(encoding="utf-8")
    return tuple(int(line) for line in text.split())


def clean_view(sample: Sample, rng: np.random.Generator) -> Array:
    """The image as the model takes it."""
    return sample.crop
