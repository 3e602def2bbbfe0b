"""What a run would find at its start, found without one."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path

import torch

from RobustART.config import Config
from RobustART.data import ImageDataset
from RobustART.distributed import choose_device
from RobustART.errors import ConfigError
from RobustART.evaluation.benchmarks import build_benchmark
from RobustART.evaluation.run import chosen_images
from RobustART.evaluation.settings import run_settings
from RobustART.models.builders import Built
from RobustART.models.deploy import split_deploy
from RobustART.models.macs import meta_device
from RobustART.models.weights import PACKAGED, pretrained_entry
from RobustART.models.zoo import LIBRARIES, build_network, check_name
from RobustART.preprocessing import Preprocessing
from RobustART.training.freezing import train_only
from RobustART.training.loading import generators_kept, seed_generators
from RobustART.training.objective import JSD, MOCO, check_views, views_of
from RobustART.training.recipe import loop_settings, model_arguments, optimizer_of, plan_of, run_device, trains
from RobustART.training.refusals import refuse_impossible, refuse_impossible_training
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
from RobustART.training.techniques import build_teacher, probe_teacher
from RobustART.training.transforms import TrainingView, create_transform

log = logging.getLogger("RobustART")


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


def outline(config: Config) -> Built:
    """Returns the network of a config, without memory where a library builds it: names and shapes, no values.

    Raises:
        ModelError, UnknownNameError: it cannot be built.
    """
    section = model_section(config)
    name = section.type
    kwargs, _ = split_deploy(name, model_arguments(config)[0])
    size = preprocessing_fields(config).get("input_size")
    own = check_name(name)[0] not in (*LIBRARIES, "robustart", "nas")
    with contextlib.nullcontext() if own else meta_device():
        return build_network(name, kwargs, input_size=size)


def _check_transforms(config: Config, dataset: ImageDataset, preprocessing: Preprocessing) -> None:
    """Raises what making the training's pictures would raise, as far as the first one shows it."""
    assert config.data.train is not None
    view = TrainingView(create_transform(config.data.train.transforms or [], preprocessing), preprocessing.input_size)
    picture = dataset.picture(0)
    with generators_kept():
        for key in range(TRIALS):
            seed_generators(key)
            made = view(picture, dataset.files[0])
    training = config.training
    objective = MOCO if training.moco else JSD if training.objective.type == "jsd" else "training.objective"
    check_views(objective, views_of(made[None]))


def _check_training(config: Config, dataset: ImageDataset, folder: Path) -> None:
    """Raises what a training would raise before its first step, as far as it can be known without weights."""
    refuse_impossible_training(config)
    plan, _, base_lr = plan_of(config, dataset, 1)
    loop_settings(config, plan.steps)
    choose_device(run_device(config, training=True), 0)
    built = outline(config)
    preprocessing = dataclasses.replace(built.preprocessing, **preprocessing_fields(config))
    _check_transforms(config, dataset, preprocessing)
    _check_teacher(config, folder, preprocessing.input_size)
    if config.training.train_only is not None:
        train_only(built.network, config.training.train_only)
    optimizer_of(config, built.network, base_lr)


def _check_teacher(config: Config, folder: Path, input_size: int) -> None:
    """Raises what building the teacher of a distillation would raise; one that must be fetched is left to the run."""
    section = config.training.objective
    teacher = section.kwargs.get("teacher") if section.type == "distillation" else None
    weights = teacher.get("weights") if isinstance(teacher, dict) else None
    if teacher is None or (isinstance(weights, str) and pretrained_entry(weights) is not None):
        return
    probe_teacher(build_teacher(teacher, folder), input_size, torch.device("cpu"))


def check(config: Config, folder: Path) -> None:
    """Raises what a run would raise before its first image.

    Builds no process group, and of networks only those that a benchmark adds, functions of one's own, and a teacher.
    """
    check_model(config, folder)
    if trains(config):
        _check_training(config, train_dataset(config, folder), folder)
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
