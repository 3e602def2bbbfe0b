"""From a checked configuration to what a run is made of: images, benchmarks, weights, preprocessing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from RobustART.benchmarks import BENCHMARKS
from RobustART.benchmarks.building import PLACES
from RobustART.config.schema import Config, DatasetConfig, EvaluationConfig, ModelConfig
from RobustART.core.options import option_defaults
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset, create_dataset
from RobustART.errors import ConfigError, TrainingError
from RobustART.models import Classifier, build_model
from RobustART.models.weights import pretrained_entry
from RobustART.original.switches import switched, switched_benchmarks
from RobustART.training.checkpoint import original_parts, read_checkpoint
from RobustART.training.recipe import missing_for_training, model_arguments


def evaluation_section(config: Config) -> EvaluationConfig:
    """Returns the section ``evaluation``, or a ConfigError that says how to write one."""
    if config.evaluation is None:
        raise ConfigError(
            "the config has no section 'evaluation', and a training needs the sections "
            f"{', '.join(missing_for_training(config))}. Add evaluation: {{benchmarks: {{clean: {{}}}}}}, or "
            "pass --evaluate for that"
        )
    return config.evaluation


def model_section(config: Config) -> ModelConfig:
    """Returns the section ``model``, or a ConfigError if there is none."""
    if config.model is None:
        raise ConfigError("the config has no section 'model'; write model: {type: ...}")
    return config.model


def limit_of(config: Config) -> int | None:
    """Returns ``evaluation.limit`` or the original's ``data.test.limit_samples``."""
    limit = evaluation_section(config).limit
    return limit if limit is not None or config.data.test is None else config.data.test.limit_samples


def clean_dataset(config: Config, folder: Path) -> ImageDataset | None:
    """Returns the clean images of a run; None where ``data.test`` is absent or names a published set of noisy ones."""
    test = config.data.test
    if test is None or not _has_images(test):
        return None
    if switched(test):
        return create_dataset(root_dir=folder / str(test.imagenet_val_root_dir), **image_reader(test))
    return build_dataset(test, folder, "data.test", fake=config.data.read_from == "fake")


def train_dataset(config: Config, folder: Path) -> ImageDataset:
    """Returns the images that a model is trained on."""
    section = config.data.train or DatasetConfig()
    return build_dataset(section, folder, "data.train", fake=config.data.read_from == "fake")


def build_dataset(section: DatasetConfig, folder: Path, place: str, *, fake: bool = False) -> ImageDataset:
    """Returns the data set of a section, ``data.train`` or ``data.test``; relative paths start at ``folder``.

    Args:
        section: the section.
        folder: of the config file.
        place: where the section stands, for messages.
        fake: take made-up images instead.
    """
    return create_dataset(
        "fake" if fake else section.type,
        root_dir=None if section.root_dir is None else folder / section.root_dir,
        meta_file=None if section.meta_file is None else folder / section.meta_file,
        kwargs=section.kwargs if section.type == "fake" or not fake else {},
        **image_reader(section, place),
    )


def _has_images(test: DatasetConfig | None) -> bool:
    """Returns whether ``data.test`` names clean images."""
    if test is None:
        return False
    names = (test.imagenet_val_root_dir,) if switched(test) else (test.root_dir, test.meta_file, test.type)
    return any(name is not None for name in names)


def image_reader(section: DatasetConfig, place: str = "data.test") -> dict[str, Any]:
    """Returns the ``image_reader`` of a section as keyword arguments: ``decoder`` and ``exif_orientation``."""
    kwargs = dict(section.image_reader.kwargs)
    exif = kwargs.pop("exif_orientation", False)
    if kwargs or not isinstance(exif, bool):
        raise ConfigError(
            f"{place}.image_reader.kwargs may hold exif_orientation: true or false, got {section.image_reader.kwargs}"
        )
    return {"decoder": section.image_reader.type, "exif_orientation": exif}


def weights_of(config: Config, folder: Path) -> str | None:
    """Returns ``model.weights`` or ``saver.pretrain.path``; a file that stands beside the config is found there."""
    pretrain = config.saver.pretrain
    weights = model_section(config).weights or (pretrain.path if pretrain else None)
    return str(folder / weights) if weights is not None and (folder / weights).is_file() else weights


