"""Optimisers by name, and the parameter groups of the original: which parameters have a different decay or rate.

Optimisers are ``torch.optim``'s and, where torch has none, timm's. A parameter has one *kind*, given by the layer that owns
it: ``conv_dw_w`` and ``conv_dw_b`` of depthwise convolutions (as many groups as input channels), ``conv_dense_w`` and
``conv_dense_b`` of all others, ``linear_w`` and ``linear_b``, ``bn_w`` and ``bn_b`` (scale and shift of every normalisation
layer), and ``other`` for all others, such as position embeddings, class tokens and layer scales.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import nn

from RobustART.core.declarations import PLAIN
from RobustART.core.options import convert, unknown_option
from RobustART.core.ranges import LARGEST_FLOAT32, Range, Share, ShareBelowOne
from RobustART.errors import ConfigError
from RobustART.registry import Registry

OPTIMIZERS: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")
"""Names to optimiser classes."""

for _name in ("SGD", "RMSprop", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam"):
    OPTIMIZERS.add(_name, getattr(torch.optim, _name))


def _timm(name: str) -> Callable[..., torch.optim.Optimizer]:
    import timm.optim

    return getattr(timm.optim, name)


TIMM = {"LAMB": "Lamb", "LARS": "Lars", "Lion": "Lion", "RMSpropTF": "RMSpropTF"}
"""Names of timm's optimisers here to those of its classes."""

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
"""Normalisation layers; timm's derive from these."""

KINDS = ("conv_dw_w", "conv_dw_b", "conv_dense_w", "conv_dense_b", "linear_w", "linear_b", "bn_w", "bn_b", "other")
"""Kinds of parameters."""

WIDER = {"conv_b": ("conv_dw_b", "conv_dense_b"), "conv_w": ("conv_dw_w", "conv_dense_w")}
"""Names for several kinds; an option of a single kind takes precedence."""

NO_DECAY = {
    "fc": ("conv_dw_b", "conv_dense_b", "linear_b"),
    "norm": ("bn_w", "bn_b"),
    "embed": ("other",),
}
"""Kinds without weight decay by word of ``no_wd``: biases, normalisation, embeddings and tokens."""


RANGES: dict[str, Any] = {
    "lr": Annotated[float, Range(0, LARGEST_FLOAT32)],
    "weight_decay": Annotated[float, Range(0, 1e4)],
    "momentum": ShareBelowOne,
    "alpha": ShareBelowOne,
    "rho": ShareBelowOne,
    "betas": tuple[ShareBelowOne, ShareBelowOne],
    "dampening": Share,
    "momentum_decay": Share,
    "eps": Annotated[float, Range(0, 1000, above=True)],
    "lr_decay": Annotated[float, Range(0, 1000)],
    "initial_accumulator_value": Annotated[float, Range(0, 1e6)],
    "max_grad_norm": Annotated[float, Range(0, 1e6, above=True)],
    "trust_coeff": Annotated[float, Range(0, 1000, above=True)],
}
"""Ranges of the optimisers' options; the classes themselves accept even infinities."""
POINTLESS = {
    "maximize": "a training makes its loss smaller",
    "differentiable": "nothing is differentiated through a step",
    "capturable": "steps are not captured as CUDA graphs",
}
"""Switches of the classes that no training here uses, with the reason."""
SWITCHES = ("foreach", "fused")
"""Switches whose default, None, leaves the choice to torch."""
OF_ALL = (*POINTLESS, *SWITCHES, "initial_accumulator_value", "max_grad_norm")
"""Options that an optimiser has only once, for all kinds of parameters."""


def parameter_kind(module: nn.Module, name: str) -> str:
    """Returns the kind, in :data:`KINDS`, of a module's own parameter ``name``."""
    part = "b" if name.endswith("bias") else "w"
    if isinstance(module, NORMS) or "norm" in type(module).__name__.lower():
        return f"bn_{part}"
    if isinstance(module, nn.modules.conv._ConvNd):
        depthwise = module.groups > 1 and module.groups == module.in_channels
        return f"conv_{'dw' if depthwise else 'dense'}_{part}"
    if isinstance(module, nn.Linear) or (isinstance(module, nn.MultiheadAttention) and "proj" in name):
        return f"linear_{part}"
    return "other"


