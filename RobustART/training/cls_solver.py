"""``ClsSolver`` trains and evaluates what a configuration describes; this module is also the command that runs it."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.training.arguments import parser

if __name__ == "__main__":
    parser().parse_args()  # answers --help, and refuses unknown flags, before torch is imported

import yaml

from RobustART.config.filled import filled
from RobustART.config.loader import load_config, without_defaults
from RobustART.config.schema import Config, EvaluationConfig
from RobustART.core.distributed import World, lost_processes_named
from RobustART.core.memory import tune_memory
from RobustART.core.model_section import ModelConfig
from RobustART.core.options import to_plain
from RobustART.core.plugins import import_plugins
from RobustART.core.termination import exit_status
from RobustART.errors import ConfigError
from RobustART.evaluation.checks import prepare_output
from RobustART.evaluation.run import evaluate
from RobustART.models import Classifier
from RobustART.records.lines import CLEAN
from RobustART.report.build import FILES, Report
from RobustART.training.build import build_trainer
from RobustART.training.checkpoint import newest_checkpoint, recorded_conditions
from RobustART.training.inputs import (
    chosen_benchmarks,
    clean_dataset,
    configured_model,
    evaluation_options,
    evaluation_section,
    model_section,
    run_device,
    trains,
    weights_of,
)
from RobustART.training.preflight import check, check_model, refuse_incompatible, refuse_training
from RobustART.training.trained import trained_models

log = logging.getLogger("RobustART")


class ClsSolver:
    """Trains and evaluates the model of a configuration.

    Args:
        config: the checked configuration.
        folder: folder of the config file, where relative paths start.
        world: the processes and the device.
        trial: largest number of training steps, and number of images to evaluate of each data set.
    """

    def __init__(self, config: Config, folder: Path, world: World, trial: int | None = None) -> None:
        self.config, self.folder, self.world, self.trial = config, folder, world, trial
        self.output_dir = output_dir(config, folder)

    def train(self, fresh: bool = False, recover: Path | None = None) -> dict[str, Classifier]:
        """Trains the model; returns it as ``""``, and its averages as ``ema`` and ``swa`` where the config has them on.

        Resumes from the last checkpoint in ``output_dir/checkpoints``, if there is one.
        """
        warnings = refuse_training(self.config)
        trainer = build_trainer(self.config, self.folder, self.output_dir, self.world, self.trial)
        for warning in (*warnings, *filter(None, [trainer.dataset.note])):
            log.warning("%s", warning)
        return trainer.run(fresh=fresh, recover=recover)

    def trained(self, recover: Path | None = None) -> Mapping[str, Classifier | None]:
        """Returns the models of a training that was run before, as :meth:`train` does.

        Args:
            recover: the checkpoint; by default the newest of ``output_dir``. Weights that the config names take its place,
                unless the checkpoint is of a training that began with them.
        """
        refuse_incompatible(self.config, training=False)
        checkpoints = self.output_dir / "checkpoints"
        if recover is None and weights_of(self.config, self.folder) is not None and not self._began(checkpoints):
            return {"": None}
        return trained_models(
            configured_model(self.config, self.folder, self.config.training.seed), checkpoints, recover
        )

    def _began(self, checkpoints: Path) -> bool:
        """Returns whether the newest checkpoint is of a training that began with the weights that the config names."""
        found = newest_checkpoint(checkpoints) if trains(self.config) else None
        before = recorded_conditions(found[1], found[0]) or {} if found else {}
        wanted = {"model": to_plain(self.config.model), "saver": {"pretrain": to_plain(self.config.saver.pretrain)}}
        return all(before.get(name) == value for name, value in wanted.items())

    def evaluate(
        self, fresh: bool = False, progress: bool = True, model: Classifier | None = None, name: str = ""
    ) -> Report:
        """Returns the report of the model on the test set, and writes it; recorded images are not evaluated again.

        Args:
            fresh: delete earlier records.
            progress: show progress bars.
            model: the model to evaluate instead of the one that the config describes.
            name: folder under ``output_dir`` for the results of a further model, such as ``ema``.
        """
        section = evaluation_section(self.config)
        refuse_incompatible(self.config, training=False)
        model = configured_model(self.config, self.folder, section.seed) if model is None else model
        benchmarks = chosen_benchmarks(self.config, self.folder)
        return evaluate(
            model,
            clean_dataset(self.config, self.folder),
            benchmarks,
            **evaluation_options(self.config),
            output_dir=self.output_dir / name,
            limit=section.limit if self.trial is None else self.trial,
            fresh=fresh,
            progress=progress,
            config=quoted(self.config),
            world=self.world,
        )


def output_dir(config: Config, folder: Path) -> Path:
    """Returns where results go: ``output_dir``, relative to the config file's folder, or that folder."""
    return folder / config.output_dir if config.output_dir else folder


def quoted(config: Config) -> dict[str, Any]:
    """Returns the configuration as a report quotes it: all that differs from the defaults, without ``output_dir``."""
    return without_defaults(dataclasses.replace(config, output_dir=None))


