"""Any attack of foolbox or torchattacks by name: ``foolbox:L2DeepFoolAttack``, ``torchattacks:CW``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.defaults import DEFAULT_EPS
from RobustART.core.optional import require
from RobustART.core.seeding import image_seeds
from RobustART.errors import ConfigError, UnknownNameError, nearest
from RobustART.noise.attacks.victim import check_output, guarded, parameter_dtype

LIBRARIES = ("foolbox", "torchattacks")
"""Names before the colon."""


class _Module(nn.Module):
    """Wraps any callable as the module that the libraries need, with a parameter from which they read the device.

    It takes images in the type of the libraries and returns logits in it, whatever type the model has. When a library
    switches modes, the model keeps its mode.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.device_of = nn.Parameter(torch.zeros(1, device=device), requires_grad=False)
        self.training = False
        self.dtype = parameter_dtype(model)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model(images if self.dtype is None else images.to(self.dtype))
        check_output(logits, len(images))
        return logits.to(images.dtype)

    def train(self, mode: bool = True) -> _Module:
        """Does nothing: the model keeps its mode."""
        return self


def is_library_attack(name: str) -> bool:
    """Returns whether a name is ``LIBRARY:CLASS``, or a misspelling of one, rather than a user's ``module:function``."""
    library, colon, _ = name.partition(":")
    return bool(colon) and (library in LIBRARIES or bool(nearest(library, LIBRARIES)))


def library_attack(name: str) -> Callable[..., Tensor]:
    """Returns ``attack(model, images, labels, *, seeds=None, **options) -> images`` for a library's attack.

    Its options are those of the library's class, by the library's names; ``inspect.signature`` shows them. An attack of
    foolbox also has ``eps``: the radius, or None for the smallest perturbation if the attack searches that. The libraries
    draw from the global generators, which are seeded from the first image's key and restored, so a draw depends on the
    batch, unlike those of our own attacks.

    Args:
        name: ``foolbox:CLASS`` or ``torchattacks:CLASS``.

    Raises:
        UnknownNameError: the library or the class is unknown.
        ConfigError: the library is not installed.
    """
    library, _, class_name = name.partition(":")
    if library not in LIBRARIES:
        raise UnknownNameError(
            f"unknown library {library!r}{nearest(library, LIBRARIES) or ';'} Known: foolbox, torchattacks"
        )
    module = require(library)
    place = module.attacks if library == "foolbox" else module
    base = place.base.Attack if library == "foolbox" else module.attack.Attack
    classes = {key: value for key, value in vars(place).items() if inspect.isclass(value) and issubclass(value, base)}
    if class_name not in classes:
        known = ", ".join(sorted(classes))
        raise UnknownNameError(f"unknown attack {name!r}{nearest(class_name, classes) or ';'} Known: {known}")
    cls = classes[class_name]
    parameters = [
        p.replace(kind=p.KEYWORD_ONLY)
        for p in inspect.signature(cls).parameters.values()
        if p.name != "model" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    run = run_foolbox if library == "foolbox" else _run_torchattacks

    def attack(model: Any, images: Tensor, labels: Tensor, *, seeds: Tensor | None = None, **options: Any) -> Tensor:
        return isolated(functools.partial(run, cls), name, model, images, labels, seeds, options)

    if library == "foolbox":
        fixed = issubclass(cls, place.base.FixedEpsilonAttack)
        norm = next((n for n in DEFAULT_EPS if class_name.startswith(n)), "Linf")
        default = DEFAULT_EPS[norm][-1] if fixed else None
        parameters.append(inspect.Parameter("eps", inspect.Parameter.KEYWORD_ONLY, default=default))
    first = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("model", "images", "labels")]
    seed = inspect.Parameter("seeds", inspect.Parameter.KEYWORD_ONLY, default=None)
    attack.__signature__ = inspect.Signature([*first, seed, *parameters])  # type: ignore[attr-defined]
    attack.__name__ = name
    return attack


def isolated(
    run: Callable[..., Tensor], name: str, model: Any, images: Tensor, labels: Tensor, seeds: Tensor | None,
    options: dict[str, Any],
) -> Tensor:  # fmt: skip
    """Returns what a library's attack finds, with the model and the global generators left as they were.

    Args:
        run: (module, images, labels, options) -> images.
        name: name of the attack, for its default seeds.
        model: any callable.
        images: float (N, C, H, W) in [0, 1].
        labels: (N,).
        seeds: keys of the images; the first seeds the global generators, which the libraries use.
        options: options for ``run``.
    """
    seeds = image_seeds(0, range(len(images)), name) if seeds is None else seeds
    wrapped = _Module(model, images.device)
    with guarded(model, images.device, seeds), torch.enable_grad():
        found = run(wrapped, images.detach().clone(), labels.to(images.device), options).detach()
    # An attack that searches the smallest perturbation may find none: the image is then returned unchanged.
    finite = found.flatten(1).isfinite().all(dim=1).view(-1, 1, 1, 1)
    return torch.where(finite, found, images).clamp(0, 1)


def run_foolbox(cls: Any, model: nn.Module, images: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    """Returns what an attack of foolbox makes of images; ``eps`` among the options is the radius or None."""
    wrapped = require("foolbox").PyTorchModel(model, bounds=(0, 1), device=images.device)
    arguments = {key: value for key, value in options.items() if key != "eps"}
    result: Tensor = construct(cls, arguments)(wrapped, images, labels, epsilons=options.get("eps"))[1]
    return result


def _run_torchattacks(cls: Any, model: nn.Module, images: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    result: Tensor = construct(cls, options, model)(images, labels)
    return result


def construct(cls: Any, options: dict[str, Any], *arguments: Any) -> Any:
    """Returns an attack of a library; what it does not take is a ConfigError."""
    try:
        return cls(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{cls.__name__} does not take these options: {error}") from error
