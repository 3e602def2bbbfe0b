"""Writes noisy data sets in their published layouts: ImageNet-C, ImageNet-P and ImageNet-S from any clean photos.

What is written is what the benchmarks of the same names make on the fly with the same seed, so evaluating the files gives
the same numbers (ImageNet-C's files are JPEGs, so its numbers are those of ``jpeg_quality: 85``). A file appears under its
name only when it is whole; the same command writes what is missing, and ``manifest.json`` says what was asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from RobustART.data import ImageDataset
from RobustART.errors import ConfigError, DataError, ProcessLostError, UnknownNameError, nearest
from RobustART.evaluation.benchmarks import Pass, build_benchmark
from RobustART.evaluation.benchmarks.core import as_list
from RobustART.evaluation.conditions import versions
from RobustART.evaluation.manifest import FORMAT, claim, write_file
from RobustART.imaging import Array, encode_jpeg
from RobustART.imaging.video import write_video
from RobustART.metrics.stability import SCORED_PERTURBATIONS, is_noise
from RobustART.noise.corruptions import group_of
from RobustART.noise.perturbations import PERTURBATIONS, perturb
from RobustART.options import check_options, option_defaults, to_plain
from RobustART.preprocessing import Preprocessing
from RobustART.seeding import numpy_generator

log = logging.getLogger(__name__)

Piece = tuple[str, Callable[[], bytes]]
"""A file's name, relative to the data set's folder, and what makes its bytes."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is written for each photo."""

    benchmark: str
    """Its name."""
    dataset: ImageDataset
    """The clean photos."""
    names: tuple[str, ...]
    """``class/name`` of each photo in the published layout, without a suffix."""
    pieces: Callable[[Plan, int], Iterator[Piece]]
    """The files of one photo, by its number."""
    cells: tuple[str, ...]
    """Folders of the layout."""
    options: Mapping[str, Any]
    """All options, defaults too."""
    preprocessing: Preprocessing
    """From photo to the pictures that are stored."""
    seed: int
    """Seed of the noise."""
    part: Pass | None = None
    """The pass whose views are stored, where there is one."""


def published_names(dataset: ImageDataset, keep_suffix: bool) -> tuple[str, ...]:
    """Returns ``class/name`` of each photo: the first folder of its path, then the rest as one name.

    Raises:
        DataError: a photo is in no class folder, or two would get the same name.
    """
    names: dict[str, str] = {}
    for file in dataset.files:
        path = PurePosixPath(file if keep_suffix else PurePosixPath(file).with_suffix(""))
        if len(path.parts) < 2:
            raise DataError(
                f"{file} of {dataset.name} is in no class folder; a published layout has one for each class"
            )
        name = f"{path.parts[0]}/{'_'.join(path.parts[1:])}"
        if name in names:
            raise DataError(f"{names[name]} and {file} would both be written as {name}; rename one of them")
        names[name] = file
    return tuple(names)


def _views(plan: Plan, image_id: int, encode: Callable[[Array], bytes], suffix: str) -> Iterator[Piece]:
    """Yields the views of a pass, made with the draws of an evaluation."""
    assert plan.part is not None
    sample = plan.part.dataset.sample(image_id, plan.part.prepare(plan.preprocessing).apply)
    for cell in plan.part.cells:
        view = functools.partial(cell.view, sample)

        def make(view: Callable[..., Array] = view, name: str = cell.name) -> bytes:
            return encode(view(numpy_generator(plan.seed, image_id, name)))

        yield f"{cell.name}/{plan.names[image_id]}{suffix}", make


def _jpegs(plan: Plan, image_id: int) -> Iterator[Piece]:
    return _views(plan, image_id, functools.partial(encode_jpeg, quality=plan.options["jpeg_quality"]), ".JPEG")


def _arrays(plan: Plan, image_id: int) -> Iterator[Piece]:
    return _views(plan, image_id, _npy, ".npy")


