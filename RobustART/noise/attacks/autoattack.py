"""AutoAttack: an ensemble of attacks without parameters to tune (Croce and Hein 2020, https://arxiv.org/abs/2003.01690).

The ensemble is a list of stages, and each stage is an attack of its own that sees the images still standing. A caller
who keeps the verdicts of stages can run them one by one (:mod:`RobustART.noise.attacks.stages`, :func:`run_stage`) and
take up where he was interrupted: an image's draws depend on its key and the stage alone, so the verdicts are those of an
unbroken run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from RobustART.core.options import check_options, check_types
from RobustART.core.seeding import fold, image_seeds
from RobustART.errors import ConfigError, nearest
from RobustART.noise.attacks.apgd import apgd_ce, apgd_dlr, apgd_t
from RobustART.noise.attacks.checks import check_model, warn
from RobustART.noise.attacks.fab import fab, fab_t
from RobustART.noise.attacks.geometry import check_norm
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.square import square
from RobustART.noise.attacks.stages import Stage
from RobustART.noise.attacks.task import check_eps, check_images
from RobustART.noise.attacks.victim import Model

STAGES: dict[str, Callable[..., Tensor]] = {
    "apgd_ce": apgd_ce,
    "apgd_dlr": apgd_dlr,
    "apgd_t": apgd_t,
    "fab": fab,
    "fab_t": fab_t,
    "square": square,
}
VERSIONS = ("standard", "plus", "rand", "custom")
_SQUARE_SHARE = 0.002
_GIVEN = ("norm", "seeds", "stop", "batch_size", "amp", "log", "targeted")
"""What a stage is given by the ensemble."""

Plan = dict[str, dict[str, Any]]
"""Stages in their order, each with the options it is run with."""


def plan(
    norm: str = "Linf",
    version: str = "standard",
    attacks: Sequence[str] | None = None,
    stage_options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """Returns the stages of a version with their options, in order.

    Args:
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        version: ``"standard"``, ``"plus"``, ``"rand"``, or ``"custom"`` for the stages in ``attacks``.
        attacks: names of stages, for ``"custom"`` alone; they get the options of the standard version.
        stage_options: options by stage that replace those of the version.
    """
    todo = _plan_version(norm, version, attacks)
    if not isinstance(stage_options or {}, Mapping):
        raise ConfigError(f"stage_options must be a mapping of stages to their options, got {stage_options!r}")
    for name, options in (stage_options or {}).items():
        if name not in todo:
            raise ConfigError(f"stage_options names {name!r}, but the stages are {', '.join(todo)}")
        if not isinstance(options, Mapping):
            raise ConfigError(f"stage_options.{name} must be a mapping of options, got {options!r}")
        check_options({"eps": 0, **options}, STAGES[name], f"the stage {name}", hidden=_GIVEN)
        check_types(options, STAGES[name], f"the stage {name}")
        todo[name] = {**todo[name], **options}
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
        return {"apgd_ce": {"eot_iter": 20}, "apgd_dlr": {"eot_iter": 20}}
    if attacks is not None and (isinstance(attacks, str) or not attacks):
        raise ConfigError(f"attacks must be a list of at least one stage, got {attacks!r}")
    names = [str(name).replace("-", "_") for name in attacks or ("apgd_ce", "apgd_t", "fab_t", "square")]
    if len(set(names)) < len(names):
        raise ConfigError(f"attacks names a stage twice: {attacks!r}")
    for name in names:
        if name not in STAGES:
            raise ConfigError(f"unknown stage {name!r}{nearest(name, STAGES) or ';'} Known: {', '.join(STAGES)}")
    options: Plan = {name: {} for name in names}
    if norm == "L1":
        for name, value in (("apgd_ce", {"restarts": 5}), ("apgd_dlr", {"restarts": 5}), ("apgd_t", {"n_targets": 5})):
            if name in options:
                options[name] = dict(value)
    return options


def run_stage(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: str = "Linf",
    seeds: Tensor | None = None,
    stop: str | None = "first",
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
    options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Runs one stage on images and returns their adversarial versions, unchanged ones where it found none.

    Args:
        name: of the stage, a key of :func:`plan`.
        model: and the other arguments as in :func:`autoattack`.
        images: float (N, C, H, W) in [0, 1], usually those that the stages before have left standing; not changed.
        labels: true classes (N,).
        eps: radius, a number or one per image (N,).
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        seeds: int64 keys of the images (N,), the same for all stages.
        stop: None or ``"first"``.
        batch_size: rows in the batch at once; None for the number of images.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
        options: of the stage, as :func:`plan` gives them.
    """
    if name not in STAGES:
        raise ConfigError(f"unknown stage {name!r}{nearest(name, STAGES) or ';'} Known: {', '.join(STAGES)}")
    if seeds is None:
        seeds = image_seeds(0, range(len(images)), "autoattack")
    return STAGES[name](
        model, images, labels, eps=eps, norm=norm, seeds=fold(seeds, list(STAGES).index(name)), stop=stop,
        batch_size=batch_size, amp=amp, log=log, **(options or {}),
    )  # fmt: skip


