"""Our attacks as the reference libraries implement them, with our signatures: they judge our own code.

``backend="foolbox"``, ``"torchattacks"`` or ``"autoattack"`` (the PyPI build ``pyautoattack`` of the authors' code) runs
the library's version of an attack with our option names and defaults. Options that the library does not have are not
options here either. Known deviations of the libraries from the papers are kept: foolbox's momentum attack accumulates signs
instead of gradients; torchattacks divides by a mean gradient that may be zero; their draws depend on the batch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.declarations import options_of
from RobustART.core.optional import require
from RobustART.core.options import attack_norm, checked
from RobustART.core.ranges import Count
from RobustART.errors import ConfigError, nearest
from RobustART.noise.attacks import ATTACKS
from RobustART.noise.attacks.ascent import REL_STEPSIZE
from RobustART.noise.attacks.autoattack import plan
from RobustART.noise.attacks.inputs import AttackOptions, check_inputs
from RobustART.noise.attacks.task import attack_task
from RobustART.noise.libraries import construct, is_library_attack, isolated, library_attack, run_foolbox

OURS = "robustart"
_STEPS = {"steps": "steps", "rel_stepsize": "rel_stepsize", "step_size": "abs_stepsize", "random_start": "random_start"}
_CW = {
    "steps": "steps", "search_steps": "binary_search_steps", "step_size": "stepsize", "initial_const": "initial_const",
    "confidence": "confidence", "abort_early": "abort_early",
}  # fmt: skip
FOOLBOX: dict[str, tuple[str, dict[str, str]]] = {
    "fgsm": ("LinfFastGradientAttack", {"random_start": "random_start"}),
    "pgd_linf": ("LinfPGD", _STEPS),
    "pgd_l2": ("L2PGD", _STEPS),
    "pgd_l1": ("L1PGD", _STEPS),
    "mim_linf": ("LinfMomentumIterativeFastGradientMethod", {**_STEPS, "decay": "momentum"}),
    "ddn_l2": ("DDNAttack", {"steps": "steps", "gamma": "gamma", "init_norm": "init_epsilon"}),
    "cw_l2": ("L2CarliniWagnerAttack", _CW),
    "deepfool_l2": ("L2DeepFoolAttack", {"steps": "steps", "candidates": "candidates", "overshoot": "overshoot"}),
}
"""Our attacks in foolbox: the class, and its names of our options."""

_APGD = {"norm": "norm", "steps": "steps", "restarts": "n_restarts", "rho": "rho", "samples": "eot_iter"}
_FAB = {
    "norm": "norm", "steps": "steps", "restarts": "n_restarts", "alpha_max": "alpha_max", "eta": "eta", "beta": "beta",
}  # fmt: skip
_SQUARE = {
    "norm": "norm", "steps": "n_queries", "restarts": "n_restarts", "p_init": "p_init",
    "rescale_schedule": "resc_schedule",
}  # fmt: skip
_ALPHA = {"steps": "steps", "step_size": "alpha", "rel_stepsize": "alpha"}
TORCHATTACKS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "fgsm": ("FGSM", {}, {}),
    "pgd_linf": ("PGD", {**_ALPHA, "random_start": "random_start"}, {}),
    "pgd_l2": ("PGDL2", {**_ALPHA, "random_start": "random_start"}, {}),
    "mim_linf": ("MIFGSM", {**_ALPHA, "decay": "decay"}, {}),
    "deepfool_l2": ("DeepFool", {"steps": "steps", "overshoot": "overshoot"}, {}),
    "apgd_ce": ("APGD", _APGD, {"loss": "ce"}),
    "apgd_dlr": ("APGD", _APGD, {"loss": "dlr"}),
    "apgd_t": ("APGDT", _APGD, {}),
    "fab": ("FAB", _FAB, {"multi_targeted": False}),
    "fab_t": ("FAB", _FAB, {"multi_targeted": True}),
    "square": ("Square", _SQUARE, {}),
    "autoattack_linf": ("AutoAttack", {"version": "version"}, {"norm": "Linf"}),
    "autoattack_l2": ("AutoAttack", {"version": "version"}, {"norm": "L2"}),
}
"""Our attacks in torchattacks: the class, its names of our options, and arguments that make it this attack."""

AUTOATTACK: dict[str, tuple[str, ...]] = {
    "autoattack_linf": ("version", "attacks"),
    "autoattack_l2": ("version", "attacks"),
    "autoattack_l1": ("version", "attacks"),
    "apgd_ce": ("norm", "steps", "restarts", "rho", "samples"),
    "apgd_dlr": ("norm", "steps", "restarts", "rho", "samples"),
    "apgd_t": ("norm", "steps", "restarts", "n_targets", "rho", "samples"),
    "fab": ("norm", "steps", "restarts", "alpha_max", "eta", "beta"),
    "fab_t": ("norm", "steps", "restarts", "n_targets", "alpha_max", "eta", "beta"),
    "square": ("norm", "steps", "restarts", "p_init", "rescale_schedule"),
}
"""Our attacks in the authors' AutoAttack, with the options it has."""