def _npy(image: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def _videos(plan: Plan, image_id: int) -> Iterator[Piece]:
    """Yields the sequences, encoded as the official ones: x264's grain tuning for noise, its rate 20 for the others."""
    sample = plan.dataset.sample(image_id, plan.preprocessing.apply)
    for cell in plan.cells:

        def make(cell: str = cell) -> bytes:
            rng = numpy_generator(plan.seed, image_id, cell)
            frames = perturb(sample.image, cell, size=plan.preprocessing.input_size, rng=rng)
            return write_video(frames, crf=23, tune="grain") if is_noise(cell) else write_video(frames, crf=20)

        yield f"{cell}/{plan.names[image_id]}.mp4", make


def imagenet_p_options(*, perturbations: Any = SCORED_PERTURBATIONS, difficulty: int = 1) -> tuple[str, ...]:
    """Returns the folders of ImageNet-P for its options, as the benchmark ``imagenet_p`` reads them."""
    names = as_list(perturbations, str, "imagenet_p.perturbations")
    if isinstance(difficulty, bool) or difficulty not in (1, 2, 3):
        raise ConfigError(f"imagenet_p.difficulty must be 1, 2 or 3, got {difficulty!r}")
    folders = tuple(f"{name}_{difficulty}" if is_noise(name) and difficulty > 1 else name for name in names)
    for folder in folders:
        PERTURBATIONS[folder]
    return folders


def make_plan(
    benchmark: str, dataset: ImageDataset, options: Mapping[str, Any], preprocessing: Preprocessing, seed: int
) -> Plan:
    """Returns what is written for a benchmark.

    Raises:
        UnknownNameError, ConfigError, DataError: what their names say.
    """
    if benchmark not in ("imagenet_c", "imagenet_p", "imagenet_s"):
        known = ("imagenet_c", "imagenet_p", "imagenet_s")
        raise UnknownNameError(
            f"no data set can be generated for {benchmark!r}{nearest(benchmark, known) or ';'} Known: {', '.join(known)}"
        )
    names = published_names(dataset, keep_suffix=benchmark == "imagenet_s")
    if benchmark == "imagenet_p":
        check_options(options, imagenet_p_options, "imagenet_p")
        every = {**option_defaults(imagenet_p_options), **options}
        cells = imagenet_p_options(**every)
        return Plan(benchmark, dataset, names, _videos, cells, every, preprocessing, seed)
    for name in ("root_dir", "meta", "preprocess"):
        if name in options:
            raise ConfigError(f"{benchmark}.{name} is for reading files, not for generating them")
    given = dict(options)
    quality = given.pop("jpeg_quality", 85)
    built = build_benchmark(benchmark, dataset, given)
    part, every = (
        built.passes[0],
        {k: v for k, v in built.options.items() if k not in ("root_dir", "meta", "preprocess")},
    )
    if benchmark == "imagenet_c":
        encode_jpeg(np.zeros((8, 8, 3), np.uint8), quality)
        every["jpeg_quality"] = quality
    cells = tuple(cell.name for cell in part.cells)
    make = _jpegs if benchmark == "imagenet_c" else _arrays
    return Plan(benchmark, part.dataset, names, make, cells, every, preprocessing, seed, part)


def generate(
    benchmark: str,
    dataset: ImageDataset,
    out: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    size: int = 224,
    resize: int | None = None,
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes a noisy data set in its published layout; returns its manifest.

    Args:
        benchmark: ``imagenet_c``, ``imagenet_p`` or ``imagenet_s``.
        dataset: clean photos in class folders.
        out: folder of the data set; what is there already is kept.
        options: of the noise: ``corruptions``, ``severities``, ``jpeg_quality`` (85) and ``backend`` of ImageNet-C;
            ``perturbations`` and ``difficulty`` of ImageNet-P; ``decoders`` and ``resizes`` of ImageNet-S.
        size: side of the pictures in pixels.
        resize: shorter side before the crop; None is 8/7 of ``size``, 256 for 224. ImageNet-P and -S always take that.
        seed: of the noise.
        workers: processes; 0 works in this one.
        progress: show a progress bar.

    Raises:
        ConfigError: an option cannot be, or the folder holds a data set of other settings.
        DataError: a photo cannot be read; what was written before is kept.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise ConfigError(f"workers must be a whole number from 0, got {workers!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"seed must be a whole number, got {seed!r}")
    side = round(size * 8 / 7) if resize is None else resize
    plan = make_plan(benchmark, dataset, options or {}, Preprocessing(input_size=size, resize=side), seed)
    root = Path(out)
    manifest = {
        "format": FORMAT,
        "benchmark": benchmark,
        "options": to_plain(plan.options),
        "preprocessing": {"input_size": size, "resize": side, "interpolation": "bilinear"},
        "seed": seed,
        "source": {
            "name": dataset.name,
            "images": len(dataset),
            "fingerprint": dataset.fingerprint(range(len(dataset))),
        },
        "files": len(dataset) * len(plan.cells),
    }
    claim(root, manifest)
    left = [i for i in range(len(dataset)) if any(not (root / name).is_file() for name, _ in plan.pieces(plan, i))]
    with tqdm(total=len(left), desc=benchmark, unit="img", disable=not progress, file=sys.stderr) as bar:
        for _ in _run(plan, root, left, workers):
            bar.update()
    _write_lists(plan, root)
    whole = {**manifest, "complete": True, "versions": versions()}
    write_file(root / "manifest.json", (json.dumps(whole, indent=2) + "\n").encode())
    return whole


def _write_photo(plan: Plan, root: Path, image_id: int) -> None:
    for name, make in plan.pieces(plan, image_id):
        if not (root / name).is_file():
            write_file(root / name, make())


def _run(plan: Plan, root: Path, ids: list[int], workers: int) -> Iterator[None]:
    if workers < 2 or len(ids) < 2:
        for image_id in ids:
            _write_photo(plan, root, image_id)
            yield
        return
    kinds = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in kinds else None)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(plan, root)) as pool:
        try:
            yield from pool.map(_work, ids, chunksize=max(1, min(16, len(ids) // (4 * workers))))
        except BrokenProcessPool:
            raise ProcessLostError(
                "a process that wrote files has ended; what is written is whole, and the same command goes on"
            ) from None


_state: tuple[Plan, Path] | None = None


def _start(plan: Plan, root: Path) -> None:
    global _state
    _state = plan, root
    torch.set_num_threads(1)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)


def _work(image_id: int) -> None:
    assert _state is not None
    _write_photo(*_state, image_id)


def _write_lists(plan: Plan, root: Path) -> None:
    """Writes the lists that the original's formats have: meta files of ImageNet-C, one list a system of ImageNet-S."""
    rows = list(zip(plan.names, plan.dataset.labels, strict=True))
    if plan.benchmark == "imagenet_s":
        for cell in plan.cells:
            text = "".join(f"{cell}/{name}.npy {label}\n" for name, label in rows)
            write_file(root / f"{cell.replace('/', '_')}.txt", text.encode())
    elif plan.benchmark == "imagenet_c":
        groups: dict[str, dict[str, dict[str, str]]] = {}
        for cell in plan.cells:
            corruption, _, severity = cell.partition("/")
            group = group_of(corruption) or "other"
            file = f"{group}-{corruption}-{severity}.jsonl"
            lines = [json.dumps({"filename": f"{cell}/{name}.JPEG", "label": label}) + "\n" for name, label in rows]
            write_file(root / "meta" / file, "".join(lines).encode())
            groups.setdefault(group, {}).setdefault(corruption, {})[severity] = file
        write_file(root / "meta" / "all.json", (json.dumps(groups, indent=2) + "\n").encode())
