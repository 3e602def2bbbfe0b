"""AutoAttack: an ensemble of attacks without parameters to tune (Croce and Hein 2020, https://arxiv.org/abs/2003.01690).

The ensemble is a list of stages, and each stage is an attack on the images that are not broken yet. A caller who keeps the
verdicts of stages can run them one by one (:mod:`RobustART.noise.attacks.stages`, :func:`run_stage`) and resume after an
interruption: an image's draws depend on its key and the stage alone, so the verdicts are those of an uninterrupted run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import Unpack

from RobustART.core.options import checked, option_defaults
from RobustART.core.ranges import Count
from RobustART.core.seeding import fold, image_seeds
from RobustART.errors import ConfigError, nearest
from RobustART.noise.attacks.apgd import apgd_ce, apgd_dlr, apgd_t
from RobustART.noise.attacks.fab import fab, fab_t
from RobustART.noise.attacks.flags import check_model, few_classes, telling, warn
from RobustART.noise.attacks.geometry import Norm, check_norm
from RobustART.noise.attacks.inputs import CommonOptions, attack
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.square import square
from RobustART.noise.attacks.stages import Stage, run_stages
from RobustART.noise.attacks.victim import Model

Plan = dict[str, dict[str, Any]]
"""Stages in their order, each with the options it is run with."""

STAGES: dict[str, Callable[..., Tensor]] = {
    "apgd_ce": apgd_ce,
    "apgd_dlr": apgd_dlr,
    "apgd_t": apgd_t,
    "fab": fab,
    "fab_t": fab_t,
    "square": square,
}
VERSIONS = ("standard", "plus", "rand", "custom")
_L1_OPTIONS: Plan = {"apgd_ce": {"restarts": 5}, "apgd_dlr": {"restarts": 5}, "apgd_t": {"n_targets": 5}}
_SQUARE_FRACTION = 0.002
_FIXED = ("norm", "seeds", "stop", "batch_size", "amp", "log", "targeted")
"""Options of a stage that the ensemble sets."""


def plan(
    norm: str = "Linf",
    version: str = "standard",
    attacks: Sequence[str] | None = None,
    stage_options: Mapping[str, Mapping[str, Any]] | None = None,
    **shared: Any,
) -> Plan:
    """Returns the stages of a version with their options, in order.

    Args:
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        version: ``"standard"``, ``"plus"``, ``"rand"``, or ``"custom"`` for the stages in ``attacks``.
        attacks: names of stages, for ``"custom"`` alone; they get the options of the standard version.
        stage_options: options by stage that replace those of the version.
        shared: options of all stages that have them; None leaves those of the version.
    """
    todo = _plan_version(norm, version, attacks)
    given = {key: value for key, value in shared.items() if value is not None}
    for name in todo:
        todo[name] = {**todo[name], **{key: given[key] for key in given if key in option_defaults(STAGES[name])}}
    if not isinstance(stage_options or {}, Mapping):
        raise ConfigError(f"stage_options must be a mapping of stages to their options, got {stage_options!r}")
    for name, options in (stage_options or {}).items():
        if name not in todo:
            raise ConfigError(f"stage_options names {name!r}, but the stages are {', '.join(todo)}")
        if not isinstance(options, Mapping):
            raise ConfigError(f"stage_options.{name} must be a mapping of options, got {options!r}")
        checks = checked(STAGES[name], {"eps": 0, **options}, f"the stage {name}", hidden=_FIXED)
        todo[name] = {**todo[name], **{key: checks[key] for key in options}}
    return todo


def _plan_version(norm: str, version: str, attacks: Sequence[str] | None) -> Plan:
    check_norm(norm)
    if version not in VERSIONS:
        raise ConfigError(
            f"version must be one of {', '.join(map(repr, VERSIONS))}, got {version!r}{nearest(version, VERSIONS)}"
        )
    if (attacks is None) == (version == "custom"):
        raise ConfigError(f"attacks is for version 'custom', which needs it; got version {version!r} and {attacks!r}")
    if version == "plus":
        five = {"restarts": 5}
        return {"apgd_ce": five, "apgd_dlr": five, "fab": five, "square": {}, "apgd_t": {}, "fab_t": {}}
    if version == "rand":
        return {"apgd_ce": {"samples": 20}, "apgd_dlr": {"samples": 20}}
    if attacks is not None and (isinstance(attacks, str) or not attacks):
        raise ConfigError(f"attacks must be a list of at least one stage, got {attacks!r}")
    names = [str(name).replace("-", "_") for name in attacks or ("apgd_ce", "apgd_t", "fab_t", "square")]
    if len(set(names)) < len(names):
        raise ConfigError(f"attacks names a stage twice: {attacks!r}")
    return {_known(name): dict(_L1_OPTIONS.get(name, {}) if norm == "L1" else {}) for name in names}


def _known(name: str) -> str:
    """Returns the name of a stage; a ConfigError if there is no such stage."""
    if name not in STAGES:
        raise ConfigError(f"unknown stage {name!r}{nearest(name, STAGES) or ';'} Known: {', '.join(STAGES)}")
    return name


def run_stage(
    name: str, model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, norm: str = "Linf",
    stop: str | None = "first", options: Mapping[str, Any] | None = None,
    ask: Callable[[Model, Tensor], dict[str, str]] | None = None, **common: Unpack[CommonOptions],
) -> Tensor:  # fmt: skip
    """Runs one stage on images and returns their adversarial versions, unchanged ones where it found none.

    Args:
        name: of the stage, a key of :func:`plan`.
        model: and the other arguments as in :func:`autoattack`.
        images: (N, C, H, W), usually those that the earlier stages have not broken.
        labels: true classes (N,).
        eps: radius.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        stop: None or ``"first"``.
        options: of the stage, as :func:`plan` returns them.
        ask: called with model and images first; the flags that it returns go into the log.
        common: options of every attack; the seeds are the same for all stages.
    """
    log = common.get("log")
    if ask is not None and log is not None:
        log.flags.update(ask(model, images))
    seeds = common.get("seeds")
    if seeds is None:
        seeds = image_seeds(0, range(len(images)), "autoattack")
    given = {**common, **(options or {}), "seeds": _stage_seeds(seeds, _known(name))}
    return STAGES[name](model, images, labels, eps=eps, norm=norm, stop=stop, **given)


def _stage_seeds(seeds: Tensor, name: str) -> Tensor:
    return fold(seeds, list(STAGES).index(name))


@attack
def autoattack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm = "Linf",
    version: Literal["standard", "plus", "rand", "custom"] = "standard",
    attacks: Sequence[str] | None = None,
    stage_options: Mapping[str, Mapping[str, Any]] | None = None,
    stop: Literal["first"] | None = "first",
    samples: Count | None = None,
    backward: str | Callable[[Any], Callable[[Tensor], Tensor]] | None = None,
    checks: bool = True,
    **common: Unpack[CommonOptions],
) -> Tensor:
    """AutoAttack (Croce and Hein 2020, https://arxiv.org/abs/2003.01690): robust is what withstands all stages.

    Args:
        model: and all arguments not named here as in :class:`CommonOptions`.
        images: (N, C, H, W).
        labels: true classes (N,).
        eps: radius.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        version: ``"standard"``, ``"plus"`` (more restarts and losses), ``"rand"`` (for randomised defences), or
            ``"custom"``.
        attacks: stages of the custom version.
        stage_options: options by stage that replace those of the version, such as ``{"square": {"steps": 1000}}``.
        stop: ``"first"`` ends a stage for an image as soon as it is fooled; None runs all iterations of the stage, with
            the same verdicts.
        samples: passes averaged in every stage with gradients, as in :class:`GradientOptions`; None for those of the
            version: 20 in ``"rand"``, otherwise 1.
        backward: replacement of the model's gradient in every stage that uses it, as there.
        checks: whether to look for signs of a misleading evaluation, which become flags in the log and warnings.
        common: options of every attack; the log has an entry for each stage.
    """
    radii, seeds = eps, common["seeds"]
    assert isinstance(radii, Tensor)
    assert seeds is not None
    todo = plan(norm, version, attacks, stage_options, samples=samples, backward=backward)
    log = common["log"] or AttackLog()
    log.broken_by[:] = [None] * len(images)
    flags = _flags(list(todo), version, model, images, labels) if checks else {}
    adversarial = images.clone()
    slots = common["batch_size"] or max(1, len(images))

    def run(name: str, left: Tensor) -> Tensor:
        one = AttackLog()
        given = {**option_defaults(STAGES[name]), **todo[name], "seeds": _stage_seeds(seeds[left], name), "log": one}
        given |= {"eps": radii[left], "norm": norm, "stop": stop, "batch_size": slots, "amp": common["amp"]}
        found = inspect.unwrap(STAGES[name])(model, images[left], labels[left], **given)
        broken = ~one.robust.to(images.device)
        adversarial[left[broken]] = found[broken]
        log.record(name, left.cpu(), one)
        return left[broken | (radii[left] == 0)]

    run_stages(todo, torch.arange(len(images), device=images.device), run)
    if _square_was_needed(log):
        log.flags["square"] = (
            "Square broke images that the attacks with gradients left standing; gradients may be masked, and the true "
            "robustness may be lower still"
        )
    log.flags.update(flags | telling(log))
    if checks:
        warn(log.flags)
    return adversarial


def _square_was_needed(log: AttackLog) -> bool:
    names = log.broken_by
    others = set(log.stages) - {"square"}
    return bool(others) and names.count("square") > _SQUARE_FRACTION * len(names) and log.stages[-1] == "square"


def _for_norm(name: str, norm: Norm) -> Any:
    def fixed(model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, **options: Any) -> Tensor:
        return autoattack(model, images, labels, eps=eps, norm=norm, **options)

    signature = inspect.signature(autoattack)
    parameters = [value for key, value in signature.parameters.items() if key != "norm"]
    fixed.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    fixed.__name__ = fixed.__qualname__ = name
    fixed.__doc__ = str(autoattack.__doc__).replace("AutoAttack", f"AutoAttack in {norm}", 1)
    fixed.stages = functools.partial(_stages, norm=norm)  # type: ignore[attr-defined]
    return fixed


def _stages(
    *,
    eps: float,
    norm: str,
    version: str = "standard",
    attacks: Sequence[str] | None = None,
    stage_options: Mapping[str, Mapping[str, Any]] | None = None,
    samples: int | None = None,
    backward: Any = None,
    checks: bool = True,
    **bound: Any,
) -> list[Stage]:
    """Returns AutoAttack's stages with their options bound; the first also flags losses that need more classes.

    The caller checks the model once for all attacks (:func:`check_model`).
    """
    todo = plan(norm, version, attacks, stage_options, samples=samples, backward=backward)
    ask = functools.partial(_few_classes, list(todo)) if checks else None
    stages = []
    for name, options in todo.items():
        run = functools.partial(run_stage, name, eps=eps, norm=norm, options=options, ask=ask, **bound)
        stages.append(Stage(name, run))
        ask = None
    return stages


def _few_classes(stages: Sequence[str], model: Model, images: Tensor) -> dict[str, str]:
    with torch.no_grad():
        return few_classes(stages, model(images[:1]).shape[1]) if len(images) else {}


def _flags(stages: Sequence[str], version: str, model: Model, images: Tensor, labels: Tensor) -> dict[str, str]:
    flags = check_model(model, images, labels, stages)
    if version == "rand":
        flags.pop("randomized", None)
    return flags


autoattack_linf = _for_norm("autoattack_linf", "Linf")
autoattack_l2 = _for_norm("autoattack_l2", "L2")
autoattack_l1 = _for_norm("autoattack_l1", "L1")
