"""The model, images and benchmarks that a configuration names: all of an evaluation, and the start of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from RobustART.benchmarks import BENCHMARKS
from RobustART.config.schema import Config, DatasetConfig, EvaluationConfig
from RobustART.core.model_section import ModelConfig
from RobustART.core.options import option_defaults
from RobustART.data import ImageDataset, create_dataset
from RobustART.errors import ConfigError
from RobustART.models import Classifier
from RobustART.models.section import build_section
from RobustART.models.weights import pretrained_entry
from RobustART.records.comparability import PLACES


def trains(config: Config) -> bool:
    """Returns whether a config has what a training needs."""
    return not missing_for_training(config)


def missing_for_training(config: Config) -> list[str]:
    """Returns the names of the sections that a training needs and the config lacks."""
    parts = {"optimizer": config.optimizer, "lr_scheduler": config.lr_scheduler, "data.train": config.data.train}
    return [name for name, part in parts.items() if part is None]


def evaluation_section(config: Config) -> EvaluationConfig:
    """Returns the section ``evaluation``, or raises a ConfigError that shows how to write one."""
    if config.evaluation is None:
        raise ConfigError(
            "the config has no section 'evaluation', and a training needs the sections "
            f"{', '.join(missing_for_training(config))}. Add evaluation: {{benchmarks: {{clean: {{}}}}}}, or "
            "pass --evaluate for that"
        )
    return config.evaluation


def model_section(config: Config) -> ModelConfig:
    """Returns the section ``model``, or raises a ConfigError if it is missing."""
    if config.model is None:
        raise ConfigError("the config has no section 'model'; write model: {type: ...}")
    return config.model


def run_device(config: Config, training: bool) -> str:
    """Returns the name of the device of a run; training and evaluation share one."""
    evaluation = config.evaluation.device if config.evaluation else "auto"
    stated = config.training.device
    if not training or stated is None:
        return evaluation
    if evaluation not in ("auto", stated):
        raise ConfigError(f"training.device is {stated!r}, but evaluation.device is {evaluation!r}; set one of them")
    return stated


def clean_dataset(config: Config, folder: Path) -> ImageDataset | None:
    """Returns the clean images of a run; None where ``data.test`` names none."""
    return build_dataset(config.data.test, folder, "data.test") if _has_images(config.data.test) else None


def _has_images(test: DatasetConfig | None) -> bool:
    return test is not None and any(name is not None for name in (test.root_dir, test.meta_file, test.type))


def build_dataset(section: DatasetConfig | None, folder: Path, place: str) -> ImageDataset:
    """Returns the data set of a section; relative paths start at ``folder``."""
    section = section or DatasetConfig()
    return create_dataset(
        section.type,
        root_dir=None if section.root_dir is None else folder / section.root_dir,
        meta_file=None if section.meta_file is None else folder / section.meta_file,
        classes=section.classes,
        kwargs=section.kwargs,
        **image_reader(section, place),
    )


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
    """Returns ``model.weights`` or ``saver.pretrain.path``; the file in ``folder`` where there is one."""
    pretrain = config.saver.pretrain
    return beside(model_section(config).weights or (pretrain.path if pretrain else None), folder)


def beside(weights: Any, folder: Path) -> Any:
    """Returns the path of weights in ``folder``, the config file's, where there is such a file; otherwise ``weights``."""
    return str(folder / weights) if isinstance(weights, str) and (folder / weights).is_file() else weights


def configured_model(config: Config, folder: Path, seed: int, *, fetch: bool = True) -> Classifier:
    """Returns the model of a config, with its weights.

    Without ``fetch``, a library's own weights are not downloaded, and such a model keeps random ones.
    """
    weights, pretrain = weights_of(config, folder), config.saver.pretrain
    return build_section(
        model_section(config),
        weights=weights if fetch or pretrained_entry(weights) is None else None,
        ignore=pretrain.ignore.model if pretrain else (),
        seed=seed,
    )


def evaluation_options(config: Config) -> dict[str, Any]:
    """Returns how an evaluation is run, as keyword arguments of ``evaluate`` and ``run_settings``."""
    section = evaluation_section(config)
    workers = config.data.num_workers if section.workers is None else section.workers
    names = ("batch_size", "amp", "channels_last", "runtime", "seed", "repeats")
    return {"workers": workers, **{name: getattr(section, name) for name in names}}


def chosen_benchmarks(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the benchmarks that are on, with their options.

    Published sets that hold images are read as ``data.test.image_reader`` says. Relative ``root_dir`` and ``meta``, and
    relative ``weights`` of further models, start at ``folder``, the config file's.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for name, options in evaluation_section(config).benchmarks.items():
        if options is False:
            continue
        if options is not None and not isinstance(options, dict):
            raise ConfigError(f"evaluation.benchmarks.{name} must be a mapping of options, or false, got {options!r}")
        given = dict(options or {})
        given |= {key: str(folder / given[key]) for key in PLACES if isinstance(given.get(key), str)}
        if isinstance(given.get("models"), dict):
            given["models"] = {
                key: {**spec, "weights": beside(spec["weights"], folder)}
                if isinstance(spec, dict) and "weights" in spec
                else spec
                for key, spec in given["models"].items()
            }
        chosen[name] = given
    reader = image_reader(config.data.test) if config.data.test else {}
    stated = {key: value for key, value in reader.items() if value != image_reader(DatasetConfig())[key]}
    readers = [
        name
        for name, options in chosen.items()
        if options.get("root_dir") is not None and "decoder" in option_defaults(BENCHMARKS[name].build)
    ]
    if stated and not readers and not _has_images(config.data.test):
        raise ConfigError(
            f"data.test.image_reader says {stated}, but none of these benchmarks reads images by it: "
            f"{', '.join(chosen) or 'none'}; leave it out"
        )
    return {name: {**stated, **options} if name in readers else options for name, options in chosen.items()}
