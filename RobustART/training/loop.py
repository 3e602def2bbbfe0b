"""The training loop. It makes steps; the objective decides what is minimised."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.config.training import TrainingConfig
from RobustART.core.seeding import image_seed, numpy_generator
from RobustART.core.termination import Terminated, terminated
from RobustART.errors import ConfigError, TrainingError
from RobustART.evaluation.settings import AMP_TYPES
from RobustART.models import Classifier
from RobustART.training.ema import Ema, Swa
from RobustART.training.loading import Batch
from RobustART.training.objectives.objective import Objective
from RobustART.training.optim import set_rate
from RobustART.training.parallel import Parallel
from RobustART.training.schedules import Schedule

_NEVER = 2**62


class Training:
    """Everything that changes from step to step: model, optimiser, averages, and how a step is made.

    Args:
        model: to train, on the device.
        objective: what is minimised, on the device.
        optimizer: optimiser of the model's parameters.
        schedule: step to learning rate.
        base_lr: the learning rate to which those of the parameter groups are relative.
        parallel: the processes.
        steps: length of the training.
        settings: the section ``training`` of a config, of which the loop reads how steps are made.
        sync: average gradients after the backward pass instead of during it.
        ema: exponential moving average of the weights, if any.
        swa: stochastic weight average, if any.
        frozen: modules that stay in evaluation mode.
    """

    def __init__(
        self,
        model: Classifier,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        base_lr: float,
        parallel: Parallel,
        steps: int,
        settings: TrainingConfig,
        *,
        sync: bool = False,
        ema: Ema | None = None,
        swa: Swa | None = None,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        self.model, self.objective, self.optimizer = model, objective, optimizer
        self.schedule, self.base_lr, self.parallel = schedule, base_lr, parallel
        self.steps, self.settings, self.sync = steps, settings, sync
        self.ema, self.swa, self.step, self.frozen = ema, swa, 0, frozen
        self.device = parallel.world.device
        self.wrapped = parallel.wrap(model, sync)
        self.scaler = torch.amp.GradScaler(self.device.type) if settings.amp == "fp16" else None
        self.numbers: dict[str, Tensor] = {}
        self._bad_step = torch.tensor(_NEVER, device=self.device)

    def train_step(self, batch: Batch) -> None:
        """Makes the next step on this process's share of the batch; :meth:`read_numbers` then returns its numbers."""
        self.step += 1
        assert batch.step == self.step, (batch.step, self.step)
        set_rate(self.optimizer, self.schedule(self.step), self.base_lr)
        self.model.train()
        for module in self.frozen:
            module.training = False
        self.objective.train()
        rank = self.parallel.world.rank
        torch.manual_seed(image_seed(self.settings.seed, self.step, f"train step {rank}"))
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        batch = batch.to(self.device, layout)
        self.optimizer.zero_grad(set_to_none=True)
        portions = min(self.settings.accumulate, len(batch))
        parts = batch.split(portions)
        sums: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            share = len(part) / len(batch)
            rng = numpy_generator(self.settings.seed, self.step, f"train step {rank} portion {i}")
            with self._gradients_wait(i < portions - 1):
                with self._autocast(), _small_batch_named(len(part), portions):
                    loss, numbers = self.objective(self.wrapped, part, rng)
                weighted = loss * share
                (self.scaler.scale(weighted) if self.scaler else weighted).backward()
            for name, value in {"loss": loss, **numbers}.items():
                sums[name] = sums.get(name, 0.0) + value.detach().float() * share
        self._update(sums)
        self.numbers = sums

    def _refuse_unreached(self) -> None:
        """Raises a TrainingError if a gradient that the processes average is missing; they would wait for it forever."""
        missing = [name for name, p in self.model.network.named_parameters() if p.requires_grad and p.grad is None]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise TrainingError(
                f"no gradient reaches {', '.join(missing[:3])}{more}: several processes need dist.sync: true for such a "
                "network, or training.train_only with what is to be trained"
            )

    def _update(self, sums: dict[str, Tensor]) -> None:
        if self.sync:
            self.parallel.average_gradients(self.model.parameters())
        elif self.wrapped is not self.model:
            self._refuse_unreached()
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        self.objective.after_backward(self.wrapped)
        if self.settings.clip_grad is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            sums["grad_norm"] = nn.utils.clip_grad_norm_(parameters, self.settings.clip_grad).detach()
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.objective.after_step(self.wrapped, self.step)
        self.parallel.share_buffers(self.model)
        for average in (self.ema, self.swa):
            if average is not None:
                average.update(self.step)
        now = torch.tensor(self.step, device=self.device)
        self._bad_step = torch.where(sums["loss"].isfinite(), self._bad_step, torch.minimum(self._bad_step, now))

    def check_loss(self, last_good: str) -> None:
        """Raises a TrainingError if the loss of any process was not finite; ``last_good`` names a checkpoint."""
        bad = int(self.parallel.least(self._bad_step.clone()))
        if bad < _NEVER:
            raise TrainingError(
                f"the loss is not finite at step {bad} (learning rate {self.schedule(bad):.6g}); the training stops. "
                f"{last_good}. A lower learning rate, a longer warm-up, training.clip_grad or float32 may help"
            )

    def check_weights(self, last_good: str) -> None:
        """Raises a TrainingError if a weight is not finite; ``last_good`` names a checkpoint."""
        with torch.no_grad():
            finite = torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).all()
        if not finite:
            raise TrainingError(
                f"the weights are not finite after step {self.step} (learning rate {self.schedule(self.step):.6g}); the "
                f"training stops. {last_good}. A lower learning rate, a longer warm-up, training.clip_grad or float32 may "
                "help"
            )

    def read_numbers(self) -> dict[str, float]:
        """Returns the numbers of the last step, each the mean over the processes, and its learning rate."""
        names = list(self.numbers)
        values = self.parallel.mean(torch.stack([self.numbers[name].to(self.device).float() for name in names]))
        return {**dict(zip(names, values.tolist(), strict=True)), "lr": self.schedule(self.step)}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.settings.amp is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, AMP_TYPES[self.settings.amp])

    def _gradients_wait(self, waits: bool) -> contextlib.AbstractContextManager[Any]:
        if waits and isinstance(self.wrapped, nn.parallel.DistributedDataParallel):
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def state_dict(self) -> dict[str, Any] | None:
        """Returns the content of a checkpoint on process 0, None on the others. All processes must call it."""
        own = {k: v.cpu() for k, v in self.objective.state_dict().items()}
        objectives = [own] if self.objective.shared else self.parallel.gather(own) if own else []
        if not self.parallel.world.is_main:
            return None
        return {
            "model": self.model.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "last_iter": self.step,
            "ema": self.ema.state_dict() if self.ema else None,
            "swa": self.swa.state_dict() if self.swa else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "objective": objectives,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads :meth:`state_dict`, or the parts of it that are present."""
        if "model" in state:
            self.model.network.load_state_dict(state["model"])
        if state.get("optimizer") is not None:
            self._load_optimizer(state["optimizer"])
        self.step = int(state.get("last_iter", 0))
        for name, part in (("ema", self.ema), ("swa", self.swa), ("scaler", self.scaler)):
            if part is not None and state.get(name) is not None:
                part.load_state_dict(state[name])
        if state.get("objective"):
            self._load_objective(state["objective"])

    def _load_objective(self, states: list[dict[str, Any]]) -> None:
        try:
            self.objective.load_state_dict(states[0 if self.objective.shared else self.parallel.world.rank])
        except (RuntimeError, IndexError):
            raise TrainingError(
                f"the checkpoint's objective ({', '.join(list(states[0])[:3])}, ... of {len(states)} processes) is another "
                "than this training's; leave it out with saver.pretrain.ignore: {key: [objective]}"
            ) from None

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        # The options are the config's; a checkpoint of another training brings its moments alone.
        options = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        try:
            self.optimizer.load_state_dict(state)
        except (ValueError, KeyError) as error:
            raise TrainingError(
                f"the checkpoint's optimizer does not fit this one ({error}); leave it out with "
                "saver.pretrain.ignore: {key: [optimizer]}"
            ) from None
        for group, stated in zip(self.optimizer.param_groups, options, strict=True):
            group.update(stated)


@dataclasses.dataclass(frozen=True)
class Due:
    """Tasks with the number of steps between them, in this order; the last step does all of them."""

    log: tuple[int, Callable[[], None]]
    save: tuple[int, Callable[[], None]]
    validate: tuple[int, Callable[[], None]]


def run(training: Training, batches: Iterator[Batch], due: Due, last_good: Callable[[], str]) -> None:
    """Makes all remaining steps.

    Args:
        training: at the step where ``batches`` begins.
        batches: one per step.
        due: tasks between the steps.
        last_good: returns a sentence that names the last good checkpoint.

    Raises:
        TrainingError: the loss is not finite.
        Terminated: SIGTERM has come to one of the processes; all raise it after the same step.
    """
    on_cpu = training.device.type == "cpu"  # elsewhere looking at the loss would make the device wait
    devices = [] if on_cpu else [training.device]
    with torch.random.fork_rng(devices=devices):
        for batch in batches:
            training.train_step(batch)
            tasks = [
                task
                for every, task in (due.log, due.save, due.validate)
                if is_due(training.step, every, training.steps)
            ]
            ends = training.parallel.agreed(terminated())
            if on_cpu or tasks or ends:
                training.check_loss(last_good())
            for task in tasks:
                task()
            if ends:
                raise Terminated


@contextlib.contextmanager
def _small_batch_named(images: int, portions: int) -> Iterator[None]:
    """Raises a ConfigError where BatchNorm refuses a single value per channel."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if "more than 1 value per channel" not in str(error):
            raise
        size = f"{images} image{'' if images == 1 else 's'} of a process at once"
        many = "" if portions == 1 else f" (training.accumulate splits a step into {portions} portions)"
        raise ConfigError(
            f"data.batch_size: BatchNorm needs more than one value of each channel in training, and {size}{many} give one "
            "in some layer; set a larger data.batch_size, or for several processes a larger data.images_per_step"
        ) from None


def is_due(step: int, every: int, steps: int) -> bool:
    """Returns whether a task with a period of ``every`` steps is due after a step."""
    return step % every == 0 or step == steps
