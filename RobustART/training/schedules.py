"""Learning rates as pure functions of the step, which counts from 1 to ``max_iter``.

The curves are the original's (``lr_scheduler`` of its ``prototype`` package) with one correction: Poly reaches zero. What
is given in epochs becomes steps once, in :func:`in_steps`; everything after that knows only steps.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from RobustART.core.options import check_options, parse_number
from RobustART.core.ranges import LARGEST_FLOAT32
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


@CURVES.register("Step")
def step_curve(
    it: int, warmup: int, total: int, peak: float, *, lr_steps: Sequence[int], lr_mults: Sequence[float]
) -> float:
    """``peak`` times the multipliers of all milestones that are reached."""
    return peak * math.prod(mult for step, mult in zip(lr_steps, lr_mults, strict=True) if step <= it)


@CURVES.register("StepDecay")
def step_decay_curve(it: int, warmup: int, total: int, peak: float, *, step_size: int, decay: float) -> float:
    """``peak`` times ``decay`` once for every ``step_size`` steps after the warm-up."""
    return peak * float(decay ** ((it - warmup) // step_size))


@CURVES.register("Cosine")
def cosine_curve(it: int, warmup: int, total: int, peak: float, *, min_lr: float = 0.0) -> float:
    """Half a cosine from ``peak`` to ``min_lr`` (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983)."""
    return _cosine((it - warmup) / (total - warmup), peak, min_lr)


@CURVES.register("eCosine")
def epoch_cosine_curve(
    it: int, warmup: int, total: int, peak: float, *, epoch_steps: int, min_lr: float = 0.0
) -> float:
    """As Cosine, but the rate changes only once in ``epoch_steps`` steps."""
    return _cosine((it - warmup) // epoch_steps * epoch_steps / (total - warmup), peak, min_lr)


@CURVES.register("Poly")
def poly_curve(it: int, warmup: int, total: int, peak: float, *, power: float) -> float:
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
        ConfigError: an argument is of the other kind, or the length is not said.
    """
    epochs, name = type.endswith("Epoch"), type.removesuffix("Epoch")
    CURVES[name]
    options = dict(kwargs)
    for here, there in (("warmup_steps", "warmup_epoch"), ("lr_steps", "lr_epochs")):
        wrong, right = (here, there) if epochs else (there, here)
        if wrong in options:
            raise ConfigError(f"{WHERE}.{wrong} does not belong to {type!r}; say {right}")
    if epochs and "max_iter" in options:
        raise ConfigError(f"{WHERE}.max_iter does not belong to {type!r}; say max_epoch")
    if "max_iter" in options and "max_epoch" in options:
        raise ConfigError(f"{WHERE} has both max_iter and max_epoch; say one")
    if "max_epoch" in options:
        length = options.pop("max_epoch")
        options["max_iter"] = round(_number({"max_epoch": length}, "max_epoch", above=0) * steps_per_epoch)
        if not 1 <= options["max_iter"] <= MOST_STEPS:
            raise ConfigError(
                f"{WHERE}.max_epoch must make from 1 to {MOST_STEPS:g} steps, got {length!r}, which at {steps_per_epoch} "
                f"steps an epoch is {options['max_iter']:g}"
            )
    elif "max_iter" not in options:
        raise ConfigError(f"{WHERE}.{'max_epoch' if epochs else 'max_iter'} is missing: how long is the training?")
    if epochs:
        if "warmup_epoch" in options:
            warmup = _number(options, "warmup_epoch") * steps_per_epoch
            options["warmup_steps"] = max(round(warmup), 2) if warmup > 0 else 0
            del options["warmup_epoch"]
        if "lr_epochs" in options:
            epochs_of = _numbers(options.pop("lr_epochs"), "lr_epochs", above=0)
            options["lr_steps"] = [round(epoch * steps_per_epoch) for epoch in epochs_of]
        if name == "StepDecay" and "step_size" in options:
            options["step_size"] = max(1, round(_number(options, "step_size", above=0) * steps_per_epoch))
    if name == "eCosine":
        if "epoch_steps" in options:
            raise ConfigError(f"{WHERE}.epoch_steps is not set here: an epoch has {steps_per_epoch} steps")
        options["epoch_steps"] = steps_per_epoch
    return name, options


