"""System noise: ImageNet-S, the decoders and resizes of other libraries."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from RobustART.data import ImageDataset, Sample
from RobustART.errors import ConfigError
from RobustART.evaluation.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list
from RobustART.imaging import RESIZES, Array, decode, encode_jpeg
from RobustART.metrics import summaries
from RobustART.noise.system import REFERENCE, resize_and_crop, resized_side
from RobustART.preprocessing import Preprocessing


def squash(model: Preprocessing) -> Preprocessing:
    """Returns ImageNet-S's preprocessing for a model: bilinear to a square of 8/7 of the input, then the middle."""
    side = resized_side(model.input_size)
    return dataclasses.replace(model, resize=side, interpolation="bilinear", crop_mode="squash")


def system_view(sample: Sample, rng: np.random.Generator, *, decoder: str, resize: str) -> Array:
    """The file decoded and resized as named."""
    if (decoder, resize) == REFERENCE:
        return sample.crop
    return resize_and_crop(sample.decoded(decoder), resize, sample.size)


def pixel_difference(views: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Returns how far each view is from the first: the mean absolute difference in grey levels, (N, V)."""
    first = views[:, 0].to(torch.int16)
    sums = [(view.to(torch.int16) - first).abs().flatten(1).sum(dim=1) for view in views.unbind(1)]
    return {"pixel_difference": torch.stack(sums, dim=1).double() / first[0].numel()}


def system_cells(decoders: Sequence[str], resizes: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (decoder, resize) of each cell: the reference, then one factor varied at a time."""
    pairs = [REFERENCE, *((decoder, REFERENCE[1]) for decoder in decoders), *((REFERENCE[0], name) for name in resizes)]
    return list(dict.fromkeys(pairs))


@BENCHMARKS.register("imagenet_s")
def imagenet_s(
    dataset: ImageDataset,
    *,
    decoders: Sequence[str] = ("pil", "opencv", "ffmpeg"),
    resizes: Sequence[str] = tuple(RESIZES),
) -> Benchmark:
    """Returns ImageNet-S made on the fly: decoders with the reference's resize, and resizes with its decoder.

    Args:
        dataset: clean images, as files.
        decoders: names in ``imaging.DECODERS``; ``simplejpeg-fast`` and ``torchvision`` are there beside the benchmark's
            three.
        resizes: names in ``imaging.RESIZES``; the benchmark's 11 by default. The reference, ``pil/pil-bilinear``, is
            always a cell.
    """
    names = as_list(decoders, str, "imagenet_s.decoders"), as_list(resizes, str, "imagenet_s.resizes")
    for values, option in zip(names, ("decoders", "resizes"), strict=True):
        if len(set(values)) < len(values):
            raise ConfigError(f"imagenet_s.{option} names something twice: {values}")
    pairs = system_cells(*names)
    if len(pairs) < 2:
        raise ConfigError("imagenet_s needs a decoder or a resize beside the reference, pil/pil-bilinear")
    probe = np.zeros((8, 8, 3), np.uint8)
    for decoder, resize in pairs:  # an unknown name or a missing library ends the run before its first image
        RESIZES[resize](decode(encode_jpeg(probe, 90), decoder=decoder), (4, 4))
    cells = tuple(
        Cell(f"{decoder}/{resize}", functools.partial(system_view, decoder=decoder, resize=resize))
        for decoder, resize in pairs
    )
    part = Pass(dataset, cells, preprocessing=squash, measure=pixel_difference, reference="/".join(REFERENCE))
    return Benchmark("imagenet_s", (part,), summaries.imagenet_s)
