"""Learning rates as pure functions of the step, which counts from 1 to ``max_iter``.

The curves are the original's (``lr_scheduler`` of its ``prototype`` package) with one correction: Poly reaches zero.
Durations in epochs become steps once, in :func:`in_steps`; everything after that knows only steps.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from RobustART.core.declarations import options_of
from RobustART.core.options import build, checked, convert, parse_number, unknown_option
from RobustART.core.ranges import LARGEST_FLOAT32, Count, NotNegative, Positive, Range
from RobustART.errors import ConfigError
from RobustART.registry import Registry

Schedule = Callable[[int], float]
"""Step (from 1) to learning rate."""

Curve = Callable[..., float]
"""(steps since the warm-up, steps from there to the end, peak, options) to learning rate."""

CURVES: Registry[Curve] = Registry("learning rate schedule")
"""The curves after the warm-up; ``NameEpoch`` is ``Name`` with its durations in epochs."""

WHERE = "lr_scheduler.kwargs"

MOST_STEPS = 10**12
"""The longest training: with any batch its draws can still be numbered in 64 bits."""
Rate = Annotated[float, Range(0, LARGEST_FLOAT32, above=True)]
Decay = Annotated[float, Range(0, 1, above=True)]


@dataclasses.dataclass(frozen=True)
class Course:
    """Options of every schedule. The warm-up is linear, and the curve falls from its end."""

    base_lr: Rate
    """The rate of step 1; ``lr`` of the optimiser, to which all parameter groups keep their ratio."""
    max_iter: Annotated[int, Range(1, MOST_STEPS)]
    """Number of steps."""
    warmup_lr: Rate | None = None
    """The peak; without warm-up it is ``base_lr``."""
    warmup_steps: Annotated[int, Range(0, MOST_STEPS)] = 0
    """Step at which the peak is reached: 0, or at least 2."""


@CURVES.register("Step")
def step_curve(
    it: int, warmup: int, total: int, peak: float, *, lr_steps: list[Count], lr_mults: list[Positive]
) -> float:
    """``peak`` times the multipliers of all milestones that are reached."""
    return peak * math.prod(mult for step, mult in zip(lr_steps, lr_mults, strict=True) if step <= it)


@CURVES.register("StepDecay")
def step_decay_curve(it: int, warmup: int, total: int, peak: float, *, step_size: Count, decay: Decay) -> float:
    """``peak`` times ``decay`` once for every ``step_size`` steps after the warm-up."""
    return peak * float(decay ** ((it - warmup) // step_size))


@CURVES.register("Cosine")
def cosine_curve(it: int, warmup: int, total: int, peak: float, *, min_lr: NotNegative = 0.0) -> float:
    """Half a cosine from ``peak`` to ``min_lr`` (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983)."""
    return _cosine((it - warmup) / (total - warmup), peak, min_lr)


@CURVES.register("eCosine")
def epoch_cosine_curve(
    it: int, warmup: int, total: int, peak: float, *, epoch_steps: Count, min_lr: NotNegative = 0.0
) -> float:
    """As Cosine, but the rate changes only once in ``epoch_steps`` steps."""
    return _cosine((it - warmup) // epoch_steps * epoch_steps / (total - warmup), peak, min_lr)


@CURVES.register("Poly")
def poly_curve(it: int, warmup: int, total: int, peak: float, *, power: Positive) -> float:
    """``peak * (1 - progress) ** power``; the original divided by the wrong length and never reached zero."""
    return peak * float((1 - (it - warmup) / (total - warmup)) ** power)


def _cosine(progress: float, peak: float, min_lr: float) -> float:
    return min_lr + (peak - min_lr) * (1 + math.cos(math.pi * progress)) / 2


def in_steps(type: str, kwargs: Mapping[str, Any], steps_per_epoch: int) -> tuple[str, dict[str, Any]]:
    """Returns name and arguments of a schedule with all durations in steps.

    Args:
        type: a name in :data:`CURVES`, with ``Epoch`` at its end if the arguments are in epochs.
        kwargs: the original's: ``base_lr, warmup_lr, warmup_steps | warmup_epoch, max_iter | max_epoch, min_lr,
            lr_steps | lr_epochs, lr_mults, step_size, decay, power``. Without ``max_iter``, ``max_epoch`` says the length.
        steps_per_epoch: of the loader.

    Raises:
        ConfigError: an argument is of the other kind, or the length is missing.
    """
    epochs, name = type.endswith("Epoch"), type.removesuffix("Epoch")
    CURVES[name]
    options = dict(kwargs)
    for here, there in (("warmup_steps", "warmup_epoch"), ("lr_steps", "lr_epochs")):
        wrong, right = (here, there) if epochs else (there, here)
        if wrong in options:
            raise ConfigError(f"{WHERE}.{wrong} does not belong to {type!r}; use {right}")
    if epochs and "max_iter" in options:
        raise ConfigError(f"{WHERE}.max_iter does not belong to {type!r}; use max_epoch")
    if "max_iter" in options and "max_epoch" in options:
        raise ConfigError(f"{WHERE} has both max_iter and max_epoch; set one")
    if "max_epoch" in options:
        length = options.pop("max_epoch")
        options["max_iter"] = round(convert(length, Positive, f"{WHERE}.max_epoch") * steps_per_epoch)
        if not 1 <= options["max_iter"] <= MOST_STEPS:
            raise ConfigError(
                f"{WHERE}.max_epoch must make from 1 to {MOST_STEPS:g} steps, got {length!r}, which at {steps_per_epoch} "
                f"steps an epoch is {options['max_iter']:g}"
            )
    elif "max_iter" not in options:
        raise ConfigError(
            f"{WHERE}.{'max_epoch' if epochs else 'max_iter'} is missing: it is the length of the training"
        )
    if epochs:
        if "warmup_epoch" in options:
            warmup = convert(options.pop("warmup_epoch"), NotNegative, f"{WHERE}.warmup_epoch") * steps_per_epoch
            options["warmup_steps"] = max(round(warmup), 2) if warmup > 0 else 0
        if "lr_epochs" in options:
            epochs_of = convert(options.pop("lr_epochs"), list[Positive], f"{WHERE}.lr_epochs")
            options["lr_steps"] = [round(epoch * steps_per_epoch) for epoch in epochs_of]
        if name == "StepDecay" and "step_size" in options:
            length = convert(options["step_size"], Positive, f"{WHERE}.step_size")
            options["step_size"] = max(1, round(length * steps_per_epoch))
    if name == "eCosine":
        if "epoch_steps" in options:
            raise ConfigError(f"{WHERE}.epoch_steps is not set here: an epoch has {steps_per_epoch} steps")
        options["epoch_steps"] = steps_per_epoch
    return name, options


def create_schedule(name: str, /, **options: Any) -> Schedule:
    """Returns a schedule in steps.

    For ``step < warmup_steps`` the rate rises in a straight line from ``base_lr`` at step 1 to ``warmup_lr``, which it has
    at step ``warmup_steps``; from there on the curve falls from ``warmup_lr``.

    Args:
        name: in :data:`CURVES`.
        options: those of :class:`Course`, and those of the curve.

    Raises:
        ConfigError: an invalid value; the message names it.
    """
    curve, common = CURVES[name], options_of(Course)
    known = {**common, **options_of(curve)}
    for key in options:
        if key not in known:
            raise unknown_option(key, known, WHERE)
    course = build(Course, {key: value for key, value in options.items() if key in common}, WHERE)
    further = checked(curve, {key: value for key, value in options.items() if key not in common}, WHERE)
    base, total, warmup = course.base_lr, course.max_iter, course.warmup_steps
    peak = base if course.warmup_lr is None else course.warmup_lr
    if warmup == 1:
        raise ConfigError(
            f"{WHERE}.warmup_steps must be 0 or at least 2, got 1: one step cannot be both ends of the rise"
        )
    if warmup == 0 and peak != base:
        raise ConfigError(
            f"{WHERE}.warmup_lr is {peak:g} and base_lr {base:g}, but there is no warm-up; set its length in "
            "warmup_steps (warmup_epoch)"
        )
    if warmup >= total:
        raise ConfigError(
            f"{WHERE}: the warm-up of {warmup:g} steps (warmup_steps, warmup_epoch) must be shorter than the training of "
            f"{total}"
        )
    if "min_lr" in further:
        convert(further["min_lr"], Annotated[float, Range(0, peak)], f"{WHERE}.min_lr")
    if "lr_steps" in further:
        _check_milestones(further["lr_steps"], further["lr_mults"], peak, total)

    def schedule(step: int) -> float:
        if step < warmup:
            return base + (peak - base) * (step - 1) / (warmup - 1)
        return curve(step, warmup, total, peak, **further)

    return schedule


def _check_milestones(steps: Sequence[int], mults: Sequence[float], peak: float, total: int) -> None:
    """Raises a ConfigError unless milestones rise and end in time, each with a multiplier that a rate can have."""
    if list(steps) != sorted(set(steps)) or (steps and steps[-1] > total):
        raise ConfigError(
            f"{WHERE}.lr_steps (lr_epochs): the milestones must rise and end by step {total}, got {steps}"
        )
    if len(mults) != len(steps):
        raise ConfigError(
            f"{WHERE}.lr_mults must be a list of {len(steps)} numbers, one per milestone of lr_steps (lr_epochs), got "
            f"{mults!r}"
        )
    if any(peak * product > LARGEST_FLOAT32 for product in itertools.accumulate(mults, operator.mul)):
        raise ConfigError(
            f"{WHERE}.lr_mults must keep the learning rate at most {LARGEST_FLOAT32:g}, got {mults} for {peak:g}"
        )


def schedule_of(type: str, kwargs: Mapping[str, Any], steps_per_epoch: int) -> tuple[Schedule, float, int]:
    """Returns (schedule, base learning rate, number of steps) of a config's section ``lr_scheduler``."""
    name, options = in_steps(type, kwargs, steps_per_epoch)
    schedule = create_schedule(name, **options)
    return schedule, parse_number(options["base_lr"]), options["max_iter"]
