"""Translates the 2021 project's configuration files into ours, before the schema reads them.

Plain data in, plain data out. The keys that are handled here are only that project's; the schema does not know them. What a
key asks for is expressed by our keys where they can, named in a warning where it makes no difference to the results, and
refused otherwise. What is malformed is left for the schema to refuse. ``data.test`` is in ``measured.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from RobustART.errors import ConfigError
from RobustART.original.measured import FOLDERS, TEST_ONLY, translate_test
from RobustART.original.sections import Plain, made_section, section, set_once, take

SAMPLERS = {"distributed": "distributed_epoch", "ranked_iteration_dali": "ranked_iteration"}
"""Training samplers that have another name here."""


def upgrade(raw: Mapping[str, Any]) -> tuple[Plain, list[str]]:
    """Returns the data of a configuration file in today's keys, and warnings of what is not used.

    Raises:
        ConfigError: a value that this package cannot honour, or two keys that contradict each other.
    """
    config: Plain = copy.deepcopy(dict(raw))
    warnings: list[str] = []
    data = section(config, "data")
    marks = [f"data.{key}" for key in ("type", "read_from", "use_dali") if key in data]
    _refuse_models_of_attacks(config)
    _mixup(config, marks, warnings)
    _sync_bn(config)
    _memory(config, warnings)
    _data(data, warnings)
    _train(section(data, "train"), take(data, "use_ranked", "data", bool))
    if isinstance(data.get("test"), dict):
        translate_test(config, data, warnings)
    _sizes(config, data)
    evaluation = config.get("evaluation")
    if marks and isinstance(evaluation, dict):
        evaluation.setdefault("benchmarks", {"clean": {}})
    return config, warnings


def _refuse_models_of_attacks(config: Plain) -> None:
    pretrain = section(config, "saver", "pretrain")
    named = [key for key in ("model_src", "model_tgt") if config.pop(key, None) is not None]
    named += [f"saver.pretrain.{key}" for key in ("path_src", "path_tgt") if pretrain.pop(key, None) is not None]
    if named:
        raise ConfigError(
            f"{', '.join(named)}: the original's command line filled these in; here the attacks on a model are "
            "evaluation.benchmarks.adversarial, as in exprs/nips_benchmark/batch_eval_adv/config.yaml, and the transfer of "
            "one model's adversarial images to others is evaluation.benchmarks.transfer, as in "
            "exprs/nips_benchmark/batch_eval_transfer/config.yaml"
        )


def _mixup(config: Plain, marks: list[str], warnings: list[str]) -> None:
    """Its ``mixup`` is off from 1.0 up; ours is the paper's alpha, where only 0 is off."""
    alpha: Any = config.get("mixup")
    if marks and type(alpha) in (int, float) and alpha >= 1:
        config["mixup"] = 0.0
        warnings.append(
            f"mixup: {alpha} is off, as in the original, whose file this is ({', '.join(marks)}); without these keys it is "
            f"the paper's alpha, {alpha}"
        )
    ours = section(config, "training").pop("mixup_alpha", None)  # our own key, when mixup was the original's
    if ours is not None:
        config["mixup"] = ours


def _sync_bn(config: Plain) -> None:
    """``model.kwargs.bn`` asks for synchronised BatchNorm, which is a matter of the training here."""
    kwargs = section(config, "model", "kwargs")
    bn = kwargs.get("bn")
    if not isinstance(bn, dict) or "use_sync_bn" not in bn:
        return
    del kwargs["bn"]
    on, options = bn["use_sync_bn"], bn.get("kwargs") or {}
    fits = isinstance(on, bool) and isinstance(options, dict) and set(bn) <= {"use_sync_bn", "kwargs"}
    if not fits or set(options) - {"group_size", "var_mode"}:  # var_mode: how to add up, of which PyTorch has one way
        raise ConfigError(f"model.kwargs.bn must be {{use_sync_bn: bool, kwargs: {{group_size, var_mode}}}}, got {bn}")
    if on and options.get("group_size"):
        raise ConfigError(
            f"model.kwargs.bn.kwargs.group_size is {options['group_size']!r}, but statistics are taken over all processes; "
            "leave it out and start as many processes"
        )
    set_once(made_section(config, "training"), "sync_bn", on, "training", "model.kwargs.bn.use_sync_bn")


