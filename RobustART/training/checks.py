"""What is refused before a run: values that the schema knows but that cannot be, and what a run would find at its start."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch

from RobustART.config import Config, DatasetConfig
from RobustART.data import ImageDataset
from RobustART.data.fake import FAKE_NOTE
from RobustART.distributed import choose_device
from RobustART.errors import ConfigError
from RobustART.evaluation.benchmarks import build_benchmark
from RobustART.evaluation.run import chosen_images
from RobustART.evaluation.settings import run_settings
from RobustART.models.weights import PACKAGED, pretrained_entry
from RobustART.models.zoo import check_name
from RobustART.preprocessing import Preprocessing
from RobustART.training.loading import generators_kept, seed_generators
from RobustART.training.recipe import check_training, mixing_of, model_arguments, trains
from RobustART.training.resolve import (
    chosen_benchmarks,
    clean_dataset,
    evaluation_section,
    limit_of,
    model_section,
    preprocessing_fields,
    train_dataset,
    weights_of,
)
from RobustART.training.switches import unused_with_switches
from RobustART.training.techniques import build_teacher, probe_teacher
from RobustART.training.transforms import TrainingView, create_transform

log = logging.getLogger("RobustART")


def _refuse_evaluator(test: DatasetConfig) -> None:
    kinds = ("imagenet", "imagenetc") if test.imagenet_c else ("imagenet",)
    if test.evaluator is None:
        return
    if test.evaluator.type not in kinds:
        also = "" if test.imagenet_c else " ('imagenetc' goes with the switch data.test.imagenet_c)"
        raise ConfigError(
            f"data.test.evaluator.type must be {', '.join(map(repr, kinds))} or absent{also}, got "
            f"{test.evaluator.type!r}; name what is measured in evaluation.benchmarks"
        )
    kwargs = dict(test.evaluator.kwargs)
    topk = kwargs.pop("topk", [1, 5])
    if topk not in ([1, 5], [5, 1]):
        raise ConfigError(f"data.test.evaluator.kwargs.topk must be [1, 5], got {topk!r}")
    if kwargs:
        raise ConfigError(f"data.test.evaluator.kwargs may hold topk: [1, 5] alone, got {test.evaluator.kwargs}")


def _refuse_with_moco(config: Config) -> None:
    """Raises a ConfigError for what has no meaning where no classes are learned."""
    training, moco = config.training, config.training.moco
    if moco is None:
        return
    for name, value, good, allowed in (
        ("dim", moco.dim, moco.dim >= 1, "a whole number above 0"),
        ("queue", moco.queue, moco.queue >= config.data.batch_size, "at least the images of a step"),
        ("momentum", moco.momentum, 0 <= moco.momentum < 1, "in [0, 1)"),
        ("temperature", moco.temperature, 0 < moco.temperature < math.inf, "a number above 0"),
    ):
        if not good:
            raise ConfigError(f"training.moco.{name} must be {allowed}, got {value}")
    what = "training.moco learns without labels and has no classifier"
    for name, on, why in (
        ("data.test", config.data.test is not None, f"{what} to validate; leave it out until fine-tuning"),
        ("evaluation", config.evaluation is not None, f"{what} to evaluate; fine-tune its checkpoint first"),
        ("label_smooth", config.label_smooth != 0, what),
        ("mixup and cutmix", bool(mixing_of(config)), f"{what} whose targets could be blended"),
        ("training.adversary", training.adversary is not None, "training.moco is an objective of its own"),
        ("training.objective", training.objective.type != "plain", "training.moco is an objective of its own"),
        ("training.swa", training.swa.enable, "it measures BatchNorm's statistics on single views; ema is possible"),
        (
            "SyncBatchNorm", config.model is not None and model_arguments(config)[1],
            "training.moco shuffles images between processes instead; say training.sync_bn: false",
        ),
    ):  # fmt: skip
        if on:
            raise ConfigError(f"{name} cannot be used with training.moco: {why}")


def refuse_impossible(config: Config) -> None:
    """Raises a ConfigError for values that the schema knows but that cannot be done here, and warns of ignored ones."""
    data, test = config.data, config.data.test or DatasetConfig()
    if data.read_from == "fake":
        log.warning("data.read_from: fake - %s", FAKE_NOTE)
    elif data.read_from != "fs":
        raise ConfigError(f"data.read_from: {data.read_from!r} needs a server of the original's cluster; say 'fs'")
    if data.use_dali:
        log.warning("data.use_dali is not used: images are decoded and resized by pillow on the CPU")
    if test.sampler is not None and test.sampler.type != "distributed":
        raise ConfigError(f"data.test.sampler.type must be 'distributed' (each image once), got {test.sampler.type!r}")
    named = test.transforms
    usual = "JUSTNORM" if test.imagenet_p else "ONECROP"
    if named is not None and (isinstance(named, list) or named.get("type") != usual):
        raise ConfigError(
            f"data.test.transforms must be {{type: {usual}}} or absent, got {named!r}; resize and crop are set in "
            "model.preprocessing"
        )
    _refuse_evaluator(test)
    if config.training.train_only is not None and config.training.swa.enable:
        raise ConfigError("training.swa measures all statistics of BatchNorm anew, which training.train_only keeps")
    if data.type == "multiclass":
        raise ConfigError(
            "data.type: 'multiclass' (several labels an image) is not possible; say 'imagenet' or 'custom'"
        )
    for name, without in unused_with_switches(test):
        log.warning("data.test.%s is not used %s", name, without)
    _refuse_with_moco(config)
    pretrain = config.saver.pretrain
    limit = config.evaluation.limit if config.evaluation else None
    for first, one, second, other in (
        ("model.weights", model_section(config).weights, "saver.pretrain.path", pretrain.path if pretrain else None),
        ("evaluation.limit", limit, "data.test.limit_samples", test.limit_samples),
    ):
        if one is not None and other is not None and one != other:
            raise ConfigError(f"{first} is {one!r}, but {second} is {other!r}; say it once")
    for name in ("model_src", "model_tgt"):
        if getattr(config, name):
            raise ConfigError(f"{name} is not used by this version: it evaluates one model, named in 'model'")


def check_model(config: Config, folder: Path) -> None:
    """Raises what building the model would raise, as far as it can be known without building it."""
    refuse_impossible(config)
    check_name(model_section(config).type)
    weights = weights_of(config, folder)
    known = weights is None or weights in PACKAGED or pretrained_entry(weights) is not None
    if not known and not Path(str(weights)).is_file():
        raise ConfigError(f"there is no weights file {weights}")
    preprocessing_fields(config)


TRIALS = 8
"""How often the training's transforms are tried on the first picture."""