def named_kinds(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Yields (name, parameter, kind) of every parameter that is trained, each once."""
    seen: set[int] = set()
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{place}.{name}" if place else name, parameter, parameter_kind(module, name)


def kind_options(
    no_wd: bool | Mapping[str, bool] | None, pconfig: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Returns the options of each kind of parameter that has any.

    Args:
        no_wd: true takes the decay from everything but weights of layers; a mapping does what it says, with the words of
            :data:`NO_DECAY` (so ``{fc: false, norm: false}`` changes nothing). Unlike in the original, embeddings
            and tokens are among what ``true`` means.
        pconfig: kinds to options of the optimiser; they take precedence over ``no_wd``.
        defaults: the optimiser's options, ``lr`` among them, with the values of kinds that set nothing else.

    Raises:
        ConfigError: an unknown word, kind or option.
    """
    words = dict.fromkeys(NO_DECAY, True) if no_wd is True else dict(no_wd or {})
    options: dict[str, dict[str, Any]] = {}
    for word, on in words.items():
        if word not in NO_DECAY:
            raise unknown_option(word, NO_DECAY, "optimizer.no_wd")
        for kind in NO_DECAY[word] if on else ():
            options[kind] = {"weight_decay": 0.0}
    known = (*KINDS, *WIDER)
    for name in sorted(pconfig, key=lambda name: name not in WIDER):
        if name not in known:
            raise unknown_option(name, known, "optimizer.pconfig")
        for option in OF_ALL:
            if option in pconfig[name] and option in defaults:
                raise ConfigError(
                    f"optimizer.pconfig.{name}.{option} is for all parameters at once; set optimizer.kwargs.{option}"
                )
        chosen = _checked_options(pconfig[name], defaults, f"optimizer.pconfig.{name}")
        for kind in WIDER.get(name, (name,)):
            options[kind] = {**options.get(kind, {}), **chosen}
    return options


def _checked_options(options: Mapping[str, Any], known: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns options of the optimiser with their numbers read; ``known`` are their defaults."""
    checked = {}
    for name, value in options.items():
        if name not in known:
            raise unknown_option(name, known, where)
        if value and name in POINTLESS:
            raise ConfigError(f"{where}.{name} must be false, got {value!r}: {POINTLESS[name]}")
        default = known[name]
        hint = bool if name in SWITCHES else RANGES.get(name, type(default) if type(default) in PLAIN else Any)
        checked[name] = convert(value, hint if default is not None else hint | None, f"{where}.{name}")
    return checked


def create_optimizer(
    model: nn.Module,
    name: str,
    *,
    lr: float,
    no_wd: bool | Mapping[str, bool] | None = None,
    pconfig: Mapping[str, Mapping[str, Any]] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> torch.optim.Optimizer:
    """Returns the optimiser of a model's parameters; a group's rate at the start is its key ``initial_lr``."""
    build = _timm(TIMM[name]) if name in TIMM else OPTIMIZERS[name]
    parameters = inspect.signature(build).parameters
    known = {key: p.default for key, p in parameters.items() if key not in ("params", "lr", "self")}
    kwargs = dict(kwargs or {})
    if "lr" in kwargs:
        raise ConfigError("optimizer.kwargs.lr is not set here: it is lr_scheduler.kwargs.base_lr")
    options = _checked_options(kwargs, known, "optimizer.kwargs")
    _refuse_unfit(build, name, lr, options, f"optimizer.kwargs {kwargs}")
    special = kind_options(no_wd, pconfig or {}, {"lr": lr, **known})
    for kind, own in special.items():
        _refuse_unfit(
            build, name, lr, {**options, **own}, f"the options of {kind}, {own}, with optimizer.kwargs {kwargs}"
        )
    groups: dict[str, dict[str, Any]] = {}
    for _, parameter, kind in named_kinds(model):
        own = special.get(kind, {})
        group = groups.setdefault(repr(sorted(own.items())), {"params": [], **own})
        group["params"].append(parameter)
    if not groups:
        raise ConfigError("the model has no parameters to train")
    optimizer = build(list(groups.values()), lr=lr, **options)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _refuse_unfit(build: Callable[..., Any], name: str, lr: float, options: Mapping[str, Any], what: str) -> None:
    """Raises a ConfigError if the class refuses options; ``what`` names them."""
    try:
        build([nn.Parameter(torch.zeros(1))], **{"lr": lr, **options})
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"optimizer {name} refuses {what}: {error}") from None


def set_rate(optimizer: torch.optim.Optimizer, rate: float, base_lr: float) -> None:
    """Sets the rate of a step; every group keeps its ratio to ``base_lr``."""
    for group in optimizer.param_groups:
        group["lr"] = rate * (group["initial_lr"] / base_lr)