def create_schedule(
    name: str,
    /,
    *,
    base_lr: float,
    max_iter: int,
    warmup_lr: float | None = None,
    warmup_steps: int = 0,
    **options: Any,
) -> Schedule:
    """Returns a schedule in steps.

    For ``step < warmup_steps`` the rate rises in a straight line from ``base_lr`` at step 1 to ``warmup_lr``, which it has
    at step ``warmup_steps``; from there on the curve falls from ``warmup_lr``.

    Args:
        name: in :data:`CURVES`.
        base_lr: the rate of step 1, above 0; ``lr`` of the optimiser, all parameter groups keep their ratio to it.
        max_iter: number of steps.
        warmup_lr: the peak; without warm-up it is ``base_lr``.
        warmup_steps: 0, or at least 2.
        options: of the curve.

    Raises:
        ConfigError: a value that cannot mean a learning rate; the message names it.
    """
    given = {"base_lr": base_lr, "max_iter": max_iter, "warmup_lr": warmup_lr, "warmup_steps": warmup_steps, **options}
    curve = CURVES[name]
    check_options(options, curve, f"{WHERE} ({name})")
    base = _number(given, "base_lr", above=0, most=LARGEST_FLOAT32)
    total, warmup = _count(given, "max_iter", 1, MOST_STEPS), _count(given, "warmup_steps", 0, MOST_STEPS)
    peak = base if warmup_lr is None else _number(given, "warmup_lr", above=0, most=LARGEST_FLOAT32)
    if warmup == 1:
        raise ConfigError(
            f"{WHERE}.warmup_steps must be 0 or at least 2, got 1: one step cannot be both ends of the rise"
        )
    if warmup == 0 and peak != base:
        raise ConfigError(
            f"{WHERE}.warmup_lr is {peak:g} and base_lr {base:g}, but there is no warm-up; say its length in "
            "warmup_steps (warmup_epoch)"
        )
    if warmup >= total:
        raise ConfigError(
            f"{WHERE}: the warm-up of {warmup:g} steps (warmup_steps, warmup_epoch) must be shorter than the training of "
            f"{total}"
        )
    checked = _checked(options, peak, total)

    def schedule(step: int) -> float:
        if step < warmup:
            return base + (peak - base) * (step - 1) / (warmup - 1)
        return curve(step, warmup, total, peak, **checked)

    return schedule


def _checked(options: Mapping[str, Any], peak: float, total: int) -> dict[str, Any]:
    checks: dict[str, Callable[[], Any]] = {
        "lr_steps": lambda: _milestones(options, total),
        "lr_mults": lambda: _multipliers(options, peak),
        "step_size": lambda: _count(options, "step_size", 1),
        "epoch_steps": lambda: _count(options, "epoch_steps", 1),
        "decay": lambda: _number(options, "decay", above=0, most=1),
        "power": lambda: _number(options, "power", above=0),
        "min_lr": lambda: _number(options, "min_lr", most=peak),
    }
    return {name: checks[name]() for name in options}


def _milestones(options: Mapping[str, Any], total: int) -> list[int]:
    steps = [_count({"lr_steps": value}, "lr_steps", 1) for value in _numbers(options["lr_steps"], "lr_steps")]
    if steps != sorted(set(steps)) or (steps and steps[-1] > total):
        raise ConfigError(
            f"{WHERE}.lr_steps (lr_epochs): the milestones must rise and end by step {total}, got {steps}"
        )
    mults = options["lr_mults"]
    if not isinstance(mults, (list, tuple)) or len(mults) != len(steps):
        raise ConfigError(
            f"{WHERE}.lr_mults must be a list of {len(steps)} numbers, one per milestone of lr_steps (lr_epochs), got "
            f"{mults!r}"
        )
    return steps


def _multipliers(options: Mapping[str, Any], peak: float) -> list[float]:
    values = _numbers(options["lr_mults"], "lr_mults", above=0)
    if any(peak * product > LARGEST_FLOAT32 for product in itertools.accumulate(values, operator.mul)):
        raise ConfigError(
            f"{WHERE}.lr_mults must keep the learning rate at most {LARGEST_FLOAT32:g}, got {values} for {peak:g}"
        )
    return values


def _numbers(values: Any, name: str, *, above: float | None = None) -> list[float]:
    if not isinstance(values, (list, tuple)):
        raise ConfigError(f"{WHERE}.{name} must be a list of numbers, got {values!r}")
    return [_number({name: value}, name, above=above) for value in values]


def _number(options: Mapping[str, Any], name: str, *, above: float | None = None, most: float = math.inf) -> float:
    value = parse_number(options[name], f"{WHERE}.{name}")
    low = value <= above if above is not None else value < 0
    if low or value > most or not math.isfinite(value):
        allowed = f"above {above:g}" if above is not None else "at least 0"
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        raise ConfigError(f"{WHERE}.{name} must be {allowed}{limit}, got {options[name]!r}")
    return value


def _count(options: Mapping[str, Any], name: str, least: int, most: int | None = None) -> int:
    value = options[name]
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not whole or value < least or (most is not None and value > most):
        limit = "" if most is None else f" and at most {most:g}"
        raise ConfigError(f"{WHERE}.{name} must be a whole number of at least {least}{limit}, got {value!r}")
    return int(value)


def schedule_of(type: str, kwargs: Mapping[str, Any], steps_per_epoch: int) -> tuple[Schedule, float, int]:
    """Returns (schedule, base learning rate, number of steps) of a config's section ``lr_scheduler``."""
    name, options = in_steps(type, kwargs, steps_per_epoch)
    if "base_lr" not in options:
        raise ConfigError(f"{WHERE}.base_lr is missing")
    schedule = create_schedule(name, **options)
    return schedule, parse_number(options["base_lr"]), int(options["max_iter"])
