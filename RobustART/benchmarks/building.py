"""The result of a benchmark's builder: cells, passes, and the benchmark that they form."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from RobustART.core.options import checked, option_defaults
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ConfigError, UserError, reason
from RobustART.metrics.spec import BENCHMARKS, BenchmarkSpec
from RobustART.records.comparability import PLACES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from RobustART.core.imaging import Array
    from RobustART.data import ImageDataset, Sample
    from RobustART.data.loader import View
    from RobustART.models import Classifier


@dataclasses.dataclass(frozen=True)
class Batched:
    """A view that is made in batches on a device: the loader makes ``source``, and ``change`` turns it into the view."""

    source: View
    """View that the loader makes, without random draws."""
    key: str
    """Sources with the same key, and views with this ``view_key``, are made once."""
    change: Callable[..., Tensor]
    """(images uint8 (N, S, S, 3) on any device, *, rngs) -> uint8 (N, S, S, 3), with the same draws as the view."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One column of the results: a view of the images, and an optional attack."""

    name: str
    """Name, unique in the pass; it determines the random draws."""
    view: View
    """View of an image, made by a loader process."""
    coordinates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Coordinates of the cell in the benchmark, as JSON data: ``{"corruption": "fog", "severity": 3}``."""
    attack: Callable[..., Tensor] | None = None
    """(model, images, labels, *, seeds) -> images, on the device."""
    view_key: str = ""
    """Cells with the same key share one view; the name by default."""
    attack_key: str = ""
    """Cells with the same key, view and victim share the images of one attack; the name by default."""
    victim: str | None = None
    """Name of the attacked model; it is attacked on the images that it classifies correctly. None is the one under
    evaluation."""
    judge: str | None = None
    """Name of the model whose predictions are recorded; None is the one under evaluation."""
    batched: Batched | None = None
    """Makes the view in batches during an evaluation; it equals ``view`` up to rounding. None uses ``view``."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """An attack without gradients that tries some of the images that all attacks of some cells have left."""

    name: str
    """Name, unique in the pass; it determines the random draws."""
    cells: tuple[str, ...]
    """Cells whose attacks must have left an image; they have one view and attack and judge one model."""
    attack: Callable[..., Tensor]
    """(model, images, labels, *, seeds) -> images, on the device."""
    images: int = 64
    """Largest number of images; the blocks of a pass have fixed shares of it."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """One data set with all its cells; each image is decoded once."""

    dataset: ImageDataset
    """The images."""
    cells: tuple[Cell, ...]
    """The columns."""
    classes: tuple[int, ...] | None = None
    """Competing classes, to which predictions, confidences and ranks are restricted; None is all."""
    name: str = ""
    """Name, unique in the benchmark."""
    preprocessing: Callable[[Preprocessing], Preprocessing] | None = None
    """Returns the preprocessing of this data set from the model's, with the same input size; None uses the model's."""
    measure: Callable[[Tensor, Tensor], Mapping[str, Tensor]] | None = None
    """(views uint8 (N, V, S, S, 3), logits (N, V, K)) -> extra numbers to record, each (N, V, ...), by name."""
    probes: tuple[Probe, ...] = ()
    """Checks of attacks that use gradients."""
    reference: str | None = None
    """Cell from which the others differ too little to be visible; example images show them as amplified differences."""

    def prepare(self, preprocessing: Preprocessing) -> Preprocessing:
        """Returns the preprocessing of this pass for a model with the given one."""
        return self.preprocessing(preprocessing) if self.preprocessing else preprocessing

    def measured(self, views: Tensor, logits: Tensor, columns: Sequence[int]) -> list[dict[str, list[Any]]]:
        """Returns for each image the extra numbers of :attr:`measure`, as lists over cells, by name.

        Args:
            views: all views, uint8 (N, V, S, S, 3).
            logits: logits of all views, (N, V, K).
            columns: index of each cell's view.
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
    """A benchmark with its options applied, ready to run."""

    spec: BenchmarkSpec
    """Spec of the benchmark."""
    passes: tuple[Pass, ...]
    """Data sets with their cells."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """All options, including defaults, in canonical form: they are conditions of the result. A builder returns those whose
    form it changes, such as ``["fog"]`` for ``"fog"``."""
    folders: dict[str, str] = dataclasses.field(default_factory=dict)
    """Locations of the files. They are not conditions of the result; the fingerprint of the files is."""
    notes: tuple[str, ...] = ()
    """Warnings of the report, such as that the data set is incomplete."""
    notes_on: Callable[[Preprocessing], tuple[str, ...]] | None = None
    """Returns further warnings for a model's preprocessing, such as that the images were generated for another one."""
    uses: tuple[Callable[..., Any], ...] = ()
    """Functions that the views call by name, such as corruptions; the source of a user's own function is a condition."""
    models: dict[str | None, Classifier] = dataclasses.field(default_factory=dict)
    """Models other than the one under evaluation, by the names in the cells."""

    @property
    def name(self) -> str:
        """Name of the benchmark and of its result file."""
        return self.spec.name