def chosen_benchmarks(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the benchmarks that are on, with their options.

    Options stand over what the original's switch of the same benchmark says, and ``false`` takes it out; published sets
    that hold pictures are read as ``data.test.image_reader`` says. Relative ``root_dir`` and ``meta``, and relative
    ``weights`` of further models, start at ``folder``, the config file's.

    Raises:
        ConfigError: the options of a benchmark are none, contradict the switch, or the reader would read nothing.
    """
    chosen = switched_benchmarks(config, folder)
    for name, options in evaluation_section(config).benchmarks.items():
        if options is False:
            chosen.pop(name, None)
            continue
        if options is not None and not isinstance(options, dict):
            raise ConfigError(f"evaluation.benchmarks.{name} must be a mapping of options, or false, got {options!r}")
        given = dict(options or {})
        for key in PLACES:
            if isinstance(given.get(key), str):
                given[key] = str(folder / given[key])
            switch = chosen.get(name, {}).get(key)
            if switch is not None and given.get(key, switch) != switch:
                raise ConfigError(
                    f"evaluation.benchmarks.{name}.{key} is {given[key]!r}, but data.test has the switch of {name} on and "
                    f"names {switch!r}; say it once"
                )
        models = given.get("models")
        if isinstance(models, dict):
            given["models"] = {key: _beside(spec, folder) for key, spec in models.items()}
        chosen[name] = {**chosen.get(name, {}), **given}
    return _read_by(config, chosen)


def _read_by(config: Config, chosen: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the benchmarks with ``data.test.image_reader`` in the options of those that read published pictures."""
    reader = image_reader(config.data.test) if config.data.test else {}
    stated = {key: value for key, value in reader.items() if value != image_reader(DatasetConfig())[key]}
    if not stated:
        return chosen
    readers = [
        name
        for name, options in chosen.items()
        if options.get("root_dir") is not None and "decoder" in option_defaults(BENCHMARKS[name].build)
    ]
    if not readers and not _has_images(config.data.test):
        raise ConfigError(
            f"data.test.image_reader says {stated}, but none of these benchmarks reads pictures by it: "
            f"{', '.join(chosen) or 'none'}; leave it out"
        )
    return {name: {**stated, **options} if name in readers else options for name, options in chosen.items()}


def _beside(spec: Any, folder: Path) -> Any:
    """Returns the mapping of a further model, with the path of weights that stand beside the config."""
    weights = spec.get("weights") if isinstance(spec, dict) else None
    beside = isinstance(weights, str) and (folder / weights).is_file()
    return {**spec, "weights": str(folder / str(weights))} if beside else spec


def preprocessing_fields(config: Config) -> dict[str, Any]:
    """Returns the fields of :class:`Preprocessing` that the config sets, by our names or the original's."""
    stated = {k: v for k, v in dataclasses.asdict(model_section(config).preprocessing).items() if v is not None}
    for name, key in (("input_size", "input_size"), ("resize", "test_resize")):
        value = getattr(config.data, key)
        if value is not None:
            if stated.get(name, value) != value:
                raise ConfigError(
                    f"model.preprocessing.{name} is {stated[name]}, but data.{key} is {value}; say it once"
                )
            stated[name] = value
    Preprocessing(**stated)
    return stated


def configured_model(config: Config, folder: Path, seed: int, *, fetch: bool = True) -> Classifier:
    """Returns the model of a config, with its weights.

    Args:
        config: the configuration.
        folder: of the config file.
        seed: of what is random in it.
        fetch: take a library's own weights, which it downloads; otherwise such a model keeps random ones.
    """
    section, pretrain = model_section(config), config.saver.pretrain
    weights = weights_of(config, folder)
    return build_model(
        section.type,
        model_arguments(config)[0],
        weights=weights if fetch or pretrained_entry(weights) is None else None,
        strict=section.strict,
        ignore=pretrain.ignore.model if pretrain else (),
        preprocessing=preprocessing_fields(config),
        seed=seed,
    )


def begun_with(config: Config, folder: Path, steps: int) -> tuple[Path, dict[str, Any]] | None:
    """Returns the checkpoint that ``saver.pretrain`` names and its parts but for the weights, or None if it names no file.

    Args:
        config: the configuration.
        folder: of the config file.
        steps: of the training.

    Raises:
        TrainingError: it is none, has not what is to be ignored, or is of a step that the training does not reach.
    """
    pretrain = config.saver.pretrain
    path = Path(weights_of(config, folder) or "") if pretrain and pretrain.path else Path()
    if pretrain is None or not path.is_file():
        return None
    parts = original_parts(read_checkpoint(path), pretrain.ignore.key, path)
    parts.pop("model", None)  # the model is made with these weights
    if "last_iter" in pretrain.ignore.key:
        for name in ("objective", "ema", "swa"):
            parts.pop(name, None)
    step = int(parts.get("last_iter", 0))
    if step >= steps:
        raise TrainingError(
            f"saver.pretrain: {path} is of step {step}, and the training has {steps}; to begin at the first step say "
            "ignore: {key: [optimizer, last_iter]}"
        )
    return path, parts
