"""Writes noisy data sets in their published layouts: ImageNet-C, ImageNet-P and ImageNet-S from any clean images.

The files contain the views that the benchmarks of the same names make on the fly, with the same seed and limit, for a model
of the same preprocessing. An evaluation of the files therefore gives the same numbers. ImageNet-C's files are JPEGs, so its
numbers are those of ``jpeg_quality: 85``; ImageNet-P's are compressed videos, so its numbers differ. Files are written
atomically and identified by digests: the same command writes the missing or damaged ones, and raises an error if the source
images, settings or versions have changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import features
from torch import nn
from tqdm import tqdm

from RobustART import __version__
from RobustART.core.declarations import options_of
from RobustART.core.options import convert, to_plain
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.workers import work
from RobustART.data import ImageDataset
from RobustART.data.generated import FORMAT
from RobustART.errors import ConfigError
from RobustART.evaluation.checks import only_writer
from RobustART.evaluation.conditions import installed
from RobustART.evaluation.run import chosen_images
from RobustART.evaluation.settings import Settings, run_settings
from RobustART.generation.layouts import Layout, build_layout, published_names
from RobustART.generation.manifest import Ledger, write_file
from RobustART.generation.photos import Plan, is_whole, make_photo, naming, write_photo
from RobustART.models import create_model, wrap_model
from RobustART.noise.system import resized_side

log = logging.getLogger(__name__)
T = TypeVar("T")


def generate(
    benchmark: str,
    dataset: ImageDataset,
    out: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    model: str | nn.Module | None = None,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes a noisy data set in its published layout; returns its manifest.

    Args:
        benchmark: name of a benchmark that has a layout: ``imagenet_c``, ``imagenet_p``, ``imagenet_s``, or your own.
        dataset: clean source images in class folders.
        out: folder of the data set; existing files of the same data set are kept.
        options: options of the noise: ``corruptions``, ``severities``, ``jpeg_quality`` (85) and ``backend`` of ImageNet-C;
            ``perturbations`` and ``difficulty`` of ImageNet-P; ``decoders`` and ``resizes`` of ImageNet-S.
        model: a model, or a name for :func:`create_model`, that defines input size, resize, interpolation and crop.
        size: side of the generated images in pixels; None is the model's, or 224.
        resize: shorter side before the crop; None is the model's, or 8/7 of ``size``, 256 for 224. ImageNet-P and -S always
            use 8/7 and bilinear interpolation; another value is an error.
        interpolation: Pillow's filter for the resize; None is the model's, or bilinear.
        seed: seed of the noise and of the subset.
        limit: size of a seeded, class-balanced subset of the source images, the same as in an evaluation with this limit.
        workers: number of processes; 0 runs in this one, None is one per core.
        progress: whether to show progress bars.

    Raises:
        ConfigError: an option is invalid, or the folder has a data set of other settings, source images or versions.
        RecordError: another run writes to the folder.
        DataError: a source image cannot be read; the files written before are kept.
    """
    if not isinstance(dataset, ImageDataset):
        raise ConfigError(f"dataset must be an ImageDataset, such as create_dataset returns, got {dataset!r}")
    if not isinstance(out, (str, Path)):
        raise ConfigError(f"out must be a folder, got {out!r}")
    settings = run_settings(batch_size=1, workers=workers, seed=seed, progress=progress)
    layout = build_layout(benchmark, dataset, options)
    preprocessing = _preprocessing(layout, benchmark, model, size, resize, interpolation)
    ids = chosen_images(layout.dataset, limit, seed)
    names = published_names(layout.dataset, ids, layout.keep_suffix)
    photos = {
        i: {"id": i, "name": name, "file": layout.dataset.files[i], "label": layout.dataset.labels[i]}
        for i, name in zip(ids, names, strict=True)
    }
    plan = Plan(layout, photos, preprocessing, seed, Path(out))
    ledger = Ledger(plan.root, _manifest(benchmark, plan, limit), list(photos.values()))
    # Making the first image reveals invalid settings before the folder is created.
    first = {} if ledger.check() else naming(plan, functools.partial(make_photo, plan), ids[0])
    try:
        plan.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {plan.root} cannot be created: {error.strerror or error}") from None
    with only_writer(plan.root):
        ledger.check()
        _write(plan, ledger, first, benchmark, settings)
        return ledger.finish()


