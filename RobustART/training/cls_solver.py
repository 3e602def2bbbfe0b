"""``ClsSolver``: from a configuration to a run. The command is ``python -m RobustART.training.cls_solver``."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from RobustART.config import Config, DatasetConfig, EvaluationConfig, ModelConfig
from RobustART.config_loader import load_config, without_defaults
from RobustART.data import ImageDataset, balanced_subset, create_dataset
from RobustART.distributed import World, choose_device
from RobustART.errors import ConfigError, UserError
from RobustART.evaluation.benchmarks import build_benchmark
from RobustART.evaluation.checks import prepare_output
from RobustART.evaluation.report import Report
from RobustART.evaluation.run import evaluate
from RobustART.evaluation.settings import run_settings
from RobustART.models import Classifier, build_model
from RobustART.models.weights import PACKAGED
from RobustART.models.zoo import check_name
from RobustART.options import to_plain
from RobustART.preprocessing import Preprocessing
from RobustART.training.arguments import DESCRIPTION, add_arguments
from RobustART.training.switches import switched, switched_benchmarks

log = logging.getLogger("RobustART")


class ClsSolver:
    """Runs what a configuration says.

    Args:
        config: the checked configuration.
        folder: folder of the config file; relative paths in it start there.
        world: the processes and the device.
    """

    def __init__(self, config: Config, folder: Path, world: World) -> None:
        self.config, self.folder, self.world = config, folder, world
        self.output_dir = output_dir(config, folder)

    def evaluate(self, fresh: bool = False, progress: bool = True) -> Report:
        """Returns the report of the model on the test set, and writes it; finished work is not done again.

        Args:
            fresh: delete what was recorded before.
            progress: show progress bars.
        """
        section = evaluation_section(self.config)
        refuse_impossible(self.config)
        model = self._model()
        benchmarks = chosen_benchmarks(self.config, self.folder)
        limit = limit_of(self.config)
        workers = section.workers if section.workers is not None else self.config.data.num_workers
        return evaluate(
            model,
            self._dataset(),
            benchmarks,
            output_dir=self.output_dir,
            batch_size=section.batch_size,
            workers=workers,
            amp=section.amp,
            channels_last=section.channels_last,
            seed=section.seed,
            limit=limit,
            fresh=fresh,
            progress=progress,
            config=quoted(self.config),
            world=self.world,
        )

    def _model(self) -> Classifier:
        config = model_section(self.config)
        pretrain = self.config.saver.pretrain
        return build_model(
            config.type,
            config.kwargs,
            weights=weights_of(self.config, self.folder),
            strict=config.strict,
            ignore=pretrain.ignore.model if pretrain else (),
            preprocessing=preprocessing_fields(self.config),
            seed=evaluation_section(self.config).seed,
        )

    def _dataset(self) -> ImageDataset | None:
        return clean_dataset(self.config, self.folder)


def output_dir(config: Config, folder: Path) -> Path:
    """Returns where results go: ``output_dir``, relative to the config file's folder, or that folder."""
    return folder / config.output_dir if config.output_dir else folder


def quoted(config: Config) -> dict[str, Any]:
    """Returns the configuration as a report quotes it: what differs from the defaults, not where the output went."""
    plain: dict[str, Any] = without_defaults(dataclasses.replace(config, output_dir=None))
    return plain


