"""Benchmarks as data: cells, passes, and a function from records to numbers. Adding one never touches the engine."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from RobustART.data import ImageDataset, Sample, View
from RobustART.data.datasets import image_folder
from RobustART.errors import ConfigError, DataError
from RobustART.imaging import Array, decode, encode_jpeg
from RobustART.metrics import summaries
from RobustART.metrics.baselines import imagenet_a_classes
from RobustART.metrics.estimates import Summary
from RobustART.noise.attacks import ATTACKS
from RobustART.noise.corruptions import CORRUPTIONS, corrupt
from RobustART.noise.defaults import DEFAULT_EPS
from RobustART.options import attack_norm, check_options, format_eps, option_defaults, parse_number
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
    """(model, images, labels, *, seeds) -> images, on the device; only images seen right are attacked."""


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
    """All options, defaults too: they belong to the result."""


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
    return dataclasses.replace(benchmark, options={**option_defaults(builder), **given})


def clean_view(sample: Sample, rng: np.random.Generator) -> Array:
    """The image as the model takes it."""
    return sample.crop


def corrupted_view(sample: Sample, rng: np.random.Generator, *, name: str, severity: int, quality: int | None) -> Array:
    """The model's crop, corrupted, in the order of the official generator: crop first."""
    image = corrupt(sample.crop, name, severity, rng)
    return image if quality is None else decode(encode_jpeg(image, quality))


@BENCHMARKS.register("clean")
def clean(dataset: ImageDataset) -> Benchmark:
    """Returns accuracy without noise."""
    return Benchmark("clean", (Pass(dataset, (Cell("clean", clean_view),)),), summaries.classification)


@BENCHMARKS.register("imagenet_a")
def imagenet_a(dataset: ImageDataset, *, root_dir: str, masked: bool = True) -> Benchmark:
    """Returns ImageNet-A from its published folder (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).

    Args:
        dataset: not used; ImageNet-A is a data set of its own.
        root_dir: the folder ``imagenet-a`` with one folder per WordNet id.
        masked: whether only its 200 classes compete, as in the official evaluation.
    """
    if not isinstance(root_dir, (str, Path)):
        raise ConfigError(f"imagenet_a.root_dir must be a folder, got {root_dir!r}")
    images = image_folder(root_dir)
    foreign = sorted(set(images.labels) - set(imagenet_a_classes()))
    if images.class_names is not None or foreign:
        raise DataError(f"{root_dir} must hold folders named by the WordNet ids of ImageNet-A's 200 classes")
    classes = imagenet_a_classes() if masked else None
    return Benchmark("imagenet_a", (Pass(images, (Cell("clean", clean_view),), classes),), summaries.imagenet_a)


@BENCHMARKS.register("imagenet_c")
def imagenet_c(
    dataset: ImageDataset,
    *,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    jpeg_quality: int | None = None,
    backend: str = "imagecorruptions",
) -> Benchmark:
    """Returns ImageNet-C made on the fly from clean images (Hendrycks and Dietterich 2019).

    Args:
        dataset: clean images.
        corruptions: names in ``CORRUPTIONS``; all 19 by default.
        severities: from 1 to 5.
        jpeg_quality: store each image as JPEG of this quality and read it again; the published files went through 85.
        backend: ``imagecorruptions``, the only one there is.
    """
    if backend != "imagecorruptions":
        raise ConfigError(f"imagenet_c.backend must be 'imagecorruptions', got {backend!r}")
    names = as_list(corruptions, str, "imagenet_c.corruptions")
    levels = as_list(severities, (int, np.integer), "imagenet_c.severities")
    if not names or not levels:
        raise ConfigError("imagenet_c needs at least one corruption and one severity")
    for level in levels:
        if isinstance(level, bool) or level not in (1, 2, 3, 4, 5):
            raise ConfigError(f"imagenet_c.severities must be from 1 to 5, got {level!r}")
    for values, option in ((names, "corruptions"), (levels, "severities")):
        if len(set(values)) < len(values):
            raise ConfigError(f"imagenet_c.{option} names something twice: {values}")
    if jpeg_quality is not None:
        encode_jpeg(np.zeros((8, 8, 3), np.uint8), jpeg_quality)
    for name in names:
        CORRUPTIONS[name]
    cells = tuple(
        Cell(f"{name}/{level}", functools.partial(corrupted_view, name=name, severity=level, quality=jpeg_quality))
        for name in names
        for level in levels
    )
    return Benchmark("imagenet_c", (Pass(dataset, cells),), summaries.imagenet_c)


