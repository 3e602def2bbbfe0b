"""What a builder returns: a network with the preprocessing that it states. A user's function is a builder."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from RobustART.core.defaults import NOT_KNOWN
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ModelError, UserError, nearest
from RobustART.models.normalize import Classifier

UNSTATED = "the model states no preprocessing; torchvision's ImageNet defaults are used"
"""Note of a network that does not state its preprocessing."""


@dataclasses.dataclass(frozen=True)
class Built:
    """A network without normalisation, as its builder returned it."""

    network: nn.Module
    preprocessing: Preprocessing
    source: str
    """What built it, such as ``timm:resnet50``."""
    notes: tuple[str, ...] = ()
    """Sentences for the report."""
    technique: str = NOT_KNOWN
    """What its weights were trained with."""


def own_function(module_name: str, function_name: str) -> Callable[..., Any]:
    """Returns a function by the names of its module and itself, or raises a ModelError that says what is missing."""
    name = f"{module_name}:{function_name}"
    if not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
        raise ModelError(f"model {name!r} must be module:function, the names as in an import (package.module:function)")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ModelError(
            f"model {name!r}: there is no module {module_name!r} in the current folder, beside the config file or "
            "among the installed packages"
        ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        place = getattr(module, "__file__", None) or module_name
        known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise ModelError(f"model {name!r}: {place} has no function {function_name!r}{nearest(function_name, known)}")
    return function


def build_own(name: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> Built:
    """Returns what a user's function builds."""
    return as_built(call(function, name, (), kwargs), name)


def as_built(network: Any, name: str) -> Built:
    """Returns what a builder returned, with the preprocessing that it states; a :class:`Classifier` keeps its own.

    Raises:
        ModelError: it is not a network.
    """
    if not isinstance(network, nn.Module):
        raise ModelError(f"model {name!r} must return a torch.nn.Module, got {type(network).__name__}")
    if isinstance(network, Classifier):
        return Built(network.network, network.preprocessing, name, technique=network.technique)
    preprocessing, notes = preprocessing_of(network)
    return Built(network, preprocessing, name, notes)


def call(
    function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, library: bool = False
) -> nn.Module:
    """Calls a builder; an argument it does not take, and weights it cannot fetch, are a ModelError.

    Args:
        function: the builder.
        name: of the model.
        args: positional ones.
        kwargs: its arguments.
        library: whether any other failure is a ModelError too; a user's function shows its own traceback.
    """
    given = {key: value for key, value in kwargs.items() if not library or key not in ("pretrained", "weights")}
    fetching = library and bool(kwargs.get("pretrained") or kwargs.get("weights"))
    try:
        network: nn.Module = function(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, TypeError) and re.search("unexpected keyword argument|multiple values for", str(error)):
            taken = ""
            if not args:
                names = ("and its library's" if p.kind is p.VAR_KEYWORD else p.name for p in _parameters(function))
                taken = f" It takes: {', '.join(names) or 'nothing'}."
            raise ModelError(
                f"model {name!r} does not take one of the arguments {sorted(given)}: {error}.{taken}"
            ) from None
        if fetching and (isinstance(error, OSError) or not isinstance(error, MISMATCHES)):
            raise ModelError(
                f"the pretrained weights of {name!r} could not be fetched ({reason}). Without a network, give a downloaded "
                "file as model.weights"
            ) from error
        if library:
            ours = "its pretrained weights and " if fetching else ""
            raise ModelError(f"model {name!r} cannot be built with {ours}the arguments {given}: {reason}") from error
        raise
    return network


MISMATCHES = (ValueError, TypeError, RuntimeError, LookupError, AssertionError, ArithmeticError)
"""What builders raise for incompatible arguments and weights; a failed download raises something else."""


def _parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def preprocessing_of(network: nn.Module) -> tuple[Preprocessing, tuple[str, ...]]:
    """Returns the preprocessing a network states itself, or the defaults with a note that says so.

    A network states it by an attribute ``preprocessing`` (:class:`Preprocessing`) or, as timm's do, ``pretrained_cfg``.
    """
    own = getattr(network, "preprocessing", None)
    if isinstance(own, Preprocessing):
        return own, ()
    cfg = getattr(network, "pretrained_cfg", None)
    if not isinstance(cfg, dict) or "mean" not in cfg:
        return Preprocessing(), (UNSTATED,)
    sides = cfg.get("test_input_size") or cfg["input_size"]
    height, width = sides[-2:]
    if height != width:
        raise ModelError(f"the model takes {height} x {width} pixels; only square inputs are possible here")
    crop_mode: Any = cfg.get("crop_mode") or "center"
    if crop_mode not in ("center", "squash"):
        raise ModelError(f"the model's crop_mode {crop_mode!r} is unknown here; set model.preprocessing.crop_mode")
    crop = cfg.get("test_crop_pct") or cfg.get("crop_pct") or 0.875
    preprocessing = Preprocessing(
        input_size=height,
        resize=math.floor(height / crop),
        interpolation=cfg.get("interpolation") or "bilinear",
        crop_mode=crop_mode,
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
    )
    return preprocessing, ()
