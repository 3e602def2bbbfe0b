"""The parts of the configuration that only training reads, and the kinds of fields that all parts share.

The string under each field is its manual; see ``schema.py``.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from RobustART.core.ranges import Count, Named, Positive, Range, ShareBelowOne

OBJECTIVES = "RobustART.training.objectives.objective:OBJECTIVES"
AVERAGE = "RobustART.training.ema:Ema"
ADVERSARIES = "RobustART.training.objectives.adversary:ADVERSARIES"


def mapping() -> Any:
    """Returns a field that is an empty mapping by default."""
    return dataclasses.field(default_factory=dict)


def items() -> Any:
    """Returns a field that is an empty list by default."""
    return dataclasses.field(default_factory=list)


def section(cls: type) -> Any:
    """Returns a field that is a section with its defaults."""
    return dataclasses.field(default_factory=cls)


@dataclasses.dataclass(frozen=True)
class DistConfig:
    """Distributed training."""

    sync: bool = False
    """Whether gradients are all-reduced after the backward pass instead of during it."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser (training)."""

    type: Literal[
        "SGD", "RMSprop", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "LAMB", "LARS", "Lion",
        "RMSpropTF",
    ]  # fmt: skip
    """The class, of ``torch.optim`` or, for ``LAMB, LARS, Lion, RMSpropTF``, of timm."""
    no_wd: bool | dict[str, bool] | None = None
    """Parameters without weight decay: ``{fc: bool, norm: bool, embed: bool}`` for biases of layers, normalisation layers,
    and position embeddings and tokens. True is short for all three; false changes nothing."""
    pconfig: dict[str, dict[str, Any]] = mapping()
    """Options of one kind of parameters (``conv_b, conv_w, conv_dw_w, conv_dense_b, linear_w, linear_b, bn_w, bn_b,
    other``), such as ``{bn_w: {weight_decay: 0}}``. They take precedence over ``no_wd``."""
    kwargs: dict[str, Any] = mapping()
    """Arguments of the class, without ``lr``, which is ``lr_scheduler.kwargs.base_lr``."""


@dataclasses.dataclass(frozen=True)
class SchedulerConfig:
    """The learning rate (training)."""

    type: Literal[
        "Step", "StepDecay", "Cosine", "Poly", "eCosine", "StepEpoch", "StepDecayEpoch", "CosineEpoch", "PolyEpoch",
        "eCosineEpoch",
    ]  # fmt: skip
    """The curve. Durations are in epochs if its name ends in ``Epoch``, in steps otherwise."""
    kwargs: dict[str, Any] = mapping()
    """Arguments of the curve: ``base_lr, warmup_lr, warmup_steps | warmup_epoch, max_iter | max_epoch, min_lr,
    lr_steps | lr_epochs, lr_mults, step_size, decay, power``."""


@dataclasses.dataclass(frozen=True)
class EmaConfig:
    """Moving average of the weights (training)."""

    enable: bool = False
    """Whether it is used."""
    kwargs: Annotated[dict[str, Any], Named(AVERAGE, "options")] = mapping()
    """Its arguments."""


@dataclasses.dataclass(frozen=True)
class TypeConfig:
    """A choice by name, with its arguments."""

    type: str
    """Its name."""
    kwargs: dict[str, Any] = mapping()
    """Its arguments."""


@dataclasses.dataclass(frozen=True)
class IgnoreConfig:
    """What is not taken from a checkpoint."""

    key: list[str] = items()
    """Parts of the checkpoint: ``optimizer, last_iter, ema``. Without its step (``last_iter``) a training also starts the
    state of its objective anew, such as a queue or perturbations."""
    model: list[str] = items()
    """Names of parameters, or of modules (``fc``) for all parameters in them. They keep their seeded random values, and the
    log lists them."""


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """A checkpoint to start from."""

    path: str | None = None
    """The file; in evaluation the same as ``model.weights``. A training also takes optimiser, step and averages from it,
    unless they are ignored, and does not check that it was the same training."""
    ignore: IgnoreConfig = section(IgnoreConfig)
    """What is not taken from the checkpoint."""