@BENCHMARKS.register("adversarial")
def adversarial(
    dataset: ImageDataset,
    *,
    attacks: Sequence[Any] = ("fgsm", "pgd_linf"),
    eps: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    stop: str | None = "first",
) -> Benchmark:
    """Returns white-box attacks on the true label.

    Args:
        dataset: clean images.
        attacks: names in ``ATTACKS``, or ``{name: {option: value}}`` for one with options of its own.
        eps: radii for all attacks, or a mapping from norm (``Linf``, ``L2``, ``L1``) or attack to radii. Norms that
            are not named have the benchmark's three: 0.5/255, 2/255, 8/255; 0.5, 2, 8; 100, 400, 1600.
        stop: ``first`` ends an image's attack when it is fooled; null runs all steps, as papers' figures do.
    """
    specs = [_attack_spec(item) for item in as_list(attacks, (str, Mapping), "adversarial.attacks")]
    if not specs:
        raise ConfigError("adversarial.attacks must name at least one attack")
    names = [name for name, _ in specs]
    if len(set(names)) < len(names):
        raise ConfigError(f"adversarial.attacks names an attack twice: {names}")
    norm_of = {name: options.get("norm", attack_norm(name)) for name, options in specs}
    norms = set(norm_of.values())
    if eps is not None and not isinstance(eps, Mapping) and len(norms) > 1:
        raise ConfigError(
            f"adversarial.eps is one list, but the attacks are of the norms {', '.join(sorted(norms))}, whose radii "
            "cannot be compared; say eps: {Linf: [...], L2: [...]}"
        )
    if isinstance(eps, Mapping):
        for key in eps:
            if key not in norms and key not in names:
                raise ConfigError(f"adversarial.eps names {key!r}, which is neither a norm nor one of these attacks")
    cells = [Cell("clean", clean_view)]
    for name, options in specs:
        function = ATTACKS[name]
        given = {**({"stop": stop} if "stop" in option_defaults(function) else {}), **options}
        if "eps" in given:
            raise ConfigError(
                f"the radii of {name} do not stand with its options; say adversarial.eps: {{{name}: [...]}}"
            )
        check_options({"eps": 0, **given}, function, f"the attack {name}", hidden=("seeds", "log"))
        for radius in _radii(name, norm_of[name], eps):
            attack = functools.partial(function, eps=radius, **given)
            _try_options(attack, name)
            cells.append(Cell(f"{name}/{format_eps(radius, norm_of[name])}", clean_view, attack))
    return Benchmark("adversarial", (Pass(dataset, tuple(cells)),), summaries.adversarial)


def _attack_spec(item: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, Mapping) and len(item) == 1:
        name, options = next(iter(item.items()))
        if options is None or isinstance(options, Mapping):
            return str(name), dict(options or {})
    raise ConfigError(f"an entry of adversarial.attacks must be a name or {{name: {{option: value}}}}, got {item!r}")


def as_list(value: Any, kind: Any, where: str) -> list[Any]:
    """Returns one entry or a list of them as a list; anything else is a ConfigError that names ``where``."""
    if isinstance(value, kind) and not isinstance(value, bool):
        return [value]
    entries = list(value) if isinstance(value, (list, tuple, range)) else None
    if entries is None or not all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in entries):
        raise ConfigError(f"{where} must be one entry or a list of them, got {value!r}")
    return entries


def _try_options(attack: Callable[..., Tensor], name: str) -> None:
    """Raises what the attack itself says of its options, by running it on no images."""
    images, labels = torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.long)
    try:
        attack(lambda x: x.flatten(1)[:, :10], images, labels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the options of the attack {name}: {error}") from error


def _radii(name: str, norm: str, eps: Any) -> list[float]:
    if norm not in DEFAULT_EPS:
        raise ConfigError(f"the norm of {name} must be one of {', '.join(DEFAULT_EPS)}, got {norm!r}")
    if isinstance(eps, Mapping):
        eps = eps.get(name, eps.get(norm))
    values = DEFAULT_EPS[norm] if eps is None else as_list(eps, (int, float, str), "adversarial.eps")
    radii = [parse_number(value, "adversarial.eps") for value in values]
    if not radii or any(not 0 <= radius < math.inf for radius in radii):
        raise ConfigError(f"adversarial.eps must be a list of radii from 0 up, got {eps!r}")
    if len({format_eps(radius, norm) for radius in radii}) < len(radii):
        raise ConfigError(f"adversarial.eps names a radius twice: {eps!r}")
    return radii
