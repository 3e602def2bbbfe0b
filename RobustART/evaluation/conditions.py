"""The conditions of a result, everything its numbers depend on, and the header of a result file that states them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from RobustART import __version__
from RobustART.benchmarks import Benchmark, Pass
from RobustART.core.logits import parameter_dtype
from RobustART.core.options import option_defaults, to_plain
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.sources import source_digests
from RobustART.data import ImageDataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.evaluation.settings import RUNTIMES, Settings
from RobustART.models import Classifier
from RobustART.noise.attacks.victim import replacement
from RobustART.records.header import FORMAT, IMAGENET, conditions_hash, config_hash


def fingerprint(model: nn.Module) -> str:
    """Returns a digest, 16 hexadecimal digits, of a model's layers and the values of its parameters and buffers."""
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", repr(model)).encode())
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def versions(runtimes: bool = False) -> dict[str, str]:
    """Returns the versions of the libraries that results depend on; with ``runtimes``, of OpenVINO and ONNX Runtime too."""
    names = (
        "torch", "torchvision", "timm", "numpy", "scipy", "pillow", "opencv-python", "av", "imagecorruptions-imaug",
        "foolbox", "torchattacks", "pyautoattack", *((*RUNTIMES, "onnx") if runtimes else ()),
    )  # fmt: skip
    return {"RobustART": __version__, "python": platform.python_version(), **installed(names)}


def installed(names: Iterable[str]) -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def attack_settings(benchmark: Benchmark, amp: str | None = None) -> dict[str, Any]:
    """Returns the options of each attacked cell, including defaults.

    Args:
        benchmark: the benchmark.
        amp: precision in which attacks search, if they have that option.
    """
    settings: dict[str, Any] = {}
    for part in benchmark.passes:
        for cell in part.cells:
            if isinstance(cell.attack, functools.partial):
                options = {**option_defaults(cell.attack.func, hidden=("seeds", "log")), **cell.attack.keywords}
                if amp is not None and options.get("amp", amp) is None:
                    options["amp"] = amp
                if options.get("samples") == option_defaults(cell.attack.func).get("samples"):
                    options.pop("samples", None)  # results of before this option are the same
                empty = (None, inspect.Parameter.empty)
                settings[cell.name] = {k: v for k, v in options.items() if not any(v is e for e in empty)}
    return settings


def describe(model: Classifier) -> dict[str, Any]:
    """Returns what identifies a model: its source, the builder's arguments and the fingerprint of its weights."""
    return {"source": model.source, "arguments": model.arguments, "weights": fingerprint(model)}


