"""Natural noise: clean images, ImageNet-A, ImageNet-C."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from RobustART.benchmarks.core import (
    BENCHMARKS,
    STORED,
    Batched,
    Benchmark,
    Cell,
    Pass,
    clean_view,
    refuse_without_files,
)
from RobustART.benchmarks.published import cell_options, corruption_cells, stored_imagenet_c
from RobustART.core.imaging import Array, check_jpeg_quality, decode, encode_jpeg
from RobustART.data import ImageDataset, Sample
from RobustART.data.published import IMAGENET_A, wnid_folders
from RobustART.errors import ConfigError
from RobustART.metrics import summaries
from RobustART.metrics.baselines import imagenet_a_classes
from RobustART.noise.corruptions import CORRUPTIONS, check_backend, corrupt
from RobustART.noise.corruptions.device import BATCHED, corrupt_batch
from RobustART.noise.corruptions.weather import frost_folder


def corrupted_view(
    sample: Sample, rng: np.random.Generator, *, name: str, severity: int, quality: int | None, backend: str
) -> Array:
    """The model's crop, corrupted, in the order of the official generator: crop first."""
    image = corrupt(sample.crop, name, severity, rng, backend=backend)
    return image if quality is None else decode(encode_jpeg(image, quality))


def made_cells(
    pairs: Sequence[tuple[str, int]], view: Callable[..., Array], device: torch.device | None = None
) -> tuple[Cell, ...]:
    """Returns the cells of corruptions that are made on the fly.

    Args:
        pairs: corruption and severity of each.
        view: makes them, given ``name`` and ``severity``.
        device: makes those that can be in batches there; None makes all in the loader processes.
    """
    cells = []
    for name, severity in pairs:
        batched = None
        if device is not None and name in BATCHED:
            change = functools.partial(corrupt_batch, corruption=name, severity=severity, device=device)
            batched = Batched(clean_view, change)
        own = functools.partial(view, name=name, severity=severity)
        cells.append(Cell(f"{name}/{severity}", own, batched=batched))
    return tuple(cells)


@BENCHMARKS.register("clean")
def clean(dataset: ImageDataset) -> Benchmark:
    """Returns accuracy without noise."""
    return Benchmark("clean", (Pass(dataset, (Cell("clean", clean_view),)),), summaries.classification)


@BENCHMARKS.register("imagenet_a")
def imagenet_a(
    dataset: ImageDataset,
    *,
    root_dir: str,
    masked: bool = True,
    decoder: str = "pil",
    exif_orientation: bool = False,
) -> Benchmark:
    """Returns ImageNet-A from its published folder (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).

    Args:
        dataset: not used; ImageNet-A is a data set of its own.
        root_dir: the folder ``imagenet-a`` with one folder per WordNet id.
        masked: whether only its 200 classes compete, as in the official evaluation.
        decoder: of its files, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """
    if not isinstance(masked, bool):
        raise ConfigError(f"imagenet_a.masked must be true or false, got {masked!r}")
    classes = imagenet_a_classes()
    images = wnid_folders(IMAGENET_A, root_dir, "imagenet_a.root_dir", classes, decoder, exif_orientation)
    part = Pass(images, (Cell(STORED, clean_view),), classes if masked else None)
    return Benchmark("imagenet_a", (part,), summaries.imagenet_a, notes=IMAGENET_A.notes(images, classes))


@BENCHMARKS.register("imagenet_c")
def imagenet_c(
    dataset: ImageDataset,
    *,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    jpeg_quality: int | None = None,
    backend: str = "robustart",
    root_dir: str | None = None,
    meta: str | None = None,
    preprocess: str = "crop",
    decoder: str = "pil",
    exif_orientation: bool = False,
    device: str = "cpu",
) -> Benchmark:
    """Returns ImageNet-C, made on the fly from clean images or read from its files (Hendrycks and Dietterich 2019).

    Args:
        dataset: clean images; not used with ``root_dir``.
        corruptions: names in ``CORRUPTIONS``; all 19 by default.
        severities: from 1 to 5.
        jpeg_quality: store each image as JPEG of this quality and read it again; the published files went through 85.
        backend: who makes the noise: ``robustart``, or the library ``imagecorruptions``.
        root_dir: folder of the published files, ``{corruption}/{1..5}/{wnid}/*``; null makes the images on the fly.
        meta: the original's ``meta/all.json``, whose lists say which files count and their labels; null takes all.
        preprocess: of published files. ``crop``, the official one, only crops, because they are 224 x 224 already;
            ``resize256``, the original RobustART's, resizes first and so enlarges by 8/7; ``model`` is the model's own.
        decoder: of published files, one of ``imaging.DECODERS``.
        exif_orientation: turn published files as their EXIF tag says.
        device: where corruptions are made: ``cpu``, in the loader processes, or ``cuda``, for batches on the GPU, at most a
            grey level apart. ``glass_blur``, ``jpeg_compression``, ``spatter`` and a user's own stay on the CPU.
    """
    if root_dir is not None:
        if device != "cpu":
            raise ConfigError(f"imagenet_c.device is {device!r}, but files in root_dir are corrupted already")
        if backend != "robustart":
            raise ConfigError(f"imagenet_c.backend is {backend!r}, but files in root_dir are corrupted already")
        if jpeg_quality is not None:
            raise ConfigError(f"imagenet_c.jpeg_quality is {jpeg_quality}, but files in root_dir are stored already")
        return stored_imagenet_c(root_dir, meta, preprocess, corruptions, severities, decoder, exif_orientation)
    refuse_without_files(
        "imagenet_c", meta=meta, preprocess=preprocess, decoder=decoder, exif_orientation=exif_orientation
    )
    pairs = corruption_cells("imagenet_c", corruptions, severities)
    names = list(dict.fromkeys(name for name, _ in pairs))
    if jpeg_quality is not None:
        check_jpeg_quality(jpeg_quality)
    for name in names:
        CORRUPTIONS[name]
    check_backend(backend, names, "imagenet_c.backend")
    if "frost" in names and backend == "robustart":
        frost_folder()
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"imagenet_c.device must be cpu or cuda, got {device!r}")
    if device == "cuda":
        if backend != "robustart" or jpeg_quality is not None:
            raise ConfigError("imagenet_c.device is cuda, but a library and JPEG files work on the CPU")
        if not torch.cuda.is_available():
            raise ConfigError("imagenet_c.device is cuda, but there is no GPU here")
    view = functools.partial(corrupted_view, quality=jpeg_quality, backend=backend)
    cells = made_cells(pairs, view, None if device == "cpu" else torch.device(device))
    return Benchmark("imagenet_c", (Pass(dataset, cells),), summaries.imagenet_c, cell_options(pairs))
