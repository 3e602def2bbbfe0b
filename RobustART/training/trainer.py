"""One training, from a configuration to trained weights: built, taken up where it was, run, saved."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from RobustART.config.schema import Config
from RobustART.core.distributed import World
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError
from RobustART.evaluation.checks import check_labels, only_writer, probe
from RobustART.evaluation.conditions import fingerprint
from RobustART.evaluation.settings import default_workers
from RobustART.models import Classifier
from RobustART.models.deploy import deploy_form
from RobustART.training.augment.transforms import TrainingView, create_transform
from RobustART.training.checkpoint import (
    check_conditions,
    checkpoint_name,
    delete_checkpoints,
    delete_unfinished,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from RobustART.training.ema import Average, Ema, Swa, recalibrate
from RobustART.training.freezing import train_only
from RobustART.training.loading import load_batches
from RobustART.training.loop import Due, Training, run
from RobustART.training.objectives.moco import replace_head
from RobustART.training.parallel import Parallel
from RobustART.training.recipe import (
    conditions_of,
    loop_settings,
    model_arguments,
    objective_of,
    optimizer_of,
    plan_of,
    sampler_of,
)
from RobustART.training.record import TrainingLog
from RobustART.training.resolve import begun_with, weights_of
from RobustART.training.sampling import Plan
from RobustART.training.trained import trained_notes, with_weights
from RobustART.training.validation import validate

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a run waits for loader processes of a killed one: they look every 5 s whether theirs is still there."""