def autoattack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: str = "Linf",
    version: str = "standard",
    attacks: Sequence[str] | None = None,
    stage_options: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Tensor | None = None,
    stop: str | None = "first",
    batch_size: int | None = None,
    amp: str | None = None,
    checks: bool = True,
    log: AttackLog | None = None,
) -> Tensor:
    """AutoAttack (Croce and Hein 2020, https://arxiv.org/abs/2003.01690): robust is what withstands all stages.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,).
        eps: radius in units of ``images``, a number or one per image (N,).
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        version: ``"standard"``, ``"plus"`` (more restarts and losses), ``"rand"`` (for randomised defences), or
            ``"custom"``.
        attacks: stages of the custom version.
        stage_options: options by stage that replace those of the version, such as ``{"square": {"steps": 1000}}``.
        seeds: int64 keys of the images (N,).
        stop: ``"first"`` ends a stage for an image as soon as it is fooled; None runs all iterations of the stage, with
            the same verdicts.
        batch_size: rows in the batch at once; None for the number of images.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        checks: whether to look for signs of a misleading evaluation, which become flags in the log and warnings.
        log: filled with what happened to each image in each stage.
    """
    todo = plan(norm, version, attacks, stage_options)
    adversarial, radii = check_images(images), check_eps(eps, images)
    if seeds is None:
        seeds = image_seeds(0, range(len(images)), "autoattack")
    seeds, labels = seeds.to(images.device), labels.to(images.device)
    log = AttackLog() if log is None else log
    log.broken_by[:] = [None] * len(images)
    flags = _flags(model, adversarial, labels, todo, version) if checks else {}
    start = adversarial
    standing = torch.arange(len(images), device=images.device)
    for name, options in todo.items():
        one = AttackLog()
        found = run_stage(
            name, model, start[standing], labels[standing], eps=radii[standing], norm=norm, seeds=seeds[standing],
            stop=stop, batch_size=batch_size or max(1, len(images)), amp=amp, log=one, options=options,
        )  # fmt: skip
        broken = ~one.robust.to(images.device)
        if name == next(iter(todo)):
            adversarial = start.clone()
        adversarial[standing[broken]] = found[broken]
        log.record(name, standing.cpu(), one)
        standing = standing[~broken]
        standing = standing[radii[standing] > 0]
    if _square_was_needed(log):
        log.flags["square"] = (
            "Square broke images that the attacks with gradients left standing; gradients may be masked, and the true "
            "robustness may be lower still"
        )
    log.flags.update(flags)
    if checks:
        warn(log.flags)
    return adversarial


def _square_was_needed(log: AttackLog) -> bool:
    names = log.broken_by
    others = set(log.stages) - {"square"}
    return bool(others) and names.count("square") > _SQUARE_SHARE * len(names) and log.stages[-1] == "square"


def _for_norm(name: str, norm: str) -> Any:
    def attack(
        model: Model,
        images: Tensor,
        labels: Tensor,
        *,
        eps: float | Tensor,
        seeds: Tensor | None = None,
        version: str = "standard",
        attacks: Sequence[str] | None = None,
        stage_options: Mapping[str, Mapping[str, Any]] | None = None,
        stop: str | None = "first",
        batch_size: int | None = None,
        amp: str | None = None,
        checks: bool = True,
        log: AttackLog | None = None,
    ) -> Tensor:
        return autoattack(
            model, images, labels, eps=eps, norm=norm, version=version, attacks=attacks, stage_options=stage_options,
            seeds=seeds, stop=stop, batch_size=batch_size, amp=amp, checks=checks, log=log,
        )  # fmt: skip

    attack.__name__ = attack.__qualname__ = name
    attack.__doc__ = f"AutoAttack in {norm}; arguments as in :func:`autoattack`."
    attack.stages = functools.partial(_stages, norm=norm)  # type: ignore[attr-defined]
    return attack


def _stages(
    *,
    eps: float,
    norm: str,
    version: str = "standard",
    attacks: Sequence[str] | None = None,
    stage_options: Mapping[str, Mapping[str, Any]] | None = None,
    stop: str | None = "first",
    batch_size: int | None = None,
    amp: str | None = None,
    checks: bool = True,
) -> list[Stage]:
    """Returns AutoAttack's stages with their options bound; the first also asks the questions of :func:`check_model`."""
    todo = plan(norm, version, attacks, stage_options)
    stages = []
    for name, options in todo.items():
        run = functools.partial(
            run_stage, name, eps=eps, norm=norm, stop=stop, batch_size=batch_size, amp=amp, options=options
        )
        stages.append(Stage(name, run))
    if checks:
        first = functools.partial(_checked, stages[0].attack, todo, version, batch_size=batch_size, amp=amp)
        stages[0] = Stage(stages[0].name, first)
    return stages


def _checked(
    attack: Callable[..., Tensor],
    todo: Plan,
    version: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    seeds: Tensor | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
) -> Tensor:
    if log is not None:
        log.flags.update(_flags(model, images, labels, todo, version))
    given = {name: value for name, value in (("batch_size", batch_size), ("amp", amp)) if value is not None}
    return attack(model, images, labels, seeds=seeds, log=log, **given)


def _flags(model: Model, images: Tensor, labels: Tensor, todo: Plan, version: str) -> dict[str, str]:
    flags = check_model(model, images, labels, list(todo))
    if version == "rand":
        flags.pop("randomized", None)
    return flags


autoattack_linf = _for_norm("autoattack_linf", "Linf")
autoattack_l2 = _for_norm("autoattack_l2", "L2")
autoattack_l1 = _for_norm("autoattack_l1", "L1")
