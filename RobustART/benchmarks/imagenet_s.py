"""System noise: ImageNet-S, decoders and resizes of different libraries."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RobustART.benchmarks.building import Benchmark, Cell, Pass, build_benchmark
from RobustART.benchmarks.layout import Layout, Row, encoded_views
from RobustART.benchmarks.options import DecoderName, ResizeName
from RobustART.benchmarks.stored import crop_only, stored_cells
from RobustART.core.imaging import REFERENCE, RESIZES, Array, decode, encode_jpeg
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.published_set import PublishedSet
from RobustART.errors import ConfigError
from RobustART.metrics import estimates
from RobustART.metrics.reading import check_coordinates, check_extra, has, single_pass
from RobustART.metrics.results import Summary
from RobustART.metrics.spec import Axis, BenchmarkSpec, Entry, MetricSpec, TableSpec, add_benchmark
from RobustART.metrics.systems import systems
from RobustART.records.lines import Records

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from RobustART.data import ImageDataset, Sample

NAME = "imagenet_s"
PUBLISHED = PublishedSet(
    "ImageNet-S", "{decoder}/{resize}/*.npy with a list {decoder}_{resize}.txt",
    "`robustart noise generate --benchmark imagenet_s`, or the original RobustART's generator", 50000, 1000,
)  # fmt: skip
DECODERS = ("pil", "opencv", "ffmpeg")
"""Default decoders of the benchmark."""
METRICS = (
    MetricSpec("mean_top1", "Mean of top-1 accuracy over the decoders and resizes.", "high"),
    MetricSpec("std_top1", "Standard deviation of top-1 accuracy over the decoders and resizes.", "low"),
    MetricSpec("worst_top1", "Lowest top-1 accuracy over the decoders and resizes.", "high", headline=True),
)
TABLES = (
    TableSpec(
        "systems", "decoder/resize",
        (
            MetricSpec("top1 (%)", "Top-1 accuracy.", "high"),
            MetricSpec("difference (grey levels)", "Mean pixel difference from the reference.", None, "grey levels"),
        ),
        "Accuracy, and the mean pixel difference from the reference.", rows="decoder/resize",
    ),
)  # fmt: skip


def squash(model: Preprocessing) -> Preprocessing:
    """Returns ImageNet-S's preprocessing for a model: a bilinear resize to a square of 8/7 the input, and a center crop."""
    from RobustART.noise.system import resized_side

    side = resized_side(model.input_size)
    return dataclasses.replace(model, resize=side, interpolation="bilinear", crop_mode="squash")


def system_view(sample: Sample, rng: np.random.Generator, *, decoder: str, resize: str) -> Array:
    """Returns the file decoded and resized by the given libraries."""
    from RobustART.noise.system import resize_and_crop

    if (decoder, resize) == REFERENCE:
        return sample.crop
    image = sample.image if decoder == REFERENCE[0] else sample.decoded(decoder)
    return resize_and_crop(image, resize, sample.size)