def configure_logging(folder: Path, world: World, quiet: bool) -> None:
    """Sends messages of process 0 to the terminal and to ``log.txt``; other processes only report errors."""
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
            file = logging.FileHandler(folder / "log.txt", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ConfigError(f"the log {folder / 'log.txt'} cannot be written: {error.strerror or error}") from None
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status, see :func:`exit_status`."""

    def command() -> int:
        if argv is None:  # not called from Python
            tune_memory()
        arguments = parser().parse_args(argv)
        import_plugins(arguments.imports, "--import")
        return run(arguments)

    return exit_status(command)


def read_config(
    path: Path, overrides: Sequence[str], data: str | None = None, warn: Callable[[str], None] = log.warning
) -> tuple[Config, Path]:
    """Returns the configuration of a file and its folder, where a user's own modules are found from now on."""
    config = load_config(path, list(overrides), data, warn)
    folder = path.resolve().parent
    return config, folder


def run(arguments: argparse.Namespace) -> int:
    """Runs parsed arguments; raises a :class:`UserError` for a user's errors."""
    trial = arguments.trial
    if trial is not None and trial < 1:
        raise ConfigError(f"--trial takes an integer from 1 up, got {trial}")
    unused: list[str] = []
    config, folder = read_config(Path(arguments.config), arguments.overrides, arguments.data, unused.append)
    if config.evaluation is None and arguments.evaluate:
        config = dataclasses.replace(config, evaluation=EvaluationConfig(benchmarks={CLEAN: {}}))
    training = trains(config) and not arguments.evaluate
    if training and arguments.recover is not None and (arguments.fresh or trial is not None):
        raise ConfigError("--recover resumes from a checkpoint, --fresh and --trial start over; pass one of them")
    configs = each_model(config, training, arguments.recover is not None)
    if arguments.check:
        for warning in unused:
            log.warning("%s", warning)
        costs = [line for one in configs for line in check(one, folder, one_of_many=len(configs) > 1)]
        print(yaml.safe_dump(filled(config), sort_keys=False), end="")
        if costs:
            print("# Forward passes of the attacks, about and at most; images that are fooled early need fewer:")
            print("".join(f"#   {line}\n" for line in dict.fromkeys(costs)), end="")
        return 0
    if len(configs) > 1:
        for one in configs:
            check_model(one, folder)  # before the first is evaluated
    if trial is not None:
        arguments.fresh = True
        configs = [dataclasses.replace(one, output_dir=str(Path(one.output_dir or "", "trial"))) for one in configs]
    with World(run_device(config, training)) as world:
        for one in configs:
            if world.is_main:
                prepare_output(output_dir(one, folder))
            world.barrier()
            configure_logging(output_dir(one, folder), world, arguments.quiet)
            for warning in unused:
                log.warning("%s", warning)
            with lost_processes_named(world.rank, world.size):
                _run_model(ClsSolver(one, folder, world, trial), arguments, training)
    return 0


def each_model(config: Config, training: bool, recovering: bool) -> list[Config]:
    """Returns a configuration for each model of ``eval_list``; the configuration itself if it has no such list."""
    if not config.eval_list:
        return [config]
    if training or recovering:
        raise ConfigError("eval_list names models to evaluate; pass --evaluate, or leave it out to train one")
    twice = [name for name in config.eval_list if config.eval_list.count(name) > 1]
    if twice:
        raise ConfigError(f"eval_list names {twice[0]!r} twice")
    found = []
    for name in config.eval_list:
        base = config.model or ModelConfig(type=name)
        folder = name.replace(":", "_").replace("/", "_")
        weights = "pretrained" if base.weights is None else base.weights.replace("{name}", folder)
        model = dataclasses.replace(base, type=name, weights=weights)
        place = str(Path(config.output_dir or "", folder))
        found.append(dataclasses.replace(config, eval_list=[], model=model, output_dir=place))
    return found


def _run_model(solver: ClsSolver, arguments: argparse.Namespace, training: bool) -> None:
    """Trains and evaluates the model of one configuration, and prints the reports."""
    config, world = solver.config, solver.world
    if world.is_main:
        log.info("%s on %s, %d process(es)", model_section(config).type, world.device, world.size)
    models: dict[str, Classifier | None] = {"": None}
    recover = None if arguments.recover is None else Path(arguments.recover)
    if training:
        models = dict(solver.train(arguments.fresh, recover))
    elif recover is not None or trains(config):
        models = dict(solver.trained(recover))
    if training and config.evaluation is None:
        return
    for name, model in models.items():
        report = solver.evaluate(arguments.fresh, not arguments.quiet, model, name)
        if world.is_main:
            print((f"\n{name.upper()} weights\n" if name else "") + report.text())
            results = solver.output_dir / name / "results"
            files = (*FILES, "noise.png")
            print(f"\nWritten to {results}: {', '.join(file for file in files if (results / file).is_file())}")


if __name__ == "__main__":
    sys.exit(main())
