"""Turns the attacks of a configuration into cells: checks names, options and radii, and binds them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from RobustART.benchmarks.options import HIDDEN, AttackEntry, Radii
from RobustART.core.defaults import DEFAULT_EPS
from RobustART.core.options import attack_norm, check_radius, checked, format_eps, option_defaults, parse_number
from RobustART.errors import ConfigError
from RobustART.metrics.reading import has

if TYPE_CHECKING:
    from torch import Tensor


class BoundAttack(NamedTuple):
    """An attack with its options and one radius."""

    name: str
    """Name of the cell, ``attack/radius``."""
    coordinates: dict[str, Any]
    """Coordinates of the cell: ``attack``, ``norm``, ``radius`` as written, and ``eps``."""
    attack: functools.partial[Tensor]
    """(model, images, labels, *, seeds) -> images."""


def attack_coordinates(name: str, norm: str | None = None) -> dict[str, Any]:
    """Returns the coordinates of a cell named ``attack/radius``; by default the attack's name determines the norm."""
    attack, _, radius = name.partition("/")
    return {"attack": attack, "norm": norm or attack_norm(attack), "radius": radius, "eps": parse_number(radius)}


def is_attack(coordinates: Mapping[str, Any]) -> bool:
    """Returns whether coordinates are those of an attack and a radius."""
    eps = coordinates.get("eps")
    number = isinstance(eps, (int, float)) and not isinstance(eps, bool) and 0 <= eps < math.inf
    return number and has(coordinates, attack=str, norm=str, radius=str)


def bound_attacks(
    where: str, attacks: Sequence[AttackEntry], eps: Radii, stop: Literal["first"] | None
) -> list[BoundAttack]:
    """Returns attacks with their options bound, one for each radius; ``where`` names the benchmark in errors."""
    specs = [_attack_spec(item, where) for item in attacks]
    if not specs:
        raise ConfigError(f"{where}.attacks must name at least one attack")
    labels = [label for label, _, _ in specs]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"{where}.attacks names an attack twice: {labels}")
    norm_of = {label: options.get("norm", attack_norm(label)) for label, _, options in specs}
    norms = set(norm_of.values())
    if eps is not None and not isinstance(eps, Mapping) and len(norms) > 1:
        raise ConfigError(
            f"{where}.eps is one list, but the attacks have the norms {', '.join(sorted(norms))}, whose radii "
            "are not comparable; use eps: {Linf: [...], L2: [...]}"
        )
    if isinstance(eps, Mapping):
        for key in eps:
            if key not in norms and key not in labels:
                raise ConfigError(f"{where}.eps names {key!r}, which is neither a norm nor one of these attacks")
    bound = []
    for label, function, options in specs:
        given = {**({"stop": stop} if "stop" in option_defaults(function) else {}), **options}
        for radius in _radii(where, label, norm_of[label], eps):
            attack = functools.partial(function, eps=radius, **given)
            _try_options(attack, label)
            written_radius = format_eps(radius, norm_of[label])
            coordinates = {"attack": label, "norm": norm_of[label], "radius": written_radius, "eps": radius}
            bound.append(BoundAttack(f"{label}/{written_radius}", coordinates, attack))
    return bound


def one_spelling(attacks: Sequence[AttackEntry], eps: Radii) -> dict[str, Any]:
    """Returns both options in canonical form, with names without options as strings."""
    return {"attacks": [item if isinstance(item, str) else _entry(item) for item in attacks], "eps": eps}


def _entry(item: Mapping[str, Any]) -> Any:
    name, options = next(iter(item.items()))
    return {name: {**options, **_attack_spec(item, "")[2]}} if options else name


def _attack_spec(item: Any, where: str) -> tuple[str, Callable[..., Tensor], dict[str, Any]]:
    """Returns the label of an attack, the attack, and its checked options."""
    from RobustART.noise.libraries import is_library_attack
    from RobustART.noise.reference import OURS, resolve_attack

    name, options = (item, None) if isinstance(item, str) else next(iter(item.items()), (None, None))
    if isinstance(name, str) and (isinstance(item, str) or len(item) == 1) and isinstance(options or {}, Mapping):
        if is_library_attack(name):
            raise ConfigError(
                f"{where}.attacks cannot contain {name!r}: the norm and radius of a library's attack are unknown; use it "
                "through AddNoise, or name one of ours with backend: foolbox, torchattacks or autoattack"
            )
        given = dict(options or {})
        backend = given.pop("backend", OURS)
        label, function = (name if backend == OURS else f"{backend}.{name}"), resolve_attack(name, backend)
        if "eps" in given:
            raise ConfigError(f"eps is not an option of the attack {label}; use {where}.eps: {{{label}: [...]}}")
        checks = checked(function, {"eps": 0, **given}, f"the attack {label}", hidden=HIDDEN)
        return label, function, {key: checks[key] for key in given}
    raise ConfigError(f"an entry of {where}.attacks must be a name or {{name: {{option: value}}}}, got {item!r}")


def _try_options(attack: Callable[..., Tensor], name: str) -> None:
    """Runs an attack on an empty batch, and raises a ConfigError if it rejects its options."""
    import torch

    images, labels = torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.long)
    try:
        attack(lambda x: x.flatten(1)[:, :10], images, labels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the options of the attack {name}: {error}") from error


def _radii(where: str, name: str, norm: str, eps: Radii) -> list[float]:
    if norm not in DEFAULT_EPS:
        raise ConfigError(f"the norm of {name} must be one of {', '.join(DEFAULT_EPS)}, got {norm!r}")
    if isinstance(eps, Mapping):
        eps = eps.get(name, eps.get(norm))
    radii = list(DEFAULT_EPS[norm] if eps is None else eps)
    if not radii:
        raise ConfigError(f"{where}.eps must name at least one radius, got {eps!r}")
    for radius in radii:
        check_radius(radius, norm, f"{where}.eps of the attack {name}")
    if len({format_eps(radius, norm) for radius in radii}) < len(radii):
        raise ConfigError(f"{where}.eps names a radius twice: {eps!r}")
    return radii