_PLAIN = {"pgd_l1": {"rel_stepsize": REL_STEPSIZE, "random_start": True}}
"""Defaults that differ from ours, which are for a course of steps that no library has."""

BACKENDS: dict[str, Mapping[str, Any]] = {"foolbox": FOOLBOX, "torchattacks": TORCHATTACKS, "autoattack": AUTOATTACK}
_PARTS = {  # the authors' names of the attribute and of our options
    "apgd": {"steps": "n_iter", "restarts": "n_restarts", "rho": "thr_decr", "samples": "eot_iter"},
    "apgd_targeted": {
        "steps": "n_iter", "restarts": "n_restarts", "rho": "thr_decr", "samples": "eot_iter",
        "n_targets": "n_target_classes",
    },
    "fab": {
        "steps": "n_iter", "restarts": "n_restarts", "alpha_max": "alpha_max", "eta": "eta", "beta": "beta",
        "n_targets": "n_target_classes",
    },
    "square": {
        "steps": "n_queries", "restarts": "n_restarts", "p_init": "p_init", "rescale_schedule": "rescale_schedule",
    },
}  # fmt: skip


def resolve_attack(name: str, backend: str = OURS) -> Callable[..., Tensor]:
    """Returns an attack by name: ours, a reference library's version of ours, or any attack of a library.

    Args:
        name: in ``ATTACKS``, ``module:function`` of a user's own, ``foolbox:CLASS`` or ``torchattacks:CLASS``.
        backend: ``"robustart"``, or the library whose version is meant.

    Raises:
        UnknownNameError: there is no such attack.
        ConfigError: there is no such backend, it does not have this attack, or it is not installed.
    """
    if is_library_attack(name):
        if backend != OURS:
            raise ConfigError(f"{name} names its library; give it without backend, got {backend!r}")
        return library_attack(name)
    ours = ATTACKS[name]
    if backend == OURS:
        return ours
    known = (OURS, *BACKENDS)
    if backend not in known:
        raise ConfigError(f"backend must be one of {', '.join(known)}, got {backend!r}{nearest(str(backend), known)}")
    table = BACKENDS[backend]
    if name not in table:
        raise ConfigError(f"the backend {backend!r} does not have {name}; it has {', '.join(table)}")
    require("pyautoattack" if backend == "autoattack" else backend)
    if backend == "foolbox":
        class_name, names = FOOLBOX[name]
        return _attack(name, backend, tuple(names), functools.partial(_foolbox, class_name, names))
    if backend == "torchattacks":
        class_name, names, fixed = TORCHATTACKS[name]
        return _attack(name, backend, tuple(names), functools.partial(_torchattacks, class_name, names, fixed))
    return _attack(name, backend, AUTOATTACK[name], functools.partial(_autoattack, name))


