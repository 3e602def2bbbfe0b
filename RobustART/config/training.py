"""The parts of the configuration that only training reads, and the kinds of fields that all parts share.

The string under each field is its manual; see ``config.py``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal


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
    """All-reduce the gradients after the backward pass instead of during it."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser (training)."""

    type: Literal[
        "SGD", "RMSprop", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "LAMB", "LARS", "Lion",
        "RMSpropTF",
    ]  # fmt: skip
    """A class of ``torch.optim``, or of timm: ``LAMB, LARS, Lion, RMSpropTF``."""
    no_wd: bool | dict[str, bool] | None = None
    """Parameters without weight decay: ``{fc: bool, norm: bool, embed: bool}`` for biases of layers, normalisation layers,
    and position embeddings and tokens; true for all three. False switches nothing on."""
    pconfig: dict[str, dict[str, Any]] = mapping()
    """Options of single kinds of parameters (``conv_b, conv_w, conv_dw_w, conv_dense_b, linear_w, linear_b, bn_w, bn_b,
    other``), such as ``{bn_w: {weight_decay: 0}}``; they go before ``no_wd``."""
    kwargs: dict[str, Any] = mapping()
    """Arguments of the class, without ``lr`` (it is ``lr_scheduler.kwargs.base_lr``)."""


@dataclasses.dataclass(frozen=True)
class SchedulerConfig:
    """The learning rate (training)."""

    type: Literal[
        "Step", "StepDecay", "Cosine", "Poly", "eCosine", "StepEpoch", "StepDecayEpoch", "CosineEpoch", "PolyEpoch",
        "eCosineEpoch",
    ]  # fmt: skip
    """Its curve; with ``Epoch`` durations are in epochs, else in steps."""
    kwargs: dict[str, Any] = mapping()
    """``base_lr, warmup_lr, warmup_steps | warmup_epoch, max_iter | max_epoch, min_lr, lr_steps | lr_epochs, lr_mults,
    step_size, decay, power``."""


@dataclasses.dataclass(frozen=True)
class SwitchConfig:
    """A part that can be switched on, with its arguments."""

    enable: bool = False
    """Whether it is used."""
    kwargs: dict[str, Any] = mapping()
    """Its arguments."""


@dataclasses.dataclass(frozen=True)
class TypeConfig:
    """A thing chosen by name, with its arguments."""

    type: str
    """Its name."""
    kwargs: dict[str, Any] = mapping()
    """Its arguments."""


@dataclasses.dataclass(frozen=True)
class IgnoreConfig:
    """What is not taken from a checkpoint."""

    key: list[str] = items()
    """Parts of the checkpoint: ``optimizer, last_iter, ema``. Without its step a training begins with an objective's
    state (a queue, perturbations) of its own too."""
    model: list[str] = items()
    """Names of parameters, or of modules (``fc``) for all that is in them; they keep their seeded random values, and the
    log says so."""


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """A checkpoint to start from."""

    path: str | None = None
    """The file; in evaluation the same as ``model.weights``. A training takes optimiser, step and averages from it too
    unless they are ignored, and does not ask whether it was the same training."""
    ignore: IgnoreConfig = section(IgnoreConfig)
    """What is not taken from it."""


@dataclasses.dataclass(frozen=True)
class SaverConfig:
    """Checkpoints and logging (training)."""

    print_freq: int = 10
    """Steps between log lines."""
    val_freq: int = 5000
    """Steps between evaluations on ``data.test`` and between checkpoints; the last step has both."""
    save_many: bool = False
    """Keep every checkpoint as ``ckpt_{iter}.pth.tar``."""
    pretrain: PretrainConfig | None = None
    """A checkpoint to start from."""


@dataclasses.dataclass(frozen=True)
class SwaConfig:
    """Stochastic weight averaging (https://arxiv.org/abs/1803.05407): the plain mean of weights along the end."""

    enable: bool = False
    """Whether it is used."""
    start: float = 0.75
    """Share of the training after which weights count, in [0, 1)."""
    every: int | None = None
    """Steps between the weights that count; by default an epoch."""
    bn_batches: int = 100
    """Training batches that BatchNorm's statistics are measured on at the end."""


