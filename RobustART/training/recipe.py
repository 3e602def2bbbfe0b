"""From the configuration to what the loop is made of: the one place where training reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from RobustART.config.schema import Config, DataConfig, DatasetConfig
from RobustART.core.options import to_plain
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError
from RobustART.models import Classifier
from RobustART.training.augment.mixing import Mixing
from RobustART.training.loop import LoopSettings
from RobustART.training.objectives.adversary import ADVERSARIES
from RobustART.training.objectives.moco import Moco
from RobustART.training.objectives.objective import OBJECTIVES, Objective, ObjectiveContext
from RobustART.training.objectives.techniques import Kurtosis
from RobustART.training.optim import create_optimizer
from RobustART.training.parallel import Parallel
from RobustART.training.sampling import Plan, check_plan
from RobustART.training.schedules import Schedule, schedule_of


def trains(config: Config) -> bool:
    """Returns whether a config has what a training needs."""
    return not missing_for_training(config)


def missing_for_training(config: Config) -> list[str]:
    """Returns the names of the sections that a training needs and that are not there."""
    parts = {"optimizer": config.optimizer, "lr_scheduler": config.lr_scheduler, "data.train": config.data.train}
    return [name for name, part in parts.items() if part is None]


def sampler_of(config: Config) -> str:
    """Returns the name of the training sampler."""
    assert config.data.train is not None
    ranked = config.data.use_ranked or config.data.train.use_ranked
    stated = config.data.train.sampler
    if stated is not None and stated.kwargs:
        raise ConfigError(f"data.train.sampler takes no kwargs, got {stated.kwargs}")
    name = stated.type if stated is not None else "ranked_iteration" if ranked else "distributed_epoch"
    if name == "ranked_iteration_dali":
        name = "ranked_iteration"  # DALI is not used, the order is the same
    if ranked and name != "ranked_iteration":
        raise ConfigError(f"data.use_ranked needs the sampler 'ranked_iteration', got {name!r}")
    check_plan(name, Plan(1, 1))
    return name


def mixing_of(config: Config) -> Mixing:
    """Returns what is blended; ``mixup: 1.0`` is off, as in the original."""
    alpha = config.training.mixup_alpha
    if config.mixup > 1:
        raise ConfigError(
            f"mixup must be below 1, or 1.0 for off, got {config.mixup}; larger ones are training.mixup_alpha"
        )
    own = 0.0 if config.mixup == 1 else config.mixup
    if alpha is not None and own not in (0, alpha):
        raise ConfigError(f"mixup is {config.mixup}, but training.mixup_alpha is {alpha}; say it once")
    return Mixing(own if alpha is None else alpha, config.cutmix, config.switch_prob)


def batch_size_of(config: Config, world: int) -> int:
    """Returns the images of a process in one step."""
    data = config.data
    if data.images_per_step is None:
        return data.batch_size
    if data.batch_size != DataConfig.batch_size:
        raise ConfigError(
            f"data.batch_size is {data.batch_size}, but data.images_per_step is {data.images_per_step}; say one of them"
        )
    if data.images_per_step % world:
        raise ConfigError(
            f"data.images_per_step is {data.images_per_step}, which {world} processes cannot share evenly"
        )
    return data.images_per_step // world


def plan_of(config: Config, dataset: ImageDataset, world: int) -> tuple[Plan, Schedule, float]:
    """Returns how images are dealt out, the learning rate, and the rate it is relative to."""
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


def loop_settings(config: Config, steps: int) -> LoopSettings:
    """Returns how steps are made."""
    training = config.training
    return LoopSettings(
        steps=steps,
        seed=training.seed,
        amp=training.amp,
        accumulate=training.accumulate,
        clip_grad=training.clip_grad,
        channels_last=training.channels_last,
        sync=config.dist.sync,
    )


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
    """Returns what is minimised; MoCo's needs the model and the processes."""
    moco = config.training.moco
    if moco is not None:
        assert model is not None
        assert parallel is not None
        options = {k: v for k, v in to_plain(moco).items() if k != "mlp"}
        objective: Objective = Moco(_context(config, classes, device, folder, model), model, parallel, **options)
    else:
        objective = _objective(config, _context(config, classes, device, folder, model))
    return (Kurtosis(objective, config.kw_weight) if config.kw_weight else objective).to(device)


