"""Names to networks: timm's and torchvision's builders and a user's own functions, with the preprocessing of each."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from RobustART.errors import ModelError, UnknownNameError, nearest
from RobustART.models.normalize import Classifier
from RobustART.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Built:
    """A network without normalisation, as its builder made it."""

    network: nn.Module
    preprocessing: Preprocessing
    source: str
    """What built it, such as ``timm:resnet50``."""
    notes: tuple[str, ...] = ()
    """What a report should say about it."""


def build_network(name: str, kwargs: Mapping[str, Any], *, pretrained: bool = False) -> Built:
    """Returns the network of a name.

    Args:
        name: a timm or torchvision name, ``timm:NAME``, ``torchvision:NAME``, ``nas:SPACE`` or ``module:function``.
        kwargs: of the builder.
        pretrained: load the library's own weights, which it downloads.

    Raises:
        UnknownNameError: no library knows the name.
        ModelError: the builder fails.
    """
    library, plain = check_name(name)
    if library in ("timm", "torchvision"):
        for key in ("pretrained", "weights"):
            if key in kwargs:
                raise ModelError(
                    f"{key!r} is not an argument of {name!r} here; say weights: pretrained beside the name"
                )
        build = _build_timm if library == "timm" else _build_torchvision
        return build(plain, pretrained, dict(kwargs))
    if pretrained:
        whose = "ours, to be trained" if library == "nas" else "a function of yours"
        raise ModelError(f"weights: pretrained means a library's own weights; {name!r} is {whose}")
    if library == "nas":
        from RobustART.models.nas import build_nas

        network = build_nas(plain, **kwargs)
        return Built(network, network.preprocessing, name)
    return _build_own(name, _own_function(library, plain), dict(kwargs))


def check_name(name: str) -> tuple[str, str]:
    """Returns (library, name there) of a model's name, or (module, function) of a function of one's own.

    Raises:
        UnknownNameError: no library knows the name.
        ModelError: there is no such module or function.
    """
    library, _, rest = name.partition(":")
    if library == "nas":
        from RobustART.models.nas import SPACES

        _ = SPACES[rest]  # an unknown one is an error
        return library, rest
    if rest and library not in ("timm", "torchvision"):
        _own_function(library, rest)
        return library, rest
    import timm
    import torchvision

    plain = rest or name
    if not (rest and library == "torchvision") and timm.is_model(plain):
        return "timm", plain
    if not (rest and library == "timm") and plain in torchvision.models.list_models(torchvision.models):
        return "torchvision", plain
    known = [*timm.list_models(), *torchvision.models.list_models(torchvision.models)]
    raise UnknownNameError(
        f"unknown model {name!r}{nearest(plain.split('.')[0], known) or ';'} it must be a timm or torchvision name "
        "or module:function"
    )


def _build_timm(name: str, pretrained: bool, kwargs: dict[str, Any]) -> Built:
    import timm

    network = _call(timm.create_model, f"timm:{name}", (name,), {"pretrained": pretrained, **kwargs})
    preprocessing, notes = preprocessing_of(network)
    return Built(network, preprocessing, f"timm:{name}", notes)


def _build_torchvision(name: str, pretrained: bool, kwargs: dict[str, Any]) -> Built:
    import torchvision

    choices = torchvision.models.get_model_weights(name)
    # A weights file of one's own goes with the first recipe (256, 224); the library's default weights bring their own.
    entry = choices.DEFAULT if pretrained else next(iter(choices))
    weights = entry if pretrained else None
    network = _call(torchvision.models.get_model, f"torchvision:{name}", (name,), {"weights": weights, **kwargs})
    preset = entry.transforms()
    preprocessing = Preprocessing(
        input_size=preset.crop_size[0],
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    return Built(network, preprocessing, f"torchvision:{name}")


def _own_function(module_name: str, function_name: str) -> Callable[..., Any]:
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


def _build_own(name: str, function: Callable[..., Any], kwargs: dict[str, Any]) -> Built:
    network = _call(function, name, (), kwargs)
    if not isinstance(network, nn.Module):
        raise ModelError(f"model {name!r} must return a torch.nn.Module, got {type(network).__name__}")
    if isinstance(network, Classifier):
        return Built(network.network, network.preprocessing, name)
    preprocessing, notes = preprocessing_of(network)
    return Built(network, preprocessing, name, notes)


def _call(function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    try:
        network: nn.Module = function(*args, **kwargs)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        taken = ""
        if not args:
            taken = f" It takes: {', '.join(inspect.signature(function).parameters) or 'nothing'}."
        raise ModelError(
            f"model {name!r} does not take one of the arguments {sorted(kwargs)}: {error}.{taken}"
        ) from None
    except Exception as error:
        if kwargs.get("pretrained") or kwargs.get("weights"):
            raise ModelError(
                f"the pretrained weights of {name!r} could not be fetched ({type(error).__name__}: {error}). Without a "
                "network, give a downloaded file as model.weights"
            ) from error
        raise
    return network


def preprocessing_of(network: nn.Module) -> tuple[Preprocessing, tuple[str, ...]]:
    """Returns the preprocessing a network states itself, or the defaults with a note that says so.

    A network states it by an attribute ``preprocessing`` (:class:`Preprocessing`) or, as timm's do, ``pretrained_cfg``.
    """
    own = getattr(network, "preprocessing", None)
    if isinstance(own, Preprocessing):
        return own, ()
    cfg = getattr(network, "pretrained_cfg", None)
    if not isinstance(cfg, dict) or "mean" not in cfg:
        return Preprocessing(), ("the model states no preprocessing; torchvision's ImageNet defaults are used",)
    sides = cfg.get("test_input_size") or cfg["input_size"]
    height, width = sides[-2:]
    if height != width:
        raise ModelError(f"the model takes {height} x {width} pixels; only square inputs are possible here")
    crop_mode = cfg.get("crop_mode") or "center"
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
