"""Libraries of networks, each under a prefix: ``timm:resnet50``, ``torchvision:resnet50``, ``nas:resnet``.

A user's library is an entry too: with ``MODEL_LIBRARIES.add("lab", ModelLibrary(build, names))`` in a module that the
config imports, ``lab:small`` is a model's name.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn

from RobustART.core.defaults import NOT_KNOWN
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ModelError, nearest
from RobustART.models.builders import Built, as_built, call, preprocessing_of
from RobustART.models.kwargs import check_arguments, refuse_none
from RobustART.registry import Registry


@dataclasses.dataclass(frozen=True)
class ModelLibrary:
    """What builds the networks under one prefix.

    Attributes:
        build: a function (name, entry, kwargs) that returns a network, which takes normalised images, or a :class:`Built`.
            ``name`` is without the prefix; ``entry`` names pretrained weights as :attr:`check_entry` takes them, and is
            None where none are asked for; ``kwargs`` are the builder's arguments, ``model.kwargs`` of a config.
        names: returns the names that it has.
        has: whether it has a name, where :attr:`names` does not list every spelling.
        check_entry: a function (name, entry) that raises a ModelError if there are no such pretrained weights; "" is the
            library's default. None: the library has no pretrained weights.
        untrained: whether networks without pretrained weights have random ones, drawn by torch. The report then says so,
            and ``--check`` builds them without memory.
        usual: whether the arguments are those of timm and torchvision (``num_classes``, ``drop_rate``, ...), so that their
            values are checked, and ``deploy`` is understood.
    """

    build: Callable[[str, str | None, dict[str, Any]], Built | nn.Module]
    names: Callable[[], Iterable[str]]
    has: Callable[[str], bool] | None = None
    check_entry: Callable[[str, str], None] | None = None
    untrained: bool = False
    usual: bool = False

    def __contains__(self, name: str) -> bool:
        return name in self.names() if self.has is None else self.has(name)


MODEL_LIBRARIES: Registry[ModelLibrary] = Registry("library of models", providers=("RobustART.nas.networks",))
"""Prefixes of models' names to libraries."""
BARE = ("timm", "torchvision")
"""Libraries whose names need no prefix, in the order in which they are asked."""


def build_by(library: str, name: str, entry: str | None, kwargs: dict[str, Any], *, asked: str) -> Built:
    """Returns the network of a library.

    Args:
        library: a key of :data:`MODEL_LIBRARIES`.
        name: the network's name there.
        entry: of pretrained weights, or None.
        kwargs: the builder's arguments.
        asked: the model's name as the user gave it, for messages.
    """
    source = MODEL_LIBRARIES[library]
    if source.usual:
        check_arguments(asked, kwargs)
    built = source.build(name, entry, kwargs)
    return built if isinstance(built, Built) else as_built(built, f"{library}:{name}")


def build_timm(name: str, pretrained: str | None, kwargs: dict[str, Any]) -> Built:
    """Returns timm's network of a name, with the preprocessing that timm states for it.

    Args:
        name: as timm has it.
        pretrained: tag of the weights to load, "" for timm's own choice, None for none.
        kwargs: of the builder.
    """
    import timm

    if pretrained is not None:
        check_timm_entry(name, pretrained)
    if pretrained:
        name = f"{name}.{pretrained}"
    refuse_none(f"timm:{name}", kwargs)
    wanted = pretrained is not None
    network = call(timm.create_model, f"timm:{name}", (name,), {"pretrained": wanted, **kwargs}, library=True)
    preprocessing, notes = preprocessing_of(network)
    trained = getattr(network, "pretrained_cfg", {}).get("num_classes")
    if wanted and kwargs.get("num_classes", trained) != trained:
        notes = (*notes, f"the head is randomly initialised: the library's weights have {trained} classes")
    tag = getattr(network, "pretrained_cfg", {}).get("tag") if wanted else None
    return Built(network, preprocessing, f"timm:{name}", notes, tag or NOT_KNOWN)


def check_timm_entry(name: str, entry: str) -> None:
    """Raises a ModelError if timm has no such weights of a network; "" is its own choice."""
    import timm

    if entry and "." in name:
        raise ModelError(f"'timm:{name}' names its weights itself; use weights: pretrained, got {entry!r} too")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
    if entry and entry not in tags:
        raise _unknown_entry(f"timm:{name}", entry, tags)
    if not entry and not timm.is_model_pretrained(name):
        raise ModelError(f"timm has no pretrained weights of 'timm:{name}'")


def _timm_names() -> list[str]:
    import timm

    return timm.list_models()


def _timm_has(name: str) -> bool:
    """Returns whether timm has a name; finds it in timm's source, since importing timm takes longer than a second."""
    architecture = name.partition(".")[0]
    if "timm" not in sys.modules and architecture.isidentifier():
        found = importlib.util.find_spec("timm")
        for folder in (found.submodule_search_locations if found else None) or ():
            builder = f"\n@register_model\ndef {architecture}("
            if any(builder in file.read_text(encoding="utf-8") for file in Path(folder, "models").glob("*.py")):
                return True
    import timm

    return timm.is_model(name)


MODEL_LIBRARIES.add(
    "timm", ModelLibrary(build_timm, _timm_names, _timm_has, check_entry=check_timm_entry, untrained=True, usual=True)
)


def build_torchvision(name: str, pretrained: str | None, kwargs: dict[str, Any]) -> Built:
    """Returns torchvision's network of a name, with the preprocessing of its weights, without weights of the first ones.

    Args:
        name: as torchvision has it.
        pretrained: entry of the weights to load, "" for torchvision's default, None for none.
        kwargs: of the builder.
    """
    import torchvision

    choices = torchvision.models.get_model_weights(name)
    # A user's weights file goes with the first recipe (256, 224); the library's default weights bring another.
    if pretrained is not None:
        check_torchvision_entry(name, pretrained)
    entry = next(iter(choices)) if pretrained is None else choices[pretrained] if pretrained else choices.DEFAULT
    weights = None if pretrained is None else entry
    network = call(
        torchvision.models.get_model, f"torchvision:{name}", (name,), {"weights": weights, **kwargs}, library=True
    )
    preset = entry.transforms()
    preprocessing = Preprocessing(
        input_size=preset.crop_size[0],
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    technique = NOT_KNOWN if weights is None else f"torchvision's {entry.name}"
    return Built(network, preprocessing, f"torchvision:{name}", technique=technique)


def check_torchvision_entry(name: str, entry: str) -> None:
    """Raises a ModelError if torchvision has no such weights of a network; "" is its default."""
    import torchvision

    choices = torchvision.models.get_model_weights(name)
    if entry and entry not in choices.__members__:
        raise _unknown_entry(f"torchvision:{name}", entry, (known.name for known in choices))
    if not len(choices):
        raise ModelError(f"torchvision has no pretrained weights of 'torchvision:{name}'")


def _torchvision_names() -> list[str]:
    import torchvision

    return torchvision.models.list_models(torchvision.models)


MODEL_LIBRARIES.add(
    "torchvision",
    ModelLibrary(
        build_torchvision, _torchvision_names, check_entry=check_torchvision_entry, untrained=True, usual=True
    ),
)


def _unknown_entry(name: str, entry: str, known: Iterable[str]) -> ModelError:
    known = list(known)
    return ModelError(
        f"{name!r} has no pretrained weights {entry!r}{nearest(entry, known) or ';'} known: {', '.join(known) or 'none'}"
    )
