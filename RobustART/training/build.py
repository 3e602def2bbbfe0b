"""Builds a training from a configuration: its plan, optimiser and objective, and the trainer that runs it.

Images and the model come from ``inputs.py``. Incompatible settings are refused before, in ``preflight.py``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from RobustART.config.schema import Config, DataConfig
from RobustART.core.distributed import World
from RobustART.core.options import to_plain
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError
from RobustART.evaluation.checks import check_labels, probe
from RobustART.evaluation.conditions import fingerprint
from RobustART.evaluation.settings import default_workers
from RobustART.models import Classifier
from RobustART.models.provenance import technique_of
from RobustART.training.augment.mixing import Mixing
from RobustART.training.augment.transforms import TrainingView, create_transform
from RobustART.training.checkpoint import FORMAT, begun_with
from RobustART.training.ema import Ema, Swa
from RobustART.training.freezing import train_only
from RobustART.training.inputs import build_dataset, clean_dataset, configured_model, weights_of
from RobustART.training.loading import load_batches
from RobustART.training.loop import Training
from RobustART.training.objectives.adversary import ADVERSARIES
from RobustART.training.objectives.moco import Moco, replace_head
from RobustART.training.objectives.objective import OBJECTIVES, Objective, ObjectiveContext
from RobustART.training.objectives.techniques import Kurtosis
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel
from RobustART.training.sampling import Plan, check_plan
from RobustART.training.schedules import Schedule, schedule_of
from RobustART.training.trained import trained_notes
from RobustART.training.trainer import Trainer


def batch_size_of(config: Config, world: int) -> int:
    """Returns the images of a process in one training step."""
    data = config.data
    if data.images_per_step is None:
        return data.batch_size
    if data.batch_size != DataConfig.batch_size:
        raise ConfigError(
            f"data.batch_size is {data.batch_size}, but data.images_per_step is {data.images_per_step}; set one of them"
        )
    if data.images_per_step % world:
        raise ConfigError(
            f"data.images_per_step is {data.images_per_step}, which {world} processes cannot share evenly"
        )
    return data.images_per_step // world


def sampler_of(config: Config) -> str:
    """Returns the name of the training sampler."""
    stated = config.data.train.sampler if config.data.train else None
    if stated is not None and stated.kwargs:
        raise ConfigError(f"data.train.sampler takes no kwargs, got {stated.kwargs}")
    name = "distributed_epoch" if stated is None else stated.type
    check_plan(name, Plan(1, 1))
    return name


def plan_of(config: Config, dataset: ImageDataset, world: int) -> tuple[Plan, Schedule, float]:
    """Returns the sampler's plan, the learning rate, and the base learning rate."""
    assert config.lr_scheduler is not None
    plan = Plan(len(dataset), batch_size_of(config, world), world, seed=config.training.seed)
    check_plan(sampler_of(config), plan)
    section = config.lr_scheduler
    schedule, base_lr, steps = schedule_of(section.type, section.kwargs, plan.steps_per_epoch)
    if config.training.accumulate > plan.batch_size:
        raise ConfigError(
            f"training.accumulate must be at most the images of a process and step, {plan.batch_size}, got "
            f"{config.training.accumulate}"
        )
    first = config.ema.kwargs.get("inner_T", 1)
    if config.ema.enable and first > steps:
        raise ConfigError(
            f"ema.kwargs.inner_T is {first}, but the training has {steps} steps: no average is ever taken"
        )
    return dataclasses.replace(plan, steps=steps), schedule, base_lr


def optimizer_of(config: Config, model: torch.nn.Module, base_lr: float) -> torch.optim.Optimizer:
    """Returns the optimiser of a model's parameters."""
    section = config.optimizer
    assert section is not None
    return create_optimizer(
        model, section.type, lr=base_lr, no_wd=section.no_wd, pconfig=section.pconfig, kwargs=section.kwargs
    )


def objective_of(
    config: Config, classes: int, device: torch.device, folder: Path, model: Classifier | None = None,
    parallel: Parallel | None = None,
) -> Objective:  # fmt: skip
    """Returns the objective; MoCo's needs the model and the processes."""
    training, size = config.training, None if model is None else model.preprocessing.input_size
    mixing = Mixing(config.mixup, config.cutmix, config.switch_prob)
    context = ObjectiveContext(classes, config.label_smooth, mixing, training.seed, device, folder, size)
    if training.moco is not None:
        assert model is not None
        assert parallel is not None
        objective: Objective = Moco(context, model, parallel, training.moco)
    elif training.adversary is not None:
        options = dict(training.adversary)
        objective = ADVERSARIES[options.pop("type")](context, **options)
    else:
        objective = OBJECTIVES[training.objective.type](context, **training.objective.kwargs)
    return (Kurtosis(objective, config.kw_weight) if config.kw_weight else objective).to(device)


