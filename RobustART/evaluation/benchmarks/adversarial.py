"""Adversarial noise: attacks on the model itself."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from RobustART.data import ImageDataset
from RobustART.errors import ConfigError
from RobustART.evaluation.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list, clean_view
from RobustART.metrics import summaries
from RobustART.noise.attacks import ATTACKS
from RobustART.noise.defaults import DEFAULT_EPS
from RobustART.options import attack_norm, check_options, format_eps, option_defaults, parse_number


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
        attacks: names in ``ATTACKS``, or ``{name: {option: value}}`` for one with options of its own.
        eps: radii for all attacks, or a mapping from norm (``Linf``, ``L2``, ``L1``) or attack to radii. Norms that
            are not named have the benchmark's three: 0.5/255, 2/255, 8/255; 0.5, 2, 8; 100, 400, 1600.
        stop: ``first`` ends an image's attack when it is fooled; null runs all steps, as papers' figures do.
    """
    specs = [_attack_spec(item) for item in as_list(attacks, (str, Mapping), "adversarial.attacks")]
    if not specs:
        raise ConfigError("adversarial.attacks must name at least one attack")
    names = [name for name, _ in specs]
    if len(set(names)) < len(names):
        raise ConfigError(f"adversarial.attacks names an attack twice: {names}")
    norm_of = {name: options.get("norm", attack_norm(name)) for name, options in specs}
    norms = set(norm_of.values())
    if eps is not None and not isinstance(eps, Mapping) and len(norms) > 1:
        raise ConfigError(
            f"adversarial.eps is one list, but the attacks are of the norms {', '.join(sorted(norms))}, whose radii "
            "cannot be compared; say eps: {Linf: [...], L2: [...]}"
        )
    if isinstance(eps, Mapping):
        for key in eps:
            if key not in norms and key not in names:
                raise ConfigError(f"adversarial.eps names {key!r}, which is neither a norm nor one of these attacks")
    cells = [Cell("clean", clean_view)]
    for name, options in specs:
        function = ATTACKS[name]
        given = {**({"stop": stop} if "stop" in option_defaults(function) else {}), **options}
        if "eps" in given:
            raise ConfigError(
                f"the radii of {name} do not stand with its options; say adversarial.eps: {{{name}: [...]}}"
            )
        check_options({"eps": 0, **given}, function, f"the attack {name}", hidden=("seeds", "log"))
        for radius in _radii(name, norm_of[name], eps):
            attack = functools.partial(function, eps=radius, **given)
            _try_options(attack, name)
            cells.append(Cell(f"{name}/{format_eps(radius, norm_of[name])}", clean_view, attack))
    return Benchmark("adversarial", (Pass(dataset, tuple(cells)),), summaries.adversarial)


def _attack_spec(item: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, Mapping) and len(item) == 1:
        name, options = next(iter(item.items()))
        if options is None or isinstance(options, Mapping):
            return str(name), dict(options or {})
    raise ConfigError(f"an entry of adversarial.attacks must be a name or {{name: {{option: value}}}}, got {item!r}")


def _try_options(attack: Callable[..., Tensor], name: str) -> None:
    """Raises what the attack itself says of its options, by running it on no images."""
    images, labels = torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.long)
    try:
        attack(lambda x: x.flatten(1)[:, :10], images, labels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the options of the attack {name}: {error}") from error


def _radii(name: str, norm: str, eps: Any) -> list[float]:
    if norm not in DEFAULT_EPS:
        raise ConfigError(f"the norm of {name} must be one of {', '.join(DEFAULT_EPS)}, got {norm!r}")
    if isinstance(eps, Mapping):
        eps = eps.get(name, eps.get(norm))
    values = DEFAULT_EPS[norm] if eps is None else as_list(eps, (int, float, str), "adversarial.eps")
    radii = [parse_number(value, "adversarial.eps") for value in values]
    if not radii or any(not 0 <= radius < math.inf for radius in radii):
        raise ConfigError(f"adversarial.eps must be a list of radii from 0 up, got {eps!r}")
    if len({format_eps(radius, norm) for radius in radii}) < len(radii):
        raise ConfigError(f"adversarial.eps names a radius twice: {eps!r}")
    return radii
