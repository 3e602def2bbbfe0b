"""Adversarial noise: attacks on the model itself."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list, clean_view
from RobustART.core.options import (
    NUMBERS,
    attack_norm,
    check_options,
    check_types,
    format_eps,
    option_defaults,
    parse_number,
)
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError, nearest
from RobustART.metrics import summaries
from RobustART.models import Classifier, build_model, wrap_model
from RobustART.noise.defaults import DEFAULT_EPS
from RobustART.noise.reference import OURS, resolve_attack


@BENCHMARKS.register("adversarial")
def adversarial(
    dataset: ImageDataset,
    *,
    attacks: Sequence[Any] = ("fgsm", "pgd_linf"),
    eps: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    stop: str | None = "first",
) -> Benchmark:
    """Returns white-box attacks on the true label.

    Args:
        dataset: clean images.
        attacks: names in ``ATTACKS``, or ``{name: {option: value}}`` for one with options of its own; the option
            ``backend: foolbox``, ``torchattacks`` or ``autoattack`` takes that library's version.
        eps: radii for all attacks, or a mapping from norm (``Linf``, ``L2``, ``L1``) or attack to radii. Norms that
            are not named have the benchmark's three: 0.5/255, 2/255, 8/255; 0.5, 2, 8; 100, 400, 1600.
        stop: ``first`` ends an image's attack when it is fooled; null runs all steps, as papers' figures do.
    """
    cells = [Cell("clean", clean_view)]
    cells += [Cell(name, clean_view, attack) for name, attack in _attacks("adversarial", attacks, eps, stop)]
    part = Pass(dataset, tuple(cells))
    return Benchmark("adversarial", (part,), summaries.adversarial, _one_spelling(attacks, eps))


@BENCHMARKS.register("transfer")
def transfer(
    dataset: ImageDataset,
    *,
    models: Mapping[str, Any],
    attacks: Sequence[Any] = ("fgsm",),
    eps: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    stop: str | None = None,
) -> Benchmark:
    """Returns transfer (black-box) attacks: made on a source, shown to every target, in a matrix of all the models.

    Args:
        dataset: clean images.
        models: further models by name, each ``{type: ..., kwargs: ..., weights: ..., preprocessing: ...}`` as the section
            ``model`` of a config (or an ``nn.Module``, in Python). Together with the model under evaluation, which is
            called ``model``, they are sources and targets. All are shown the same crops.
        attacks: as in the benchmark ``adversarial``; the original benchmark takes FGSM.
        eps: likewise.
        stop: null runs all steps, since an image that just fools its source seldom fools another; or ``first``.
    """
    if not isinstance(models, Mapping) or not models:
        raise ConfigError(f"transfer.models must be a mapping of names to models, got {models!r}")
    for name in models:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.:+-]+", name) or name == "model":
            raise ConfigError(
                f"a name in transfer.models must be letters, digits and any of _ . : + -, and not 'model', got {name!r}"
            )
    others: dict[str | None, Classifier] = {name: _other_model(name, spec) for name, spec in models.items()}
    names: list[str | None] = [None, *others]
    cells = [Cell("clean" if name is None else f"clean@{name}", clean_view, judge=name) for name in names]
    for source in names:
        for label, attack in _attacks("transfer", attacks, eps, stop):
            # One object for all targets: the images are made once.
            cells += [
                Cell(
                    f"{label} {source or 'model'}>{target or 'model'}", clean_view, attack, victim=source, judge=target
                )
                for target in names
            ]
    # Where weights lie is no condition: their fingerprint is one.
    plain = {
        name: {k: v for k, v in spec.items() if k != "weights"} if isinstance(spec, Mapping) else others[name].source
        for name, spec in models.items()
    }
    options = {"models": plain, **_one_spelling(attacks, eps)}
    return Benchmark("transfer", (Pass(dataset, tuple(cells)),), summaries.transfer, options, models=others)


def _other_model(name: str, spec: Any) -> Classifier:
    if isinstance(spec, nn.Module):
        return wrap_model(spec)
    if not isinstance(spec, Mapping) or not isinstance(spec.get("type"), str):
        raise ConfigError(f"transfer.models.{name} must be a mapping with the key 'type', got {spec!r}")
    allowed = ("type", "kwargs", "weights", "strict", "preprocessing")
    for key in spec:
        if key not in allowed:
            raise ConfigError(
                f"unknown key transfer.models.{name}.{key}{nearest(key, allowed) or ';'} Allowed: {', '.join(allowed)}"
            )
    for key, kind, what in (
        ("kwargs", Mapping, "a mapping"),
        ("preprocessing", Mapping, "a mapping"),
        ("weights", str, "text"),
    ):
        if spec.get(key) is not None and not isinstance(spec[key], kind):
            raise ConfigError(f"transfer.models.{name}.{key} must be {what}, got {spec[key]!r}")
    if not isinstance(spec.get("strict", True), bool):
        raise ConfigError(f"transfer.models.{name}.strict must be true or false, got {spec['strict']!r}")
    return build_model(
        spec["type"], spec.get("kwargs") or {}, weights=spec.get("weights"), strict=spec.get("strict", True),
        preprocessing=dict(spec.get("preprocessing") or {}),
    )  # fmt: skip


def _attacks(
    where: str, attacks: Sequence[Any], eps: Sequence[Any] | Mapping[str, Sequence[Any]] | None, stop: str | None
) -> list[tuple[str, functools.partial[Tensor]]]:
    """Returns attacks with their options bound, one for each radius, as ``name/eps`` and the attack."""
    specs = [_attack_spec(item, where) for item in as_list(attacks, (str, Mapping), f"{where}.attacks")]
    if not specs:
        raise ConfigError(f"{where}.attacks must name at least one attack")
    labels = [label for label, _, _ in specs]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"{where}.attacks names an attack twice: {labels}")
    norm_of = {label: options.get("norm", attack_norm(label)) for label, _, options in specs}
    norms = set(norm_of.values())
    if eps is not None and not isinstance(eps, Mapping) and len(norms) > 1:
        raise ConfigError(
            f"{where}.eps is one list, but the attacks are of the norms {', '.join(sorted(norms))}, whose radii "
            "cannot be compared; say eps: {Linf: [...], L2: [...]}"
        )
    if isinstance(eps, Mapping):
        for key in eps:
            if key not in norms and key not in labels:
                raise ConfigError(f"{where}.eps names {key!r}, which is neither a norm nor one of these attacks")
    bound = []
    if stop not in (None, "first"):
        raise ConfigError(f"{where}.stop must be 'first' or null, got {stop!r}")
    for label, function, options in specs:
        place = f"the attack {label}"
        given = {**({"stop": stop} if "stop" in option_defaults(function) else {}), **options}
        if "eps" in given:
            raise ConfigError(
                f"the radii of {label} do not stand with its options; say {where}.eps: {{{label}: [...]}}"
            )
        # Targeted attacks need the classes to lead to, and a benchmark has but the true ones.
        check_options({"eps": 0, **given}, function, place, hidden=("seeds", "log", "targeted"))
        written = {key: v for key, v in given.items() if key in NUMBERS and isinstance(v, str)}
        given |= {key: parse_number(v, f"{key} of {place}") for key, v in written.items()}
        check_types(given, function, place)
        for radius in _radii(where, label, norm_of[label], eps):
            attack = functools.partial(function, eps=radius, **given)
            _try_options(attack, label)
            bound.append((f"{label}/{format_eps(radius, norm_of[label])}", attack))
    return bound


def _one_spelling(attacks: Any, eps: Any) -> dict[str, Any]:
    """Returns the two options, which are checked, in one spelling: lists, numbers, names without empty options."""
    specs: list[Any] = []
    for item in [attacks] if isinstance(attacks, (str, Mapping)) else attacks:
        name, options = (item, {}) if isinstance(item, str) else next(iter(item.items()))
        given = {k: parse_number(v) if k in NUMBERS and isinstance(v, str) else v for k, v in (options or {}).items()}
        specs.append({name: given} if given else name)

    def numbers(values: Any) -> list[float]:
        return [parse_number(value) for value in ([values] if isinstance(values, (int, float, str)) else values)]

    if isinstance(eps, Mapping):
        radii: Any = {key: None if values is None else numbers(values) for key, values in eps.items()}
    else:
        radii = None if eps is None else numbers(eps)
    return {"attacks": specs, "eps": radii}


def _attack_spec(item: Any, where: str) -> tuple[str, Callable[..., Tensor], dict[str, Any]]:
    """Returns what to call an attack, the attack, and its options."""
    name, options = (item, None) if isinstance(item, str) else next(iter(item.items()), (None, None))
    if isinstance(name, str) and (isinstance(item, str) or len(item) == 1) and isinstance(options or {}, Mapping):
        if ":" in name:
            raise ConfigError(
                f"{where}.attacks cannot hold {name!r}: a library's attack has no radius and norm that a benchmark knows; "
                "use it through AddNoise, or name one of ours with backend: foolbox, torchattacks or autoattack"
            )
        given = dict(options or {})
        backend = given.pop("backend", OURS)
        return (name if backend == OURS else f"{backend}.{name}"), resolve_attack(name, backend), given
    raise ConfigError(f"an entry of {where}.attacks must be a name or {{name: {{option: value}}}}, got {item!r}")


def _try_options(attack: Callable[..., Tensor], name: str) -> None:
    """Raises what the attack itself says of its options, by running it on no images."""
    images, labels = torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.long)
    try:
        attack(lambda x: x.flatten(1)[:, :10], images, labels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the options of the attack {name}: {error}") from error


def _radii(where: str, name: str, norm: str, eps: Any) -> list[float]:
    if norm not in DEFAULT_EPS:
        raise ConfigError(f"the norm of {name} must be one of {', '.join(DEFAULT_EPS)}, got {norm!r}")
    if isinstance(eps, Mapping):
        eps = eps.get(name, eps.get(norm))
    values = DEFAULT_EPS[norm] if eps is None else as_list(eps, (int, float, str), f"{where}.eps")
    radii = [parse_number(value, f"{where}.eps") for value in values]
    if not radii or any(not 0 <= radius < math.inf for radius in radii):
        raise ConfigError(f"{where}.eps must be a list of radii from 0 up, got {eps!r}")
    if len({format_eps(radius, norm) for radius in radii}) < len(radii):
        raise ConfigError(f"{where}.eps names a radius twice: {eps!r}")
    return radii