@dataclasses.dataclass(frozen=True)
class AdversaryConfig:
    """Adversarial training. What is left out is as in the adversary's paper, or for ``pgd`` as in the original."""

    type: Literal["pgd", "trades", "fast", "free"]
    """``pgd`` (Madry 2018, https://arxiv.org/abs/1706.06083), ``trades`` (Zhang 2019, https://arxiv.org/abs/1901.08573),
    ``fast`` (FGSM from a random start, Wong 2020, https://arxiv.org/abs/2001.03994) or ``free`` (Shafahi 2019,
    https://arxiv.org/abs/1904.12843)."""
    mode: Literal["half", "only"] | None = None
    """Of ``pgd``: ``half`` learns from each image clean and attacked, as the original does; ``only`` from attacked ones."""
    eps: float | None = None
    """Radius for images in [0, 1]; 16/255 with ``pgd``, else 8/255."""
    steps: int | None = None
    """Steps of ``pgd`` (20) and ``trades`` (10)."""
    step_size: float | None = None
    """Length of a step, not of ``free``; or"""
    rel_stepsize: float | None = None
    """the same in units of eps: 1/15 with ``pgd``, 1/4 with ``trades``, 1.25 with ``fast``."""
    norm: Literal["Linf", "L2", "L1"] | None = None
    """Of the ball of ``pgd`` and ``trades``; Linf by default."""
    random_start: bool | None = None
    """Whether ``pgd`` starts at a random point of the ball, as it does by default; the others always do."""
    beta: float | None = None
    """Weight of the divergence in ``trades``, by default 6."""
    replays: int | None = None
    """Steps in a row on the same batch in ``free``, by default 8. They count as steps and epochs of the schedule."""


@dataclasses.dataclass(frozen=True)
class MocoConfig:
    """MoCo v2 (He 2020, https://arxiv.org/abs/1911.05722; Chen 2020, https://arxiv.org/abs/2003.04297)."""

    dim: int = 128
    """Length of queries and keys."""
    queue: int = 65536
    """Keys that are kept as negatives; at least the images of a step."""
    momentum: float = 0.999
    """Share of the key encoder that stays at each step, in [0, 1)."""
    temperature: float = 0.2
    """Of the softmax over keys; 0.07 in MoCo v1."""
    mlp: bool = True
    """Projection with a hidden layer; false is MoCo v1's linear one."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained, beyond the sections for optimiser, learning rate and data."""

    seed: int = 0
    """Seed of everything that is drawn: first weights, order of the images, augmentation, mixup, dropout, attacks."""
    device: str | None = None
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``; by default ``evaluation.device``."""
    amp: Literal["bf16", "fp16"] | None = None
    """Half precision of the forward pass; ``fp16`` scales the loss."""
    accumulate: int = 1
    """Portions in which each process works off its batch; gradients are added up, so only BatchNorm sees the difference."""
    clip_grad: float | None = None
    """Largest norm of the gradient of all weights together."""
    channels_last: bool = False
    """Keep images and convolutions in the order channels-last: often faster; rounds differently."""
    compile: bool = False
    """Compile the network with ``torch.compile``; rounds differently."""
    sync_bn: bool = False
    """BatchNorm statistics over all processes (GPUs only); off by default."""
    deterministic: bool = False
    """Only GPU functions that give the same bits each time, an error where there is none. CPUs do by themselves."""
    save_freq: int | None = None
    """Steps between checkpoints; by default ``saver.val_freq``."""
    swa: SwaConfig = section(SwaConfig)
    """Stochastic weight averaging."""
    objective: TypeConfig = dataclasses.field(default_factory=lambda: TypeConfig("plain"))
    """What is minimised. ``plain`` is the cross-entropy with label smoothing, mixup and cutmix; ``distillation`` adds a
    teacher's predictions (Hinton 2015, https://arxiv.org/abs/1503.02531), ``kwargs: {teacher: {type, kwargs, weights,
    preprocessing}, alpha: 0.5, temperature: 4}``; ``jsd`` is AugMix's loss (Hendrycks 2020, https://arxiv.org/abs/1912.02781)
    for ``data.train.transforms`` with ``views``, ``kwargs: {weight: 12}``; ``supernet`` trains ``nas:resnet`` and
    ``nas:mobilenet_v3`` by the sandwich rule with in-place distillation (Yu and Huang 2019,
    https://arxiv.org/abs/1903.05134), ``kwargs: {random: 2, distill: true}``."""
    adversary: AdversaryConfig | None = None
    """Adversarial training, instead of plain images; mixup and cutmix are attacked after blending."""
    moco: MocoConfig | None = None
    """Pre-training without labels, with ``data.train.transforms: {type: MOCOV2}``. A projection takes the place of the last
    linear layer; so there is nothing to validate or evaluate, and fine-tuning leaves that layer, such as ``fc``, out:
    ``saver.pretrain: {path: ..., ignore: {key: [optimizer, last_iter], model: [fc]}}``."""
    train_only: list[str] | None = None
    """Modules (``fc``) or parameters that are trained, for linear evaluation: all others keep their weights, and BatchNorm
    its statistics, bit for bit; they are in evaluation mode. By default everything is trained."""