class Trainer:
    """A training and its folder.

    Args:
        config: the checked configuration.
        folder: of the config file.
        output_dir: gets ``checkpoints/``, ``events/`` and ``train.jsonl``.
        world: the processes and the device.
        model: to train; its weights are those that the config names, or seeded random ones.
        dataset: to train on.
        test: to validate on, if any.
        most_steps: stop after so many steps, as if the training were over.
    """

    def __init__(
        self, config: Config, folder: Path, output_dir: Path, world: World, model: Classifier, dataset: ImageDataset,
        test: ImageDataset | None, most_steps: int | None = None,
    ) -> None:  # fmt: skip
        self.config, self.folder, self.world = config, folder, world
        self.output_dir, self.checkpoints = output_dir, output_dir / "checkpoints"
        self.dataset, self.test = dataset, test
        self.parallel = Parallel(world)
        plan, schedule, base_lr = plan_of(config, dataset, world.size)
        self.plan = plan if most_steps is None else dataclasses.replace(plan, steps=min(plan.steps, most_steps))
        self.settings = loop_settings(config, self.plan.steps)
        self.view = training_view(config, model)
        workers = config.data.num_workers
        self.workers = default_workers() if workers is None else workers
        section = config.training
        weights = {} if weights_of(config, folder) is None else {"start": fingerprint(model.network)}
        model = model.to(world.device)
        if section.moco is not None:
            replace_head(model, dim=section.moco.dim, mlp=section.moco.mlp, seed=section.seed)
        classes = probe(model, model.preprocessing.input_size, world.device)
        objective = objective_of(config, classes, world.device, folder, model, self.parallel)
        if objective.uses_labels:
            check_labels(dataset, range(len(dataset)), classes)
        _, synchronised, group = model_arguments(config)
        if synchronised:
            model.network = self.parallel.sync_batchnorm(model.network, group)
        if section.channels_last:
            model = model.to(memory_format=torch.channels_last)
        frozen = [] if section.train_only is None else train_only(model.network, section.train_only)
        optimizer = optimizer_of(config, model, base_lr)
        swa = section.swa
        model.notes = trained_notes(model)
        self.training = Training(
            model, objective, optimizer, schedule, base_lr, self.parallel, self.settings,
            Ema(model.network, **config.ema.kwargs) if config.ema.enable else None,
            Swa(
                model.network, first=max(1, round(swa.start * self.plan.steps)),
                every=swa.every or self.plan.steps_per_epoch,
            ) if swa.enable else None,
            frozen,
        )  # fmt: skip
        if section.compile:
            model.network.compile()
        weights |= {name: fingerprint(other) for name, other in objective.others().items()}
        self.conditions = conditions_of(config, dataset, self.plan, weights)
        self._last_good = "There is no checkpoint yet"

    def run(self, *, fresh: bool = False, recover: Path | None = None) -> dict[str, Classifier]:
        """Trains to the end, from the last checkpoint if there is one; returns the trained model and its averages.

        Args:
            fresh: delete the checkpoints of an earlier run and start over.
            recover: go on from this checkpoint instead of the newest.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        alone = only_writer(self.checkpoints, self.world.is_main, patience=PATIENCE)
        with alone, _deterministic(self.config.training.deterministic):
            if fresh and self.world.is_main:
                delete_checkpoints(self.checkpoints)
            self.world.barrier()
            self._start(recover)
            if self.training.step < self.plan.steps:
                self._run()
            return self._trained()

    def _start(self, recover: Path | None) -> None:
        """Takes up a checkpoint: the one asked for, else the newest, else what ``saver.pretrain`` says."""
        if self.world.is_main:
            delete_unfinished(self.checkpoints)
        if recover is None:
            found = newest_checkpoint(self.checkpoints, mend=True) if self.world.is_main else None
            recover = self.parallel.from_main(found[0] if found else None)
        if recover is not None:
            state = read_checkpoint(recover)
            check_conditions(state, self.conditions, recover)
            self.training.load_state_dict(state)
        elif (begun := begun_with(self.config, self.folder, self.plan.steps)) is not None:
            recover, parts = begun
            self.training.load_state_dict(parts)
        if recover is not None:
            self._last_good = f"The last checkpoint is {recover}, of step {self.training.step}"
            if self.world.is_main:
                log.info("going on from %s, step %d of %d", recover, self.training.step, self.plan.steps)

    def _run(self) -> None:
        training, saver = self.training, self.config.saver
        batches = load_batches(
            self.dataset, self.view, self.plan, sampler_of(self.config), rank=self.world.rank, first=training.step + 1,
            repeats=training.objective.repeats, workers=self.workers, pin_memory=self._pinned(),
            prefetch_factor=self.config.data.prefetch_factor,
        )  # fmt: skip
        record = None
        if self.world.is_main:
            record = TrainingLog(
                self.output_dir, done=training.step, steps=self.plan.steps, steps_per_epoch=self.plan.steps_per_epoch,
                images=self.plan.together,
            )  # fmt: skip
            log.info(
                "training on %d images of %s: %d steps of %d images, %d steps an epoch",
                len(self.dataset), self.dataset.name, self.plan.steps, self.plan.together, self.plan.steps_per_epoch,
            )  # fmt: skip
        due = Due(
            log=(saver.print_freq, lambda: self._write(record)),
            validate=(saver.val_freq, lambda: self._validate(record)),
            save=(self.config.training.save_freq or saver.val_freq, lambda: self._save(record)),
        )
        try:
            run(training, batches, due, lambda: self._last_good)
        finally:
            if record is not None:
                record.close()

    def _write(self, record: TrainingLog | None) -> None:
        numbers = self.training.read_numbers()
        if record is not None:
            record.write(self.training.step, numbers)

    def _validate(self, record: TrainingLog | None) -> None:
        if self.test is None:
            return
        models = {"": self.training.model}
        if self.training.ema:
            models["ema_"] = self._averaged(self.training.ema)
        numbers = validate(models, self.test, self.parallel, batch_size=self.plan.batch_size, workers=self.workers)
        if record is not None:
            record.write_validation(self.training.step, numbers)
            record.restart_clock(self.training.step)

    def _save(self, record: TrainingLog | None) -> None:
        self.training.check_weights(self._last_good)
        state = self.training.state_dict()
        if record is not None and state is not None:
            record.flush()
            save_checkpoint(
                self.checkpoints, {**state, "conditions": self.conditions}, many=self.config.saver.save_many
            )
            record.restart_clock(self.training.step)
        path = self.checkpoints / checkpoint_name(self.training.step, self.config.saver.save_many)
        self._last_good = f"The last good checkpoint is {path}, of step {self.training.step}"

    def _averaged(self, average: Average) -> Classifier:
        """Returns the model with averaged weights."""
        return with_weights(self.training.model, average.values)

    def _trained(self) -> dict[str, Classifier]:
        """Returns ``{"": model, "ema": ..., "swa": ...}``.

        Writes the averages as files for ``model.weights``, and of networks with a deploy form that of each too.
        """
        models = {"": self.training.model.eval()}
        if self.training.ema:
            models["ema"] = self._averaged(self.training.ema)
        if self.training.swa:
            models["swa"] = self._averaged(self.training.swa)
            batches = min(self.config.training.swa.bn_batches, self.plan.steps)
            plan = Plan(len(self.dataset), self.plan.batch_size, 1, batches, self.plan.seed)
            loader = load_batches(self.dataset, self.view, plan, "distributed_epoch", workers=self.workers)
            recalibrate(models["swa"], (batch.to(self.world.device).images for batch in loader))
        if self.world.is_main:
            for name, model in models.items():
                networks = {name: model.network if name else None}
                if model.source.startswith(("timm:", "robustart:")):
                    networks[f"{name or 'ckpt'}_deploy"] = deploy_form(model.network)
                for file, network in networks.items():
                    if network is not None:
                        state = {"model": network.state_dict(), "last_iter": self.training.step}
                        save_checkpoint(self.checkpoints, state, name=f"{file}.pth.tar")
        return models

    def _pinned(self) -> bool:
        return self.config.data.pin_memory and self.world.device.type == "cuda"


def training_view(config: Config, model: Classifier) -> TrainingView:
    """Returns what is done to the training pictures of a config for a model."""
    assert config.data.train is not None
    preprocessing = model.preprocessing
    if config.data.train.transforms is None:
        raise ConfigError("data.train.transforms is missing; say {type: STANDARD}, or {type: JUSTNORM} for none")
    return TrainingView(create_transform(config.data.train.transforms, preprocessing), preprocessing.input_size)


@contextlib.contextmanager
def _deterministic(on: bool) -> Iterator[None]:
    """Allows only functions that give the same bits each time, and puts the setting back."""
    before: Any = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if on:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
