"""Runs a training: resumes it where it was, makes its steps, validates, saves, and returns the trained weights."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import torch

from RobustART.config.training import SaverConfig
from RobustART.core.termination import Terminated, termination_deferred
from RobustART.data import ImageDataset
from RobustART.evaluation.checks import only_writer
from RobustART.models import Classifier
from RobustART.models.deploy import deploy_form
from RobustART.models.provenance import TRAINED
from RobustART.training.checkpoint import (
    check_conditions,
    checkpoint_name,
    delete_checkpoints,
    delete_unfinished,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from RobustART.training.ema import Average, recalibrate
from RobustART.training.loading import Batch
from RobustART.training.loop import Due, Training, is_due, run
from RobustART.training.sampling import Plan
from RobustART.training.train_log import TrainingLog, validated
from RobustART.training.trained import averaged, with_weights
from RobustART.training.validation import validate

log = logging.getLogger(__name__)


class Trainer:
    """A training and its folder.

    Args:
        training: the model, its objective and optimiser, at step 0.
        dataset: to train on.
        plan: how its images are dealt out.
        load: (plan, sampler=, rank=, first=, repeats=) -> the batches of a process.
        saver: the section ``saver`` of a config: when to log, validate and save.
        workers: loader processes of a validation.
        output_dir: gets ``checkpoints/``, ``events/`` and ``train.jsonl``.
        conditions: all that the course of the training depends on, for its checkpoints.
        start: returns a checkpoint's path and parts to begin with, or None; called where there is no checkpoint yet.
        test: to validate on, if any.
    """

    def __init__(
        self, training: Training, dataset: ImageDataset, plan: Plan, load: Callable[..., Generator[Batch, None, None]],
        saver: SaverConfig, workers: int, output_dir: Path, conditions: dict[str, Any],
        start: Callable[[], tuple[Path, dict[str, Any]] | None], test: ImageDataset | None,
    ) -> None:  # fmt: skip
        self.training, self.dataset, self.plan, self.load = training, dataset, plan, load
        self.settings, self.saver, self.workers = training.settings, saver, workers
        self.output_dir, self.checkpoints = output_dir, output_dir / "checkpoints"
        self.conditions, self.start, self.test = conditions, start, test
        self.parallel, self.world = training.parallel, training.parallel.world
        self._last_good = "There is no checkpoint yet"
        self._saved: int | None = None  # step of the newest checkpoint

    def run(self, *, fresh: bool = False, recover: Path | None = None) -> dict[str, Classifier]:
        """Trains to the end, from the last checkpoint if there is one; returns the trained model and its averages."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with only_writer(self.checkpoints, self.world.is_main), _deterministic(self.settings.deterministic):
            if fresh and self.world.is_main:
                delete_checkpoints(self.checkpoints)
            self.world.barrier()
            self._start(recover)
            validates = self._misses_validation()
            if self.training.step < self.plan.steps or validates:
                self._run(validates)
            return self._trained()

    def _start(self, recover: Path | None) -> None:
        """Loads a checkpoint: ``recover``, else the newest of this training, else the one it starts from, if any."""
        if self.world.is_main:
            delete_unfinished(self.checkpoints)
        newest = recover is None
        if recover is None:
            found = newest_checkpoint(self.checkpoints, mend=True) if self.world.is_main else None
            recover = self.parallel.from_main(found[0] if found else None)
        if recover is not None:
            state = read_checkpoint(recover)
            check_conditions(state, self.conditions, recover)
            self.training.load_state_dict(state)
            self._saved = self.training.step if newest else None
        elif (begun := self.start()) is not None:
            recover, parts = begun
            self.training.load_state_dict(parts)
        if recover is not None:
            self._last_good = f"The last checkpoint is {recover}, of step {self.training.step}"
            if self.world.is_main:
                log.info("resuming from %s, step %d of %d", recover, self.training.step, self.plan.steps)

    def _misses_validation(self) -> bool:
        """Returns whether the run that saved the newest checkpoint was ended before it had validated."""
        step = self.training.step
        due = self.test is not None and step == self._saved and is_due(step, self.saver.val_freq, self.plan.steps)
        return bool(self.parallel.from_main(due and not validated(self.output_dir / "train.jsonl", step)))

    def _run(self, validates: bool) -> None:
        training, saver = self.training, self.saver
        batches = self.load(
            self.plan, rank=self.world.rank, first=training.step + 1, repeats=training.objective.repeats
        )
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
            save=(self.settings.save_freq or saver.val_freq, lambda: self._save(record)),
            validate=(saver.val_freq, lambda: self._validate(record)),
        )
        try:
            with contextlib.closing(batches), termination_deferred():
                self._steps(batches, due, validates, record)
        finally:
            if record is not None:
                record.close()

    def _steps(
        self, batches: Iterator[Batch], due: Due, validates: bool, record: TrainingLog | None
    ) -> None:  # fmt: skip
        """Makes all steps that are left; SIGTERM ends them with a checkpoint, in all processes after the same step."""
        try:
            if validates:
                self._validate(record)
            run(self.training, batches, due, lambda: self._last_good)
        except Terminated:
            if self._saved != self.training.step:
                self._save(record)
            self.world.barrier()  # nobody ends before the checkpoint is written
            raise Terminated(f"at step {self.training.step} of {self.plan.steps}, whose checkpoint is saved") from None

    def _write(self, record: TrainingLog | None) -> None:
        numbers = self.training.read_numbers()
        if record is not None:
            record.write(self.training.step, numbers)

    def _validate(self, record: TrainingLog | None) -> None:
        if self.test is None:
            return
        models = {"": self.training.model}
        if self.training.ema:
            models["ema_"] = self._averaged("ema", self.training.ema)
        numbers = validate(models, self.test, self.parallel, batch_size=self.plan.batch_size, workers=self.workers)
        if record is not None:
            record.write_validation(self.training.step, numbers)
            record.restart_clock(self.training.step)

    def _save(self, record: TrainingLog | None) -> None:
        self.training.check_weights(self._last_good)
        state = self.training.state_dict()
        if record is not None and state is not None:
            record.flush()
            state = {**state, "conditions": self.conditions, TRAINED: self._facts(self.training.model)}
            save_checkpoint(self.checkpoints, state, many=self.saver.save_many)
            record.restart_clock(self.training.step)
        self._saved = self.training.step
        path = self.checkpoints / checkpoint_name(self.training.step, self.saver.save_many)
        self._last_good = f"The last good checkpoint is {path}, of step {self.training.step}"

    def _averaged(self, kind: str, average: Average) -> Classifier:
        """Returns the model with averaged weights."""
        model = self.training.model
        return with_weights(model, average.values, averaged(model.technique, kind))

    def _facts(self, model: Classifier) -> dict[str, Any]:
        """Returns what a weights file states of its training."""
        return {
            "technique": model.technique, "architecture": model.source, "arguments": dict(model.arguments),
            "data": self.dataset.name, "images": len(self.dataset), "steps": self.training.step,
        }  # fmt: skip

    def _trained(self) -> dict[str, Classifier]:
        """Returns ``{"": model, "ema": ..., "swa": ...}``.

        Writes the averages as files for ``model.weights``, and the deploy forms of networks that have one.
        """
        models = {"": self.training.model.eval()}
        if self.training.ema:
            models["ema"] = self._averaged("ema", self.training.ema)
        if self.training.swa:
            models["swa"] = self._averaged("swa", self.training.swa)
            steps = min(self.settings.swa.bn_batches, self.plan.steps)
            batches = self.load(dataclasses.replace(self.plan, world=1, steps=steps), sampler="distributed_epoch")
            recalibrate(models["swa"], (batch.to(self.world.device).images for batch in batches))
        if self.world.is_main:
            for name, model in models.items():
                networks = {name: model.network if name else None}
                if model.source.startswith(("timm:", "robustart:")):
                    networks[f"{name or 'ckpt'}_deploy"] = deploy_form(model.network)
                for file, network in networks.items():
                    if network is not None:
                        state = {
                            "model": network.state_dict(),
                            "last_iter": self.training.step,
                            TRAINED: self._facts(model),
                        }
                        save_checkpoint(self.checkpoints, state, name=f"{file}.pth.tar")
        return models


@contextlib.contextmanager
def _deterministic(on: bool) -> Iterator[None]:
    """Allows only deterministic functions, and restores the setting afterwards."""
    before: Any = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if on:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