READING = ("preprocess", "decoder", "exif_orientation")
"""Options that determine how files are read; without files they are not conditions of a result."""
STORED = "stored"
"""Name of the cell of published images that are evaluated as stored."""


def build_benchmark(name: str, dataset: ImageDataset | None, options: Mapping[str, Any] | None = None) -> Benchmark:
    """Builds a benchmark on a data set.

    Args:
        name: name in :data:`~RobustART.metrics.spec.BENCHMARKS`, or ``module:spec``.
        dataset: clean images; may be None for a benchmark with its own data set.
        options: options of the benchmark.

    Raises:
        UnknownNameError: the benchmark is unknown.
        ConfigError: an option is unknown or invalid, or the benchmark needs clean images.
    """
    spec = BENCHMARKS[name]
    if spec.name not in BENCHMARKS:  # named module:spec, by a module that does not register it
        BENCHMARKS.add(spec.name, spec)
    elif BENCHMARKS[spec.name] is not spec:
        raise ConfigError(f"the benchmark {name} has the name {spec.name!r}, which another benchmark has already")
    builder = spec.build
    given = checked(builder, {} if options is None else options, f"the benchmark {name}")
    try:
        benchmark = builder(dataset, **given)
    except UserError:
        raise
    except Exception as error:
        raise ConfigError(f"the benchmark {name} cannot be built: {reason(error)}") from error
    known = option_defaults(builder)
    if any(part.dataset is None for part in benchmark.passes):
        files = "; or set its option root_dir to the folder of its files" if "root_dir" in known else ""
        raise ConfigError(
            f"the benchmark {name} needs images: set data.test, such as data: {{test: {{root_dir: ...}}}}{files}"
        )
    every = {**known, **given, **benchmark.options}
    made = "root_dir" in every and every["root_dir"] is None
    folders = {key: os.fspath(every[key]) for key in PLACES if every.get(key) is not None}
    left_out = (*PLACES, *READING) if made else PLACES
    every = {key: value for key, value in every.items() if key not in left_out} | ({"root_dir": None} if made else {})
    return dataclasses.replace(benchmark, options=every, folders=folders)


def refuse_without_files(benchmark: str, **given: Any) -> None:
    """Raises a ConfigError if options for published files are set although ``root_dir`` is not.

    Args:
        benchmark: name of the benchmark.
        given: values of the options; each must be the default.
    """
    defaults = option_defaults(BENCHMARKS[benchmark].build)
    for name, value in given.items():
        if value != defaults[name]:
            raise ConfigError(
                f"{benchmark}.{name} is {value!r}, but it applies to published files only, and {benchmark}.root_dir is not "
                "set; data.test determines how clean images are read"
            )


def class_list(name: str) -> tuple[int, ...]:
    """Returns the classes of a published data set, from the file ``{name}_classes.txt`` of this package."""
    text = resources.files(__package__).joinpath(f"{name}_classes.txt").read_text(encoding="utf-8")
    return tuple(int(line) for line in text.split())


def clean_view(sample: Sample, rng: np.random.Generator) -> Array:
    """Returns the model's input without noise."""
    return sample.crop
