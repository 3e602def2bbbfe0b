"""Adversarial attacks as functions: ``attack(model, images, labels, *, eps, seeds=None, **options) -> images``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from RobustART.noise.attacks.apgd import apgd_ce, apgd_dlr, apgd_t
from RobustART.noise.attacks.autoattack import (
    autoattack,
    autoattack_l1,
    autoattack_l2,
    autoattack_linf,
    plan,
    run_stage,
)
from RobustART.noise.attacks.fab import fab, fab_t
from RobustART.noise.attacks.flags import AttackWarning, check_model
from RobustART.noise.attacks.gradient import fgsm, mim_linf, pgd_l1, pgd_l2, pgd_linf
from RobustART.noise.attacks.hop_skip_jump import hop_skip_jump_l2, hop_skip_jump_linf
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.minimal_norm import cw_l2, ddn_l2, deepfool_l2
from RobustART.noise.attacks.square import square
from RobustART.registry import Registry

Attack = Callable[..., Tensor]

ATTACKS: Registry[Attack] = Registry("attack")
"""Every attack by its name in benchmarks and configurations."""

for _attack in (
    fgsm, pgd_linf, pgd_l2, pgd_l1, mim_linf, apgd_ce, apgd_dlr, apgd_t, fab, fab_t, square,
    autoattack_linf, autoattack_l2, autoattack_l1, ddn_l2, cw_l2, deepfool_l2,
    hop_skip_jump_linf, hop_skip_jump_l2,
):  # fmt: skip
    ATTACKS.add(_attack.__name__, _attack)

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackLog",
    "AttackWarning",
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "autoattack",
    "autoattack_l1",
    "autoattack_l2",
    "autoattack_linf",
    "check_model",
    "cw_l2",
    "ddn_l2",
    "deepfool_l2",
    "fab",
    "fab_t",
    "fgsm",
    "hop_skip_jump_l2",
    "hop_skip_jump_linf",
    "mim_linf",
    "pgd_l1",
    "pgd_l2",
    "pgd_linf",
    "plan",
    "run_stage",
    "square",
]