def pixel_difference(views: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Returns the mean absolute difference of each view from the first, in grey levels, (N, V)."""
    import torch

    first = views[:, 0].to(torch.int16)
    sums = [(view.to(torch.int16) - first).abs().flatten(1).sum(dim=1) for view in views.unbind(1)]
    return {"pixel_difference": torch.stack(sums, dim=1).double() / first[0].numel()}


def system_cells(decoders: Sequence[str], resizes: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (decoder, resize) of each cell: the reference, then the cells that vary one of the two."""
    pairs = [REFERENCE, *((decoder, REFERENCE[1]) for decoder in decoders), *((REFERENCE[0], name) for name in resizes)]
    return list(dict.fromkeys(pairs))


def _stored(root_dir: str | Path, pairs: Sequence[tuple[str, str]]) -> Benchmark:
    """Returns ImageNet-S from dumps, whose images have the input size."""
    from RobustART.data.datasets import from_meta_file
    from RobustART.data.folders import what_is_there
    from RobustART.data.generated import read_generated
    from RobustART.data.published import count_notes, existing_folder, looks_right, missing
    from RobustART.data.variants import listed_variants

    root = existing_folder(PUBLISHED, root_dir, f"{NAME}.root_dir")
    generated = read_generated(root, NAME)
    lists = {}
    for decoder, resize in pairs:
        path = root / f"{decoder}_{resize}.txt"
        if not path.is_file():
            there = what_is_there(root, looks_right([f"{one}_{other}.txt" for one, other in pairs]))
            raise missing(
                PUBLISHED,
                str(path),
                f"the list is missing: {there}. Restrict the run to existing lists by decoders and resizes",
            )
        listed = from_meta_file(root, path)
        lists[f"{decoder}/{resize}"] = list(zip(listed.files, listed.labels, strict=True))
    dataset = listed_variants(PUBLISHED, root, {name: name for name in lists}, lists)
    dataset = generated.arrange(dataset, labelled=True) if generated else dataset
    reference = "/".join(REFERENCE)
    part = Pass(
        dataset, stored_cells(dataset, coordinates), preprocessing=crop_only, measure=pixel_difference, reference=reference
    )  # fmt: skip
    notes = generated.notes(dataset) if generated else count_notes(PUBLISHED, dataset)
    return Benchmark(SPEC, (part,), _options(pairs), notes=notes, notes_on=generated.notes_on if generated else None)


def _options(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Returns the options of the cells in canonical form, with the reference first."""
    decoders, resizes = zip(*pairs, strict=True)
    return {"decoders": list(dict.fromkeys(decoders)), "resizes": list(dict.fromkeys(resizes))}


def build(
    dataset: ImageDataset,
    *,
    decoders: Sequence[DecoderName] = DECODERS,
    resizes: Sequence[ResizeName] = tuple(RESIZES),
    root_dir: str | None = None,
) -> Benchmark:
    """Returns ImageNet-S, made on the fly or read from dumps: all decoders with one resize, all resizes with one decoder.

    Args:
        dataset: clean images, as files; not used with ``root_dir``.
        decoders: names in ``imaging.DECODERS``; the benchmark's three by default. ``simplejpeg-fast`` and ``torchvision``
            are available too.
        resizes: names in ``imaging.RESIZES``; the benchmark's 11 by default. The reference, ``pil/pil-bilinear``, is
            always a cell.
        root_dir: folder of ``{decoder}/{resize}/*.npy`` and of the lists ``{decoder}_{resize}.txt``, which have
            ``path label`` in each line; null makes the views on the fly.
    """
    for values, option in ((decoders, "decoders"), (resizes, "resizes")):
        if len(set(values)) < len(values):
            raise ConfigError(f"{NAME}.{option} names something twice: {list(values)}")
    pairs = system_cells(decoders, resizes)
    if len(pairs) < 2:
        raise ConfigError(f"{NAME} needs a decoder or a resize beside the reference, pil/pil-bilinear")
    if root_dir is not None:
        return _stored(root_dir, pairs)
    probe = np.zeros((8, 8, 3), np.uint8)
    for decoder, resize in pairs:  # raises for an unknown name or a missing library before the first image
        RESIZES[resize](decode(encode_jpeg(probe, 90), decoder=decoder), (4, 4))
    cells = tuple(
        Cell(
            f"{decoder}/{resize}",
            functools.partial(system_view, decoder=decoder, resize=resize),
            {"decoder": decoder, "resize": resize},
        )
        for decoder, resize in pairs
    )
    notes: tuple[str, ...] = ()
    if dataset is not None and dataset.decoder != REFERENCE[0]:
        notes = (f"{NAME} uses its own decoders; data.test.image_reader, {dataset.decoder}, has no effect on it",)
        dataset = dataclasses.replace(dataset, decoder=REFERENCE[0])
    part = Pass(dataset, cells, preprocessing=squash, measure=pixel_difference, reference="/".join(REFERENCE))
    return Benchmark(SPEC, (part,), _options(pairs), notes=notes)


def layout(
    dataset: ImageDataset, *, decoders: Sequence[DecoderName] = DECODERS, resizes: Sequence[ResizeName] = tuple(RESIZES)
) -> Layout:
    """Returns ImageNet-S as ``.npy`` files with one list for each cell; the options are those of :func:`build`."""
    part = build_benchmark(NAME, dataset, {"decoders": decoders, "resizes": resizes}).passes[0]
    libraries = ("numpy", "pillow", "opencv-python", "opencv-python-headless", "av", "simplejpeg", "torchvision")
    return Layout(
        part.dataset, encoded_views(part, _npy), ".npy", libraries, keep_suffix=True, prepare=part.preprocessing,
        lists=_lists,
    )  # fmt: skip


def _npy(image: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def _lists(cells: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for cell in cells:
        yield f"{cell.replace('/', '_')}.txt", "".join(f"{cell}/{name}.npy {label}\n" for name, label in rows)


def coordinates(cell: str) -> dict[str, Any]:
    """Returns the coordinates of a cell named ``decoder/resize``."""
    decoder, _, resize = cell.partition("/")
    return {"decoder": decoder, "resize": resize}


def check(records: Records, place: str) -> None:
    """Raises a RecordError if a cell is not of a decoder and a resize, or pixel differences are invalid."""
    table = single_pass(records, place)

    def point(cell: str, found: Mapping[str, Any]) -> tuple[str, str] | None:
        return (found["decoder"], found["resize"]) if has(found, decoder=str, resize=str) else None

    check_coordinates(table, place, point, "decoder/resize")
    if "pixel_difference" in table.extra:
        check_extra(table, "pixel_difference", 2, 255, place)


def summarize(records: Records) -> Summary:
    """Returns ImageNet-S's numbers; the first cell is the reference.

    * ``mean_top1``, ``std_top1``, ``worst_top1``: mean, population standard deviation and minimum of the cells' top-1
      accuracies. A low deviation is robust; its negative is the original's NSD.
    * The table has each cell's accuracy and its mean pixel difference from the reference in grey levels. A note lists cells
      whose difference is 0, for which the comparison is vacuous.
    """
    table = single_pass(records)
    summary = systems(table.cells, table.correct)
    rows = summary.tables["systems"]
    difference = table.extra.get("pixel_difference")
    notes = []
    if difference is not None:
        columns = {cell: functools.partial(_column, place=i) for i, cell in enumerate(table.cells)}
        for cell, estimate in estimates.resampled(difference, columns, upto=None).items():
            same_by_design = cell == table.cells[0]
            own = estimates.exact(0.0, estimate.n) if same_by_design else estimate
            rows[cell]["difference (grey levels)"] = own
        same = [cell for i, cell in enumerate(table.cells) if i and not difference[:, i].any()]
        if same:
            notes.append(
                f"{NAME}: {', '.join(same)} made the same pixels as {table.cells[0]} for every image, so these "
                "cells measure nothing"
            )
    return Summary(summary.metrics, {"systems": rows}, tuple(notes))


def _column(means: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    return np.asarray(means[..., place])


def _axes(entry: Entry) -> Iterator[Axis]:
    if "worst_top1" in entry["metrics"]:
        what = "worst top-1 accuracy over decoders and resizes"
        yield Axis("system", what, entry["metrics"]["worst_top1"])


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, METRICS, title="ImageNet-S", noise="system", tables=TABLES, check=check,
        coordinates=coordinates, axes=_axes, section="systems", layout=layout, evaluator="ImageNetSEvaluator",
    ),
)  # fmt: skip
