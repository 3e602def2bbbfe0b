"""Values that the schema knows but that cannot be, or that nothing here would use: refused by name before all else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from RobustART.config.schema import Config, DatasetConfig
from RobustART.data.fake import FAKE_NOTE
from RobustART.errors import ConfigError
from RobustART.original.switches import unused_with_switches
from RobustART.registry import Registry
from RobustART.training.recipe import (
    loop_settings,
    missing_for_training,
    mixing_of,
    model_arguments,
    objective_of,
    sampler_of,
)
from RobustART.training.resolve import model_section

log = logging.getLogger("RobustART")

REFUSALS: Registry[Callable[[Config], None]] = Registry("refusal", providers=("RobustART.nas.training",))
"""Functions of other rooms that raise a ConfigError for a training that they cannot do."""


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
    if moco.queue < (config.data.images_per_step or config.data.batch_size):  # of one process, at least
        raise ConfigError(f"training.moco.queue must be at least the images of a step, got {moco.queue}")
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


def refuse_impossible_training(config: Config) -> list[str]:
    """Raises a ConfigError for what the schema knows but no training can do; returns warnings of what is not used."""
    if missing_for_training(config):
        raise ConfigError(f"a training needs the sections {', '.join(missing_for_training(config))}")
    train, training = config.data.train, config.training
    assert train is not None
    assert config.optimizer is not None
    if config.lms.enable:
        raise ConfigError(
            "lms.enable: large-model support needs a private build of torch; training.accumulate and amp save memory"
        )
    if train.transforms is None:
        raise ConfigError("data.train.transforms is missing; say {type: STANDARD}, or {type: JUSTNORM} for none")
    for name in ("imagenet_c", "imagenet_p", "imagenet_a_o", "limit_samples"):
        if getattr(train, name):
            raise ConfigError(f"data.train.{name} belongs to data.test")
    sampler_of(config)
    mixing_of(config)
    loop_settings(config, 1)
    assert config.model is not None
    for refuse in REFUSALS.values():
        refuse(config)
    if training.moco is None and (training.adversary is not None or training.objective.type in ("plain", "jsd")):
        objective_of(config, 2, torch.device("cpu"), Path())
    pretrain = config.saver.pretrain
    if pretrain is not None and "model" in pretrain.ignore.key:
        raise ConfigError(
            "saver.pretrain.ignore.key may not hold 'model': the weights are what saver.pretrain.path is named for; leave "
            "saver.pretrain out, or name parameters in ignore.model"
        )
    warnings = []
    if config.data.prefetch_factor is not None and config.data.num_workers == 0:
        warnings.append("data.prefetch_factor is not used: it is of loader processes, and data.num_workers is 0")
    half = [name for name in ("fp16_normal_bn", "fp16_normal_fc") if getattr(config.optimizer, name)]
    return [
        *warnings,
        *(f"optimizer.{name} is not used: training.amp keeps weights and BatchNorm in float32" for name in half),
    ]