@dataclasses.dataclass(frozen=True)
class SaverConfig:
    """Checkpoints and logging (training)."""

    print_freq: Count = 10
    """Steps between log lines."""
    val_freq: Count = 5000
    """Steps between evaluations on ``data.test`` and between checkpoints. The last step always has both."""
    save_many: bool = False
    """Whether every checkpoint is kept, as ``ckpt_{iter}.pth.tar``."""
    pretrain: PretrainConfig | None = None
    """A checkpoint to start from."""


@dataclasses.dataclass(frozen=True)
class SwaConfig:
    """Stochastic weight averaging (https://arxiv.org/abs/1803.05407): the plain mean of weights along the end."""

    enable: bool = False
    """Whether it is used."""
    start: Annotated[float, Range(0, 1, above=True, below=True)] = 0.75
    """Share of the training after which weights count."""
    every: Count | None = None
    """Steps between the weights that count; null is an epoch."""
    bn_batches: Count = 100
    """Training batches on which BatchNorm's statistics are measured at the end."""


@dataclasses.dataclass(frozen=True)
class MocoConfig:
    """MoCo v2 (He 2020, https://arxiv.org/abs/1911.05722; Chen 2020, https://arxiv.org/abs/2003.04297)."""

    dim: Count = 128
    """Length of queries and keys."""
    queue: Count = 65536
    """Keys that are kept as negatives, at least as many as a step has images."""
    momentum: ShareBelowOne = 0.999
    """Share of the key encoder that is kept at each step."""
    temperature: Positive = 0.2
    """Temperature of the softmax over keys; it is 0.07 in MoCo v1."""
    mlp: bool = True
    """Whether the projection has a hidden layer; false is the linear projection of MoCo v1."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained, beyond the sections for optimiser, learning rate and data."""

    seed: Annotated[int, Range(0, 2**63 - 1, text="from 0 up, of 63 bits")] = 0
    """Seed of all random draws: first weights, order of the images, augmentation, mixup, dropout, attacks."""
    device: str | None = None
    """Device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``; null is ``evaluation.device``."""
    amp: Literal["bf16", "fp16"] | None = None
    """Half precision of the forward pass; ``fp16`` scales the loss."""
    accumulate: Count = 1
    """Number of portions into which each process splits its batch. Their gradients are added, so only BatchNorm's
    statistics differ."""
    clip_grad: Positive | None = None
    """Largest norm of the gradient of all weights together; null is no limit."""
    channels_last: bool = False
    """Whether images and convolutions are stored in the order channels-last, which is often faster and rounds
    differently."""
    compile: bool = False
    """Whether the network is compiled with ``torch.compile``, which rounds differently."""
    sync_bn: bool = False
    """Whether BatchNorm's statistics are those of all processes (GPUs only)."""
    deterministic: bool = False
    """Whether only deterministic GPU functions are used; one that has no deterministic form is an error. Those of CPUs
    are always deterministic."""
    save_freq: Count | None = None
    """Steps between checkpoints; null is ``saver.val_freq``."""
    swa: SwaConfig = section(SwaConfig)
    """Stochastic weight averaging."""
    objective: Annotated[TypeConfig, Named(OBJECTIVES, "kwargs")] = dataclasses.field(
        default_factory=lambda: TypeConfig("plain")
    )
    """The loss that is minimised, ``{type: NAME, kwargs: {...}}``. ``plain`` is the cross-entropy with label smoothing,
    mixup and cutmix; ``distillation``, ``jsd`` (AugMix) and ``supernet`` (``nas:``) add to it."""
    adversary: Annotated[dict[str, Any], Named(ADVERSARIES, "flat")] | None = None
    """Adversarial training instead of plain images, ``{type: NAME, ...}`` with the options of ``pgd``, ``trades``, ``fast``
    or ``free``. Mixup and cutmix are attacked after blending."""
    moco: MocoConfig | None = None
    """Pre-training without labels, with ``data.train.transforms: {type: MOCOV2}``. A projection replaces the last linear
    layer, so there is nothing to validate or evaluate. Fine-tuning leaves that layer, such as ``fc``, out:
    ``saver.pretrain: {path: ..., ignore: {key: [optimizer, last_iter], model: [fc]}}``."""
    train_only: list[str] | None = None
    """Modules (``fc``) or parameters that are trained, for linear evaluation; null trains everything. All others are in
    evaluation mode and keep their weights, and BatchNorm its statistics, bit for bit."""