def training_view(config: Config, preprocessing: Preprocessing) -> TrainingView:
    """Returns the transform of a config's training images for a model's preprocessing."""
    transforms = config.data.train.transforms if config.data.train else None
    if transforms is None:
        raise ConfigError("data.train.transforms is missing; write {type: STANDARD}, or {type: JUSTNORM} for none")
    return TrainingView(create_transform(transforms, preprocessing), preprocessing.input_size)


def conditions_of(config: Config, dataset: ImageDataset, plan: Plan, weights: Mapping[str, str]) -> dict[str, Any]:
    """Returns all that the course of a training depends on, as plain data for the checkpoint.

    ``weights`` are fingerprints of the weights that come from files: the first ones, and a teacher's.
    """
    plain = to_plain(config)
    for name in ("evaluation", "output_dir", "eval_list", "imports"):
        del plain[name]
    for name in ("device", "save_freq"):
        del plain["training"][name]
    for name in ("root_dir", "meta_file"):  # the data may move
        plain["data"]["train"].pop(name)
    data = {"batch_size": plan.batch_size, "train": plain["data"]["train"], "sampler": sampler_of(config)}
    return {
        **plain,
        "format": FORMAT,
        "data": {**data, "images": dataset.fingerprint(range(len(dataset)))},
        "saver": {"pretrain": plain["saver"]["pretrain"]},
        "processes": plan.world,
        **({"weights": dict(weights)} if weights else {}),
    }


def started_from(config: Config, folder: Path, steps: int) -> tuple[Path, dict[str, Any]] | None:
    """Returns the checkpoint that ``saver.pretrain`` names, without its weights; None if it names no file."""
    pretrain = config.saver.pretrain
    path = Path(weights_of(config, folder) or "") if pretrain and pretrain.path else Path()
    return None if pretrain is None or not path.is_file() else (path, begun_with(path, pretrain.ignore.key, steps))


def build_trainer(config: Config, folder: Path, output_dir: Path, world: World, trial: int | None = None) -> Trainer:
    """Returns the training of a config, ready to run.

    With ``trial`` the training ends after so many steps and does not validate.
    """
    section, parallel = config.training, Parallel(world)
    dataset = build_dataset(config.data.train, folder, "data.train")
    model = configured_model(config, folder, section.seed)
    test = clean_dataset(config, folder) if trial is None else None
    plan, schedule, base_lr = plan_of(config, dataset, world.size)
    plan = plan if trial is None else dataclasses.replace(plan, steps=min(plan.steps, trial))
    view = training_view(config, model.preprocessing)
    weights = {} if weights_of(config, folder) is None else {"start": fingerprint(model.network)}
    model = model.to(world.device)
    if section.moco is not None:
        replace_head(model, section.moco, seed=section.seed)
    classes = probe(model, model.preprocessing.input_size, world.device)
    objective = objective_of(config, classes, world.device, folder, model, parallel)
    if objective.uses_labels:
        for images in filter(None, (dataset, test)):
            check_labels(images, range(len(images)), classes)
    if section.sync_bn:
        model.network = parallel.sync_batchnorm(model.network)
    if section.channels_last:
        model = model.to(memory_format=torch.channels_last)
    frozen = [] if section.train_only is None else train_only(model.network, section.train_only)
    optimizer = optimizer_of(config, model, base_lr)
    ema = Ema(model.network, **config.ema.kwargs) if config.ema.enable else None
    first, every = max(1, round(section.swa.start * plan.steps)), section.swa.every or plan.steps_per_epoch
    swa = Swa(model.network, first=first, every=every) if section.swa.enable else None
    model.notes = trained_notes(model)
    model.technique = technique_of(to_plain(config), model.technique if weights else None)
    training = Training(
        model, objective, optimizer, schedule, base_lr, parallel, plan.steps, section, sync=config.dist.sync, ema=ema,
        swa=swa, frozen=frozen,
    )  # fmt: skip
    if section.compile:
        model.network.compile()
    weights |= {name: fingerprint(other) for name, other in objective.others().items()}
    data = config.data
    workers = default_workers() if data.num_workers is None else data.num_workers
    load = functools.partial(
        load_batches, dataset, view, sampler=sampler_of(config), workers=workers,
        pin_memory=data.pin_memory and world.device.type == "cuda", prefetch_factor=data.prefetch_factor,
    )  # fmt: skip
    return Trainer(
        training,
        dataset,
        plan,
        load,
        config.saver,
        workers,
        output_dir,
        conditions_of(config, dataset, plan, weights),
        functools.partial(started_from, config, folder, plan.steps),
        test,
    )
