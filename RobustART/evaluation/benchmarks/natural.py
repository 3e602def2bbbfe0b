"""Natural noise: clean images, ImageNet-A, ImageNet-C."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from RobustART.data import ImageDataset, Sample
from RobustART.data.datasets import image_folder
from RobustART.errors import ConfigError, DataError
from RobustART.evaluation.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list, clean_view
from RobustART.imaging import Array, decode, encode_jpeg
from RobustART.metrics import summaries
from RobustART.metrics.baselines import imagenet_a_classes
from RobustART.noise.corruptions import CORRUPTIONS, check_backend, corrupt
from RobustART.noise.corruptions.weather import frost_folder


def corrupted_view(
    sample: Sample, rng: np.random.Generator, *, name: str, severity: int, quality: int | None, backend: str
) -> Array:
    """The model's crop, corrupted, in the order of the official generator: crop first."""
    image = corrupt(sample.crop, name, severity, rng, backend=backend)
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
    backend: str = "robustart",
) -> Benchmark:
    """Returns ImageNet-C made on the fly from clean images (Hendrycks and Dietterich 2019).

    Args:
        dataset: clean images.
        corruptions: names in ``CORRUPTIONS``; all 19 by default.
        severities: from 1 to 5.
        jpeg_quality: store each image as JPEG of this quality and read it again; the published files went through 85.
        backend: who makes the noise: ``robustart``, or the library ``imagecorruptions``.
    """
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
    check_backend(backend, names, "imagenet_c.backend")
    if "frost" in names and backend == "robustart":
        frost_folder()
    view = functools.partial(corrupted_view, quality=jpeg_quality, backend=backend)
    cells = tuple(
        Cell(f"{name}/{level}", functools.partial(view, name=name, severity=level))
        for name in names
        for level in levels
    )
    return Benchmark("imagenet_c", (Pass(dataset, cells),), summaries.imagenet_c)
