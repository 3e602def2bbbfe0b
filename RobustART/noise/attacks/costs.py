"""What attacks cost at most, before they are run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from RobustART.core.options import option_defaults
from RobustART.noise.attacks.autoattack import STAGES, plan
from RobustART.noise.attacks.stages import unbound

_FACTORS = {"fab": 2.0, "fab_t": 2.0, "deepfool_l2": 2.0, "square": 1.5}
"""Forward passes of a step: those that step and look apart, and Square, whose proposals may be in vain."""
_BISECTION = 50
"""Decisions of HopSkipJump for each jump and the way back to the boundary."""
_VERDICTS = 2
"""Passes of an attack before its first step and after its last one."""


def forward_passes(attack: Callable[..., Tensor]) -> int | None:
    """Returns about how many forward passes an attack makes for an image that withstands it; None for a user's own attack.

    Images that are fooled earlier need fewer.

    Args:
        attack: the attack, whose options may be bound by ``functools.partial``.
    """
    function, bound = unbound(attack)
    name, options = getattr(function, "__name__", ""), {**option_defaults(function), **bound}
    if name.startswith("autoattack_"):
        chosen = {key: options.get(key) for key in ("attacks", "stage_options")}
        stages = plan(name.rpartition("_")[2].capitalize(), options["version"], **chosen)
        return sum(_passes(stage, {**option_defaults(STAGES[stage]), **given}) for stage, given in stages.items())
    return _passes(name, options) if {"steps", "iterations"} & options.keys() or name == "fgsm" else None


def _passes(name: str, options: Mapping[str, Any]) -> int:
    if "iterations" in options:  # HopSkipJump
        decisions = [options["init_evals"] * math.sqrt(t + 1) for t in range(options["iterations"])]
        return math.ceil(sum(min(one, options["max_evals"]) + _BISECTION for one in decisions))
    tries = (
        options.get("restarts", 1)
        * options.get("samples", 1)
        * options.get("search_steps", 1)
        * options.get("eot_iter", 1)
    )
    targets = options.get("n_targets", 0)
    tries = tries + targets if name == "pgd_l1" else tries * max(targets, 1)
    return math.ceil(_FACTORS.get(name, 1.0) * (options.get("steps", 0) + 1) * tries) + _VERDICTS