def _preprocessing(
    layout: Layout,
    benchmark: str,
    model: str | nn.Module | None,
    size: int | None,
    resize: int | None,
    interpolation: str | None,
) -> Preprocessing:
    """Returns the preprocessing of the generated images: the model's, with the given values replaced."""
    fields = (
        ("input_size", "size", size),
        ("resize", "resize", resize),
        ("interpolation", "interpolation", interpolation),
    )
    hints = {field: option.hint for field, option in options_of(Preprocessing).items()}
    given = {field: convert(value, hints[field], name) for field, name, value in fields if value is not None}
    for name in given:
        if name not in layout.chosen:
            raise ConfigError(
                f"{benchmark} has no option {name}, got {given[name]!r}: it always resizes to 8/7 of the size, bilinear"
            )
    if model is None:
        side = given.get("input_size", 224)
        stated = Preprocessing(input_size=side, resize=resized_side(side))
    elif isinstance(model, (str, nn.Module)):
        stated = (create_model(model) if isinstance(model, str) else wrap_model(model)).preprocessing
    else:
        raise ConfigError(f"model must be a name or a network, got {model!r}")
    stated = dataclasses.replace(stated, **given)
    if "resize" in layout.chosen and stated.crop_mode != "none" and stated.resize < stated.input_size:
        log.warning("resize %d is less than the size, %d: images get black borders", stated.resize, stated.input_size)
    return layout.prepare(stated) if layout.prepare else stated


def _manifest(benchmark: str, plan: Plan, limit: int | None) -> dict[str, Any]:
    layout, dataset = plan.layout, plan.layout.dataset
    jpeg = features.version_feature("libjpeg_turbo")
    return {
        "format": FORMAT,
        "benchmark": benchmark,
        "options": to_plain(layout.options),
        "preprocessing": {name: getattr(plan.preprocessing, name) for name in layout.chosen},
        "seed": plan.seed,
        "limit": limit,
        "source": {
            "name": dataset.name,
            "images": len(plan.photos),
            "of": len(dataset),
            "class_names": to_plain(dataset.class_names),
            "decoder": dataset.decoder,
            "exif_orientation": dataset.exif_orientation,
            "fingerprint": dataset.fingerprint(list(plan.photos)),
        },
        "folders": list(layout.cells),
        "suffix": layout.suffix,
        "files": len(plan.photos) * len(layout.cells),
        "versions": {
            "RobustART": __version__,
            **installed(layout.libraries),
            **({"libjpeg-turbo": jpeg} if jpeg else {}),
        },
    }


def _write(plan: Plan, ledger: Ledger, first: Mapping[str, bytes], benchmark: str, settings: Settings) -> None:
    """Writes the missing and damaged files; ``first`` has the files of the first image, which were made already."""
    whole: dict[int, bool] = {}
    check = functools.partial(is_whole, plan, dict(ledger.done))
    _each(plan, check, sorted(ledger.done), f"{benchmark}, checking", settings, whole.__setitem__)
    left = [image_id for image_id in plan.photos if not whole.get(image_id)]
    if left:
        ledger.begin()
        write = functools.partial(write_photo, plan, dict(ledger.done), {next(iter(plan.photos)): first})
        _each(plan, write, left, benchmark, settings, lambda _, photo: ledger.add(photo))
    if plan.layout.lists is not None:
        rows = [(photo["name"], photo["label"]) for photo in ledger.photos]
        for name, text in plan.layout.lists(tuple(plan.layout.cells), rows):
            write_file(plan.root / name, text.encode())


def _each(
    plan: Plan,
    task: Callable[[int], T],
    ids: Sequence[int],
    title: str,
    settings: Settings,
    take: Callable[[int, T], object],
) -> None:
    """Does a task on each photo, in processes and with a progress bar, and gives its id and what came of it to ``take``."""
    workers = min(settings.workers, len(ids))
    workers = 0 if workers == 1 else workers  # one process is this one
    bar = tqdm(
        total=len(ids), desc=title, unit="img", disable=not (settings.progress and ids), file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0, dynamic_ncols=True,
    )  # fmt: skip
    made = work(
        functools.partial(naming, plan, task), ids, workers, ordered=False, name=lambda i: plan.photos[i]["file"],
        remedy="use fewer --workers",
    )  # fmt: skip
    with bar, contextlib.closing(made) as results:
        for image_id, result in results:
            take(image_id, result)
            bar.update()