def _check_transforms(config: Config, dataset: ImageDataset) -> None:
    """Raises what making the training's pictures would raise, as far as the first one shows it.

    Where the config does not say the model's input size, only the network knows which sizes the transforms must make.
    """
    train = config.data.train
    assert train is not None
    if train.transforms is None or "GRAYSCALE" in str(train.transforms):  # which asks for the model's own mean
        return
    fields = preprocessing_fields(config)
    view = TrainingView(create_transform(train.transforms, Preprocessing(**fields)), fields.get("input_size", 0))
    if "input_size" not in fields:
        return
    picture = dataset.picture(0)
    with generators_kept():
        for key in range(TRIALS):
            seed_generators(key)
            view(picture, dataset.files[0])


def _check_teacher(config: Config, folder: Path) -> None:
    """Raises what building the teacher of a distillation would raise; one that must be fetched is left to the run."""
    section = config.training.objective
    teacher = section.kwargs.get("teacher") if section.type == "distillation" else None
    weights = teacher.get("weights") if isinstance(teacher, dict) else None
    if teacher is None or (isinstance(weights, str) and pretrained_entry(weights) is not None):
        return
    model = build_teacher(teacher, folder)
    size = preprocessing_fields(config).get("input_size")
    if size is not None:
        probe_teacher(model, size, torch.device("cpu"))


def check(config: Config, folder: Path) -> None:
    """Raises what a run would raise before its first image.

    Builds no process group, and no network but those that a benchmark adds.
    """
    check_model(config, folder)
    if trains(config):
        images = train_dataset(config, folder)
        check_training(config, images)
        _check_transforms(config, images)
        _check_teacher(config, folder)
        if config.evaluation is None:
            return
    section = evaluation_section(config)
    run_settings(section.batch_size, section.workers, section.amp, section.channels_last, section.seed, progress=False)
    choose_device(section.device, 0)
    dataset, limit = clean_dataset(config, folder), limit_of(config)
    if limit is not None and dataset is not None:
        chosen_images(dataset, limit, section.seed)
    for name, options in chosen_benchmarks(config, folder).items():
        for part in build_benchmark(name, dataset, options).passes:
            chosen_images(part.dataset, limit, section.seed)