def evaluation_section(config: Config) -> EvaluationConfig:
    """Returns the section ``evaluation``, or a ConfigError that says how to write one."""
    if config.evaluation is None:
        raise ConfigError(
            "the config has no section 'evaluation', and training is not part of this version. Add "
            "evaluation: {benchmarks: {clean: {}}}, or pass --evaluate for that"
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
    if test is None:
        return None
    if switched(test):
        val = test.imagenet_val_root_dir
        return None if val is None else create_dataset(root_dir=folder / val)
    return build_dataset(test, folder)


def weights_of(config: Config, folder: Path) -> str | None:
    """Returns ``model.weights`` or ``saver.pretrain.path``; a file that stands beside the config is found there."""
    pretrain = config.saver.pretrain
    weights = model_section(config).weights or (pretrain.path if pretrain else None)
    return str(folder / weights) if weights is not None and (folder / weights).is_file() else weights


def build_dataset(config: DatasetConfig, folder: Path) -> ImageDataset:
    """Returns the data set of a section; relative paths start at ``folder``, the config file's."""
    reader = dict(config.image_reader.kwargs)
    exif = reader.pop("exif_orientation", False)
    if reader or not isinstance(exif, bool):
        raise ConfigError(
            f"data.test.image_reader.kwargs may hold exif_orientation: true or false, got {config.image_reader.kwargs}"
        )
    return create_dataset(
        config.type,
        root_dir=None if config.root_dir is None else folder / config.root_dir,
        meta_file=None if config.meta_file is None else folder / config.meta_file,
        exif_orientation=exif,
        decoder=config.image_reader.type,
    )


def chosen_benchmarks(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the benchmarks that are on, with their options.

    Relative ``root_dir`` and ``meta``, and relative ``weights`` of further models, start at ``folder``, the config file's.
    """
    chosen = switched_benchmarks(config, folder)
    for name, options in evaluation_section(config).benchmarks.items():
        if options is False:
            continue
        if options is not None and not isinstance(options, dict):
            raise ConfigError(f"evaluation.benchmarks.{name} must be a mapping of options, or false, got {options!r}")
        chosen[name] = dict(options or {})
        for key in ("root_dir", "meta"):
            if isinstance(chosen[name].get(key), str):
                chosen[name][key] = str(folder / chosen[name][key])
        models = chosen[name].get("models")
        if isinstance(models, dict):
            chosen[name]["models"] = {key: _beside(spec, folder) for key, spec in models.items()}
    return chosen


def _beside(spec: Any, folder: Path) -> Any:
    """Returns the mapping of a further model, with the path of weights that stand beside the config."""
    weights = spec.get("weights") if isinstance(spec, dict) else None
    return {**spec, "weights": str(folder / weights)} if weights and (folder / weights).is_file() else spec


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


def refuse_impossible(config: Config) -> None:
    """Raises a ConfigError for values that the schema knows but that cannot be done here, and warns of ignored ones."""
    data, test = config.data, config.data.test or DatasetConfig()
    if data.read_from == "fake":
        raise ConfigError(
            "data.read_from: 'fake' gives the first image for every index, so its numbers mean nothing; say 'fs'"
        )
    if data.read_from != "fs":
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
    kinds = ("imagenet", "imagenetc") if test.imagenet_c else ("imagenet",)
    if test.evaluator is not None and test.evaluator.type not in kinds:
        raise ConfigError(
            f"data.test.evaluator.type must be 'imagenet' or absent, got {test.evaluator.type!r}; name what is measured "
            "in evaluation.benchmarks"
        )
    if test.evaluator is not None and set(test.evaluator.kwargs.get("topk", [1, 5])) != {1, 5}:
        raise ConfigError(f"data.test.evaluator.kwargs.topk must be [1, 5], got {test.evaluator.kwargs['topk']}")
    if data.type == "multiclass":
        raise ConfigError(
            "data.type: 'multiclass' (several labels an image) is not possible; say 'imagenet' or 'custom'"
        )
    pretrain = config.saver.pretrain
    limit = config.evaluation.limit if config.evaluation else None
    for first, one, second, other in (
        ("model.weights", model_section(config).weights, "saver.pretrain.path", pretrain.path if pretrain else None),
        ("evaluation.limit", limit, "data.test.limit_samples", test.limit_samples),
    ):
        if one is not None and other is not None and one != other:
            raise ConfigError(f"{first} is {one!r}, but {second} is {other!r}; say it once")
    for name in ("eval_list", "model_src", "model_tgt"):
        if getattr(config, name):
            raise ConfigError(f"{name} is not used by this version: it evaluates one model, named in 'model'")


def check(config: Config, folder: Path) -> None:
    """Raises what a run would raise before its first image.

    Builds no process group, and no network but those that a benchmark adds.
    """
    refuse_impossible(config)
    check_name(model_section(config).type)
    weights = weights_of(config, folder)
    if weights is not None and weights != "pretrained" and weights not in PACKAGED and not Path(weights).is_file():
        raise ConfigError(f"there is no weights file {weights}")
    preprocessing_fields(config)
    section = evaluation_section(config)
    run_settings(section.batch_size, section.workers, section.amp, section.channels_last, section.seed, progress=False)
    choose_device(section.device, 0)
    dataset, limit = clean_dataset(config, folder), limit_of(config)
    if limit is not None and dataset is not None:
        balanced_subset(dataset.labels, limit, section.seed)
    for name, options in chosen_benchmarks(config, folder).items():
        build_benchmark(name, dataset, options)


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    result = argparse.ArgumentParser(prog="python -m RobustART.training.cls_solver", description=DESCRIPTION)
    add_arguments(result)
    return result


def configure_logging(folder: Path, world: World, quiet: bool) -> None:
    """Sends messages to the terminal and to ``log.txt``, from process 0 alone; the others only report errors."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.propagate = False
    log.setLevel(logging.INFO if world.is_main else logging.ERROR)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING if quiet else logging.INFO)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(terminal)
    if world.is_main:
        try:
            file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the log {folder / 'log.txt'} cannot be written: {error.strerror or error}") from None
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 2 for an error of the user's."""
    arguments = parser().parse_args(argv)
    try:
        return run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def run(arguments: argparse.Namespace) -> int:
    """Runs parsed arguments; errors of the user's come out as :class:`UserError`."""
    path = Path(arguments.config)
    overrides = list(arguments.overrides)
    config = load_config(path, overrides)
    if config.evaluation is None and arguments.evaluate:
        alone: dict[str, Any] = {} if switched(config.data.test) else {"clean": {}}
        config = dataclasses.replace(config, evaluation=EvaluationConfig(benchmarks=alone))
    folder = path.resolve().parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # a user's own module may stand beside the config, or in the current folder
    if arguments.check:
        check(config, folder)
        print(yaml.safe_dump(to_plain(config), sort_keys=False), end="")
        return 0
    device = config.evaluation.device if config.evaluation else "auto"
    with World(device) as world:
        if world.is_main:
            prepare_output(output_dir(config, folder))
        world.barrier()
        configure_logging(output_dir(config, folder), world, arguments.quiet)
        solver = ClsSolver(config, folder, world)
        if world.is_main:
            log.info("%s on %s, %d process(es)", model_section(config).type, world.device, world.size)
        report = solver.evaluate(fresh=arguments.fresh, progress=not arguments.quiet)
        if world.is_main:
            print(report.text())
            results = solver.output_dir / "results"
            names = ("report.html", "report.json", "report.md", "noise.png")
            print(f"\nWritten to {results}: {', '.join(name for name in names if (results / name).is_file())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