def _memory(config: Plain, warnings: list[str]) -> None:
    if section({"lms": config.pop("lms", None)}, "lms").get("enable"):
        raise ConfigError(
            "lms.enable: large-model support needs a private build of torch; training.accumulate and amp save memory"
        )
    for key in ("fp16_normal_bn", "fp16_normal_fc"):
        if take(section(config, "optimizer"), key, "optimizer", bool):
            warnings.append(f"optimizer.{key} is not used: training.amp keeps weights and BatchNorm in float32")


def _data(data: Plain, warnings: list[str]) -> None:
    kind = take(data, "type", "data", str)
    if kind not in (None, "imagenet", "custom"):
        why = "; several labels an image are not possible" if kind == "multiclass" else ""
        raise ConfigError(f"data.type must be 'imagenet', 'custom' or absent, got {kind!r}{why}")
    if take(data, "use_dali", "data", bool):
        warnings.append("data.use_dali is not used: images are decoded and resized by pillow on the CPU")
    if data.pop("arch", None) is not None:
        warnings.append("data.arch is not used: a supernet is trained on data.train, see `robustart nas --help`")
    take(data, "persistent_workers", "data", bool)  # loader processes live as long as the training
    for name in ("train", "test"):
        section(data, name).pop("server", None)  # files are read directly
    source = take(data, "read_from", "data", str)
    if source == "fake":
        _made_up({name: section(data, name) for name in ("train", "test")})
    elif source not in (None, "fs"):
        raise ConfigError(f"data.read_from: {source!r} needs a server of the original's cluster; use 'fs'")


def _made_up(sections: dict[str, Plain]) -> None:
    """``read_from: fake`` is our data set ``fake``, unless real images are named."""
    keys = ("type", "root_dir", "meta_file", *FOLDERS)
    named = [(f"data.{name}.{key}", images.get(key)) for name, images in sections.items() for key in keys]
    real = [place for place, value in named if value not in (None, "fake")]
    if real:
        raise ConfigError(
            f"data.read_from: 'fake' means made-up images, but {', '.join(real)} name real ones; use fs to read these "
            "(--set data.read_from=fs), or remove them"
        )
    for images in sections.values():
        images["type"] = "fake"


def _train(train: Plain, ranked: bool | None) -> None:
    for key in TEST_ONLY:
        if train.pop(key, None):
            raise ConfigError(f"data.train.{key} belongs to data.test")
    train.pop("evaluator", None)
    ranked = take(train, "use_ranked", "data.train", bool) or ranked
    sampler = section(train, "sampler")
    if isinstance(sampler.get("type"), str):
        sampler["type"] = SAMPLERS.get(sampler["type"], sampler["type"])
    if ranked and train:
        name = sampler.get("type", "ranked_iteration")
        if name != "ranked_iteration":
            raise ConfigError(f"data.use_ranked needs the sampler 'ranked_iteration', got {name!r}")
        made_section(train, "sampler")["type"] = name


def _sizes(config: Plain, data: Plain) -> None:
    names = config.get("eval_list")
    if config.get("model") is None and isinstance(names, list) and names:
        config["model"] = {"type": names[0]}  # each name takes its place
    for field, key in (("input_size", "input_size"), ("resize", "test_resize")):
        value = data.pop(key, None)
        if value is not None:
            preprocessing = made_section(section(config, "model"), "preprocessing")
            set_once(preprocessing, field, value, "model.preprocessing", f"data.{key}")