def make_header(
    benchmark: Benchmark,
    ids: Sequence[Sequence[int]],
    model: Classifier,
    weights: str,
    classes: int,
    device: torch.device,
    settings: Settings,
    runtimes: Mapping[str | None, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Returns the header of a benchmark's result file: its conditions, their hash, and its passes.

    The hash does not depend on the location of the data, which is identified by fingerprint.

    Args:
        benchmark: the benchmark.
        ids: image ids of each pass.
        model: the classifier.
        weights: its :func:`fingerprint`.
        classes: number of its outputs.
        device: device of the run.
        settings: batch size, precision and seed.
        runtimes: entries ``runtime`` of the conditions, by model; models that torch runs have none.
    """
    data = [
        {
            "name": part.dataset.name,
            "fingerprint": part.dataset.fingerprint(part_ids),
            "images": len(part_ids),
            "subset": None if len(part_ids) == len(part.dataset) else config_hash({"ids": list(part_ids)}),
            "label_set": label_set(part.dataset, classes),
            "classes": classes if part.classes is None else len(part.classes),
            "decoder": part.dataset.decoder,
            "exif_orientation": part.dataset.exif_orientation,
            **({"pixels": part.dataset.pixels} if part.dataset.pixels else {}),
            **_own_preprocessing(part, model.preprocessing),
        }
        for part, part_ids in zip(benchmark.passes, ids, strict=True)
    ]
    own = str(parameter_dtype(model.network) or torch.float32).removeprefix("torch.")
    attacked = any(cell.attack for part in benchmark.passes for cell in part.cells)
    others = {
        name: {
            **describe(other),
            "preprocessing": to_plain(dataclasses.asdict(other.preprocessing)),
            **_run_by(runtimes, name),
        }
        for name, other in benchmark.models.items()
    }  # fmt: skip
    sources = source_digests(_used(benchmark))
    code = source_digests(type(module) for module in model.modules())
    conditions = {
        "benchmark": benchmark.name,
        "options": to_plain(benchmark.options),
        "attacks": to_plain(attack_settings(benchmark, settings.proposals)),
        "data": data,
        "model": {
            "source": model.source,
            "arguments": model.arguments,
            "weights": weights,
            **({"code": code} if code else {}),
        },
        "preprocessing": to_plain(dataclasses.asdict(model.preprocessing)),
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        **({"repeats": settings.repeats} if settings.repeats > 1 else {}),
        "channels_last": settings.channels_last,
        **_run_by(runtimes, None),
        "precision": own if attacked or settings.amp is None else settings.amp,
        "device": device.type,
        "version": __version__,
        **({"models": others} if others else {}),
        **({"sources": sources} if sources else {}),
    }
    return {
        "format": FORMAT,
        "benchmark": benchmark.name,
        "hash": conditions_hash(conditions),
        "conditions": conditions,
        "passes": [
            {
                "name": part.name,
                "cells": [cell.name for cell in part.cells],
                "coordinates": [to_plain(dict(cell.coordinates)) for cell in part.cells],
                "ids": len(part_ids),
                **_models_of(part),
            }
            for part, part_ids in zip(benchmark.passes, ids, strict=True)
        ],
        "versions": versions(settings.runtime != "torch"),
    }


def _run_by(runtimes: Mapping[str | None, Mapping[str, Any]], model: str | None) -> dict[str, Any]:
    return {"runtime": dict(runtimes[model])} if model in runtimes else {}


def label_set(dataset: ImageDataset, classes: int) -> str | None:
    """Returns ``IMAGENET`` if the labels of a data set are the indices of ImageNet's 1,000 classes, or some of them.

    This is so for a model of 1,000 outputs, unless the data set names other classes. Folders named by WordNet ids, lists of
    labels and published sets of ImageNet's classes name none.
    """
    of_imagenet = classes == 1000 and dataset.class_names in (None, imagenet_wnids())
    return IMAGENET if of_imagenet else None


def _used(benchmark: Benchmark) -> Iterator[Any]:
    """Yields the functions and classes that determine the images a benchmark gives to the models."""
    yield benchmark.spec.build
    yield from benchmark.uses
    for part in benchmark.passes:
        yield from (type(part.dataset), part.measure, part.preprocessing)
        for cell in part.cells:
            yield from (cell.view, cell.attack)
            yield from _replacements(getattr(cell.attack, "keywords", {}))


def _replacements(options: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the functions that options of attacks or of their stages name as ``backward``."""
    for key, value in options.items():
        if key == "backward":
            yield replacement(value)
        elif isinstance(value, Mapping):
            yield from _replacements(value)


def _own_preprocessing(part: Pass, stated: Preprocessing) -> dict[str, Any]:
    """Returns the fields in which a pass overrides the model's preprocessing, under one key; empty without overrides."""
    own, model = dataclasses.asdict(part.prepare(stated)), dataclasses.asdict(stated)
    changed = {name: value for name, value in own.items() if value != model[name]}
    return {"preprocessing": to_plain(changed)} if changed else {}


def _models_of(part: Pass) -> dict[str, Any]:
    """Returns the names of the attacked model and the judge by cell, unless both are the model under evaluation.

    If attacks are probed, the cells of each probe follow.
    """
    pairs = {
        cell.name: [cell.victim if cell.attack else cell.judge, cell.judge]
        for cell in part.cells
        if (cell.victim, cell.judge) != (None, None)
    }
    probes = {probe.name: list(probe.cells) for probe in part.probes}
    return {**({"models": pairs} if pairs else {}), **({"probes": probes} if probes else {})}
