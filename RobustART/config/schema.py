"""The configuration: what a YAML file may say. The string under each field is its manual.

Everything below the solver takes plain keyword arguments; only ``training``, ``nas`` and the command line know this
package. Files are read in ``loader.py`` and checked by :mod:`RobustART.core.options`; those of the 2021 project are
translated by ``original/upgrade.py``, so no field here is only that project's.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from RobustART.config.training import (
    DistConfig,
    EmaConfig,
    OptimizerConfig,
    SaverConfig,
    SchedulerConfig,
    TrainingConfig,
    TypeConfig,
    items,
    mapping,
    section,
)
from RobustART.core.defaults import BATCH_SIZE
from RobustART.core.model_section import ModelConfig
from RobustART.core.ranges import Count, Named, Natural, NotNegative, Repeats, Seed, Share, ShareBelowOne


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """One data set, for training or testing."""

    type: str | None = None
    """The kind of data set: ``image_folder``, ``meta_file``, ``foolbox_photos``, ``cifar10``, ``cifar100``, ``svhn``,
    ``stl10``, ``sklearn_digits``, ``fake`` or ``module:function``. Null is ``meta_file`` if that is given, else
    ``image_folder``."""
    kwargs: dict[str, Any] = mapping()
    """Further arguments of the type: ``cifar10`` and its neighbours take ``split: train | test`` (``test`` by default) and
    ``download: true | false``, ``sklearn_digits`` takes ``split: train | test, size, test_fraction, seed``, ``fake``
    takes ``images, classes, size, seed``."""
    root_dir: str | None = None
    """Folder of the images. Without ``meta_file`` it holds one folder for each class."""
    meta_file: str | None = None
    """Text file with ``path label`` on each line, or JSON lines with ``filename`` and ``label``. Paths are relative to
    ``root_dir``, or without it to the folder of this file."""
    classes: Literal["folder"] | None = None
    """How the class folders of ``root_dir`` are numbered. Null is their names where these are WordNet ids of ImageNet
    or integers from 0, else the order of the names. ``folder`` is that order in any case, as in torchvision's
    ``ImageFolder``.
    """
    image_reader: TypeConfig = dataclasses.field(default_factory=lambda: TypeConfig("pil"))
    """The decoder: ``pil``, ``opencv`` or ``ffmpeg``. ``kwargs: {exif_orientation: true}`` rotates images as their EXIF tag
    says. It also reads the published sets that hold images, unless their own options name another decoder."""
    sampler: TypeConfig | None = None
    """Order of the images in training: ``distributed_epoch`` (a permutation per epoch, the default),
    ``distributed_iteration`` (all epochs shuffled as one) or ``ranked_iteration`` (each process keeps its own part of
    the list)."""
    transforms: dict[str, Any] | list[dict[str, Any]] | None = None
    """Transforms of a training image: ``{type: NAME}`` or a list of ``{type, kwargs}``. Test images are resized and
    cropped as ``model.preprocessing`` says."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data sets and how they are read."""

    batch_size: Count = 64
    """Images per process and training step."""
    images_per_step: Count | None = None
    """Images of all processes together per training step, instead of ``batch_size``, so that a recipe is the same on any
    number of GPUs."""
    num_workers: Natural | None = None
    """Loader processes; null is one per core and process, at most 8. In evaluation ``evaluation.workers`` takes
    precedence."""
    pin_memory: bool = True
    """Whether batches for a GPU are in pinned host memory."""
    prefetch_factor: Count | None = None
    """Batches that each loader process prepares ahead."""
    train: DatasetConfig | None = None
    """The training set."""
    test: DatasetConfig | None = None
    """The test set: the clean images of an evaluation, and those on which a training validates."""


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, and how."""

    benchmarks: Annotated[dict[str, Any], Named("RobustART.benchmarks:BENCHMARKS", "keys")]
    """Names of benchmarks with their options: ``{clean: {}, imagenet_c: {severities: [1, 3]}}``. ``false`` removes one that
    a base file names."""
    batch_size: Count = BATCH_SIZE
    """Images in one forward pass, per process. It is a condition of the result, since another size may round
    differently."""
    workers: Natural | None = None
    """Loader processes; null is one per core and process, at most 8, and 0 reads in the main process."""
    amp: Literal["bf16", "fp16"] | None = None
    """Half precision. Verdicts on attacked images are always float32: attacks use ``bf16`` only to propose, and ``fp16`` is
    used only for images that are not attacked."""
    channels_last: bool = False
    """Whether the weights of convolutions are stored in the order channels-last, which is often faster, on CPUs too, and
    rounds differently."""
    runtime: Literal["torch", "auto", "openvino", "onnxruntime", "compile"] = "torch"
    """What computes the passes without gradient: torch, OpenVINO, ONNX Runtime or torch.compile, in float32. ``auto`` takes
    one that is installed (``pip install "RobustART[fast]"``), gives torch's predictions for the first images, and is
    faster; otherwise torch, and the report gives the reason. With any value but ``torch``, gradients of attacks may come
    from a copy of the network with folded BatchNorm. Successes of attacks are confirmed by the network itself."""
    device: str = "auto"
    """Device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    seed: Seed = 0
    """Seed of all noise. The noise of an image depends on this, the image's id and the noise's name alone. A model that
    draws random numbers is seeded from it before each batch."""
    repeats: Repeats = 1
    """Number of times that the model is asked about each view, for models that draw random numbers: the averaged softmax
    classifies it, and the report has the spread of the single answers. It is a condition of the result."""
    limit: Count | None = None
    """Number of images in a seeded, class-balanced subset that is evaluated instead of all; the report says so."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration file."""

    imports: list[str] = items()
    """Modules of your own that register attacks, corruptions, benchmarks, data sets or model families. They are found
    beside this file, in the current folder, or installed."""
    model: ModelConfig | None = None
    """The classifier."""
    eval_list: list[str] = items()
    """Names of models to evaluate one after the other, each into a folder of its name under ``output_dir``.
    ``model.weights`` may then contain ``{name}``, and is ``pretrained`` by default."""
    dist: DistConfig = section(DistConfig)
    """Distributed training."""
    optimizer: OptimizerConfig | None = None
    """The optimiser (training)."""
    lr_scheduler: SchedulerConfig | None = None
    """The learning rate (training)."""
    label_smooth: ShareBelowOne = 0.0
    """Label smoothing (training)."""
    mixup: NotNegative = 0.0
    """Mixup's alpha (training); 0 is off."""
    cutmix: NotNegative = 0.0
    """Cutmix's alpha (training); 0 is off."""
    switch_prob: Share = 0.5
    """Probability of cutmix where both are on (training)."""
    kw_weight: NotNegative = 0.0
    """Weight of kurtosis regularisation, ``(kurtosis - 1.8)^2`` averaged over layers (training); 0 is off."""
    ema: EmaConfig = section(EmaConfig)
    """Moving average of the weights (training)."""
    data: DataConfig = section(DataConfig)
    """The data sets."""
    saver: SaverConfig = section(SaverConfig)
    """Checkpoints and logging."""
    training: TrainingConfig = section(TrainingConfig)
    """How the model is trained: seed, precision, objective and techniques."""
    evaluation: EvaluationConfig | None = None
    """What is measured; after a training, on the trained model."""
    output_dir: str | None = None
    """Folder of results, logs and checkpoints, relative to this file; null is the folder of this file."""
