"""System noise: ImageNet-S, the decoders and resizes of other libraries."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from RobustART.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list
from RobustART.benchmarks.published import crop_only, stored_cells
from RobustART.core.imaging import RESIZES, Array, decode, encode_jpeg
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset, Sample
from RobustART.data.datasets import from_meta_file
from RobustART.data.folders import what_is_there
from RobustART.data.generated import read_generated
from RobustART.data.published import IMAGENET_S, looks_right
from RobustART.data.variants import listed_variants
from RobustART.errors import ConfigError
from RobustART.metrics import summaries
from RobustART.noise.system import REFERENCE, resize_and_crop, resized_side


def squash(model: Preprocessing) -> Preprocessing:
    """Returns ImageNet-S's preprocessing for a model: bilinear to a square of 8/7 of the input, then the middle."""
    side = resized_side(model.input_size)
    return dataclasses.replace(model, resize=side, interpolation="bilinear", crop_mode="squash")


def system_view(sample: Sample, rng: np.random.Generator, *, decoder: str, resize: str) -> Array:
    """The file decoded and resized as named."""
    if (decoder, resize) == REFERENCE:
        return sample.crop
    image = sample.image if decoder == REFERENCE[0] else sample.decoded(decoder)
    return resize_and_crop(image, resize, sample.size)


def pixel_difference(views: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Returns how far each view is from the first: the mean absolute difference in grey levels, (N, V)."""
    first = views[:, 0].to(torch.int16)
    sums = [(view.to(torch.int16) - first).abs().flatten(1).sum(dim=1) for view in views.unbind(1)]
    return {"pixel_difference": torch.stack(sums, dim=1).double() / first[0].numel()}


def system_cells(decoders: Sequence[str], resizes: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (decoder, resize) of each cell: the reference, then one factor varied at a time."""
    pairs = [REFERENCE, *((decoder, REFERENCE[1]) for decoder in decoders), *((REFERENCE[0], name) for name in resizes)]
    return list(dict.fromkeys(pairs))


def _stored(root_dir: str | Path, pairs: Sequence[tuple[str, str]]) -> Benchmark:
    """Returns ImageNet-S from dumps, which are at the input size already."""
    root = IMAGENET_S.folder(root_dir, "imagenet_s.root_dir")
    generated = read_generated(root, "imagenet_s")
    lists = {}
    for decoder, resize in pairs:
        path = root / f"{decoder}_{resize}.txt"
        if not path.is_file():
            there = what_is_there(root, looks_right([f"{one}_{other}.txt" for one, other in pairs]))
            raise IMAGENET_S.missing(
                str(path),
                f"that list is not there: {there}. Restrict the run to what is there with decoders and resizes",
            )
        listed = from_meta_file(root, path)
        lists[f"{decoder}/{resize}"] = list(zip(listed.files, listed.labels, strict=True))
    dataset = listed_variants(IMAGENET_S, root, {name: name for name in lists}, lists)
    dataset = generated.arrange(dataset, labelled=True) if generated else dataset
    reference = "/".join(REFERENCE)
    part = Pass(
        dataset, stored_cells(dataset), preprocessing=crop_only, measure=pixel_difference, reference=reference
    )  # fmt: skip
    return Benchmark(
        "imagenet_s", (part,), summaries.imagenet_s, _options(pairs), notes=(generated or IMAGENET_S).notes(dataset),
        notes_on=generated.notes_on if generated else None,
    )  # fmt: skip


def _options(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Returns the options that the cells are made from, in one spelling: the reference's first."""
    decoders, resizes = zip(*pairs, strict=True)
    return {"decoders": list(dict.fromkeys(decoders)), "resizes": list(dict.fromkeys(resizes))}


@BENCHMARKS.register("imagenet_s")
def imagenet_s(
    dataset: ImageDataset,
    *,
    decoders: Sequence[str] = ("pil", "opencv", "ffmpeg"),
    resizes: Sequence[str] = tuple(RESIZES),
    root_dir: str | None = None,
) -> Benchmark:
    """Returns ImageNet-S, made on the fly or read from dumps: decoders with one resize, and resizes with one decoder.

    Args:
        dataset: clean images, as files; not used with ``root_dir``.
        decoders: names in ``imaging.DECODERS``; ``simplejpeg-fast`` and ``torchvision`` are there beside the benchmark's
            three.
        resizes: names in ``imaging.RESIZES``; the benchmark's 11 by default. The reference, ``pil/pil-bilinear``, is
            always a cell.
        root_dir: folder of ``{decoder}/{resize}/*.npy`` and of the lists ``{decoder}_{resize}.txt`` with ``path label`` in
            each line; null makes the views on the fly.
    """
    names = as_list(decoders, str, "imagenet_s.decoders"), as_list(resizes, str, "imagenet_s.resizes")
    for values, option in zip(names, ("decoders", "resizes"), strict=True):
        if len(set(values)) < len(values):
            raise ConfigError(f"imagenet_s.{option} names something twice: {values}")
    pairs = system_cells(*names)
    if len(pairs) < 2:
        raise ConfigError("imagenet_s needs a decoder or a resize beside the reference, pil/pil-bilinear")
    if root_dir is not None:
        return _stored(root_dir, pairs)
    probe = np.zeros((8, 8, 3), np.uint8)
    for decoder, resize in pairs:  # an unknown name or a missing library ends the run before its first image
        RESIZES[resize](decode(encode_jpeg(probe, 90), decoder=decoder), (4, 4))
    cells = tuple(
        Cell(f"{decoder}/{resize}", functools.partial(system_view, decoder=decoder, resize=resize))
        for decoder, resize in pairs
    )
    notes: tuple[str, ...] = ()
    if dataset is not None and dataset.decoder != REFERENCE[0]:
        notes = (
            f"imagenet_s reads with its own decoders; data.test.image_reader, {dataset.decoder}, has no part in it",
        )
        dataset = dataclasses.replace(dataset, decoder=REFERENCE[0])
    part = Pass(dataset, cells, preprocessing=squash, measure=pixel_difference, reference="/".join(REFERENCE))
    return Benchmark("imagenet_s", (part,), summaries.imagenet_s, _options(pairs), notes=notes)