def _attack(name: str, backend: str, options: tuple[str, ...], run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Returns the attack with those of our options that the library has.

    Its arguments are checked, and its successes confirmed, as those of ours; points outside the ball or [0, 1] are moved
    into it.
    """
    place, known = f"{name} by {backend}", options_of(ATTACKS[name])
    parameters = [
        inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD) for key in ("model", "images", "labels")
    ]
    for key, option in known.items():
        if key in ("eps", "seeds", *options):
            default = _PLAIN.get(name, {}).get(key, option.default)
            hint = Count if key == "steps" else option.hint
            parameters.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    signature = inspect.Signature(parameters)
    defaults = {key: parameter.default for key, parameter in signature.parameters.items() if key in (*options, "eps")}

    def attack(model: Any, images: Tensor, labels: Tensor, *, seeds: Tensor | None = None, **given: Any) -> Tensor:
        values = defaults | checked(attack, given, place, hidden=("seeds",))
        norm = _check_values(name, backend, values, defaults)
        eps = values["eps"]
        if isinstance(eps, Tensor) and eps.ndim:
            raise ConfigError(f"the backend {backend!r} takes one eps for all images, got {tuple(eps.shape)}")
        images, labels, radii, seeds = check_inputs(name, images, labels, eps, seeds, unbounded=defaults["eps"] is None)
        common = AttackOptions(seeds=seeds, targeted=False, stop=None, batch_size=None, amp=None, log=None)
        with attack_task(name, model, images, labels, radii, norm, common) as task:
            index = task.unbroken()
            if len(index):
                found = isolated(
                    run, f"{backend}.{name}", model, task.images[index], task.labels[index], task.seeds[index],
                    values if eps is None else values | {"eps": float(eps)},
                )  # fmt: skip
                task.settle(index, found.to(task.images.dtype))
        return task.adversarial

    attack.__signature__ = signature  # type: ignore[attr-defined]
    attack.__name__ = attack.__qualname__ = name
    return attack


def _check_values(name: str, backend: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Returns the norm of an attack; a ConfigError names options that do not go together or with the library."""
    place = f"{name} by {backend}"
    norm: str = values.get("norm", attack_norm(name))
    if backend == "torchattacks" and norm == "L1":
        raise ConfigError(f"{place} knows the norms 'Linf' and 'L2', got 'L1'")
    if values.get("step_size") is not None and values.get("rel_stepsize") != defaults.get("rel_stepsize"):
        raise ConfigError(
            f"give one of step_size and rel_stepsize, got {values['step_size']} and {values['rel_stepsize']}"
        )
    if "version" in values:
        plan(norm, values["version"], values.get("attacks"))
        if backend == "torchattacks" and values["version"] == "custom":
            raise ConfigError(f"{place} knows the versions 'standard', 'plus' and 'rand', got 'custom'")
    return norm


def _foolbox(
    class_name: str, names: Mapping[str, str], model: nn.Module, images: Tensor, labels: Tensor, options: dict[str, Any]
) -> Tensor:
    arguments = {names[key]: value for key, value in options.items() if key in names}
    cls = getattr(require("foolbox").attacks, class_name)
    return run_foolbox(cls, model, images, labels, arguments | {"eps": options["eps"]})


def _torchattacks(
    class_name: str, names: Mapping[str, str], fixed: Mapping[str, Any], model: nn.Module, images: Tensor,
    labels: Tensor, options: dict[str, Any],
) -> Tensor:  # fmt: skip
    cls = getattr(require("torchattacks"), class_name)
    known = inspect.signature(cls).parameters
    arguments = dict(fixed)
    for key, value in options.items():
        if key in names and key not in ("step_size", "rel_stepsize"):
            arguments[names[key]] = value
    if "eps" in known:
        arguments["eps"] = options["eps"]
    if "step_size" in names:
        step = options["step_size"]
        arguments["alpha"] = options["eps"] * options["rel_stepsize"] if step is None else step
    if "n_classes" in known:
        with torch.no_grad():
            arguments["n_classes"] = model(images[:1]).shape[1]
    if "seed" in known:
        arguments["seed"] = int(torch.initial_seed() % 2**31)
    return construct(cls, arguments, model)(images, labels)


def _autoattack(name: str, model: nn.Module, images: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    cls = require("pyautoattack").AutoAttack
    norm = options.get("norm") or attack_norm(name)
    common = {"norm": norm, "eps": options["eps"], "device": str(images.device), "seed": torch.initial_seed() % 2**31}
    if name.startswith("autoattack"):
        stages = options["attacks"]
        attack = cls(
            model, version=options["version"], attacks=stages and [s.replace("_", "-") for s in stages], **common
        )
    else:
        attack = cls(model, version="custom", attacks=[name.replace("_", "-")], **common)
        part = "fab" if name.startswith("fab") else {"apgd_t": "apgd_targeted", "square": "square"}.get(name, "apgd")
        for key, setting in _PARTS[part].items():
            if key in options:
                setattr(getattr(attack, part), setting, options[key])
    found = attack.run_standard_evaluation(images, labels, batch_size=len(images))
    return found[0] if isinstance(found, tuple) else found