def _context(
    config: Config, classes: int, device: torch.device, folder: Path, model: Classifier | None
) -> ObjectiveContext:
    training = config.training
    size = None if model is None else model.preprocessing.input_size
    return ObjectiveContext(
        classes, config.label_smooth, mixing_of(config), training.seed, device, folder, training.accumulate, size
    )


def _objective(config: Config, context: ObjectiveContext) -> Objective:
    training = config.training
    section, adversary = training.objective, training.adversary
    if adversary is None:
        return OBJECTIVES[section.type](context, **section.kwargs)
    if section.type != "plain":
        raise ConfigError(f"training.adversary needs training.objective 'plain', got {section.type!r}")
    return ADVERSARIES[adversary["type"]](context, **{key: adversary[key] for key in adversary if key != "type"})


def conditions_of(config: Config, dataset: ImageDataset, plan: Plan, weights: Mapping[str, str]) -> dict[str, Any]:
    """Returns all that the course of a training depends on, as plain data for the checkpoint.

    Args:
        config: the configuration.
        dataset: to train on.
        plan: how many images are dealt out.
        weights: fingerprints of what comes from files: what is begun with, and a teacher's.
    """
    data = config.data
    names = (
        "model",
        "optimizer",
        "lr_scheduler",
        "label_smooth",
        "mixup",
        "cutmix",
        "switch_prob",
        "kw_weight",
        "ema",
        "dist",
    )
    conditions = {name: to_plain(getattr(config, name)) for name in names}
    training = to_plain(config.training)
    for name in ("device", "save_freq"):
        del training[name]
    sizes = {"batch_size": plan.batch_size, "input_size": data.input_size, "test_resize": data.test_resize}
    train = to_plain(data.train or DatasetConfig())
    for name in ("root_dir", "meta_file"):  # the data may move
        del train[name]
    return {
        **conditions,
        "training": training,
        "data": {
            **sizes,
            "train": train,
            "sampler": sampler_of(config),
            "images": dataset.fingerprint(range(len(dataset))),
        },
        "saver": {"pretrain": to_plain(config.saver.pretrain)},
        "processes": plan.world,
        **({"weights": dict(weights)} if weights else {}),
    }


def model_arguments(config: Config) -> tuple[dict[str, Any], bool, int | None]:
    """Returns the builder's arguments without the original's ``bn``, whether that asks for SyncBatchNorm, and its group."""
    assert config.model is not None
    kwargs = dict(config.model.kwargs)
    bn = kwargs.get("bn")
    if not isinstance(bn, dict) or "use_sync_bn" not in bn:
        return kwargs, bool(config.training.sync_bn), None
    del kwargs["bn"]
    options = dict(bn.get("kwargs") or {})
    group = options.pop("group_size", None)
    options.pop("var_mode", None)  # how the original's library adds up; PyTorch has one way
    if options or set(bn) - {"use_sync_bn", "kwargs"} or not isinstance(bn["use_sync_bn"], bool):
        raise ConfigError(f"model.kwargs.bn must be {{use_sync_bn: bool, kwargs: {{group_size, var_mode}}}}, got {bn}")
    stated = config.training.sync_bn
    if stated is not None and stated != bn["use_sync_bn"]:
        raise ConfigError(
            f"training.sync_bn is {stated}, but model.kwargs.bn.use_sync_bn is {bn['use_sync_bn']}; say it once"
        )
    return kwargs, bn["use_sync_bn"], group


def run_device(config: Config, training: bool) -> str:
    """Returns the name of the device of a run; training and evaluation share one."""
    evaluation = config.evaluation.device if config.evaluation else "auto"
    stated = config.training.device
    if not training or stated is None:
        return evaluation
    if evaluation not in ("auto", stated):
        raise ConfigError(f"training.device is {stated!r}, but evaluation.device is {evaluation!r}; say it once")
    return stated
