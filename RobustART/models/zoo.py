"""Builds networks by name: rows of the table of architectures first, then names of libraries, and users' functions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ModelError, UnknownNameError, nearest
from RobustART.models.architectures import UNBUILT, Architecture, aliases, architectures
from RobustART.models.builders import Built, build_own, call, own_function
from RobustART.models.kwargs import check_arguments, refuse_none, row_arguments
from RobustART.models.model_libraries import BARE, MODEL_LIBRARIES, build_by

TABLE = "robustart"
"""The prefix of the table of architectures."""

SIZED = ("vit", "deit", "mlp_mixer", "swin")
"""Families whose networks are built for one input size in pixels."""

SAME_WEIGHTS = {"zero_init_last", "drop_rate", "drop_path_rate"}
"""Arguments that do not change a library's pretrained weights: they affect the initialisation and training alone."""


def build_network(
    name: str, kwargs: Mapping[str, Any], *, pretrained: str | None = None, input_size: int | None = None
) -> Built:
    """Returns the network of a name.

    Args:
        name: a row of the table of architectures or one of the original's names, a timm or torchvision name,
            ``timm:NAME``, ``torchvision:NAME``, ``nas:SPACE`` or ``module:function``.
        kwargs: of the builder; for rows of the table also the original's (``scale``, ``bn``, ``drop_path``, ...).
        pretrained: load the library's own weights, which it downloads: the entry of that name, or its default for "".
        input_size: side of the images in pixels, if not the network's own; transformers and mixers are built for it.

    Raises:
        UnknownNameError: no library knows the name.
        ModelError: the builder fails, or does not take an argument.
    """
    library, plain = check_name(name)
    if library == TABLE:
        check_arguments(name, kwargs)
        return _build_row(architectures()[plain], name, dict(kwargs), pretrained, input_size)
    if pretrained is not None:
        check_entry(name, pretrained)
    if library in MODEL_LIBRARIES:
        return build_by(library, plain, pretrained, dict(kwargs), asked=name)
    return build_own(name, own_function(library, plain), dict(kwargs))


def check_entry(name: str, entry: str) -> None:
    """Raises a ModelError if there are no such pretrained weights of a name; nothing is fetched.

    Args:
        name: as in :func:`build_network`.
        entry: of the library's weights, "" for its default.
    """
    library, plain = check_name(name)
    row = architectures()[plain] if library == TABLE else None
    if row is not None and row.family == "clip":
        if entry:
            raise ModelError(f"{name!r} has one entry of weights, its argument source; use weights: pretrained")
        return
    if row is not None:
        library, _, plain = row.builder.partition(":")
        if library == TABLE or set(row.arguments) - SAME_WEIGHTS:
            raise ModelError(
                f"no library has weights of {name!r} as the benchmark builds it ({row.note or row.builder}); for a "
                "library's network with its weights write timm:NAME or torchvision:NAME"
            )
    if library not in MODEL_LIBRARIES:
        raise ModelError(f"weights: pretrained means a library's own weights; {name!r} is a function of yours")
    check = MODEL_LIBRARIES[library].check_entry
    if check is None:
        raise ModelError(f"weights: pretrained means a library's own weights; {library!r} has none, train {name!r}")
    check(plain, entry)


def check_name(name: str) -> tuple[str, str]:
    """Returns (library, name there) of a model's name, or (module, function) of a user's function.

    Rows of the table of architectures belong to the library :data:`TABLE`.

    Raises:
        UnknownNameError: no library knows the name.
        ModelError: there is no such module or function.
    """
    library, _, rest = name.partition(":")
    if rest and library not in (*BARE, TABLE):
        if library not in MODEL_LIBRARIES:
            own_function(library, rest)
        elif rest not in MODEL_LIBRARIES[library]:
            known = [f"{library}:{one}" for one in MODEL_LIBRARIES[library].names()]
            raise UnknownNameError(f"unknown model {name!r}{nearest(name, known) or ';'} Known: {', '.join(known)}")
        return library, rest
    plain = rest or name
    row = aliases().get(plain, plain)
    rows = [*architectures(), *aliases()]
    if row in architectures() and library not in BARE:
        return TABLE, row
    if plain in UNBUILT:
        raise UnknownNameError(f"the original's model {name!r} is not built here: {UNBUILT[plain]}")
    if rest and library == TABLE:
        raise UnknownNameError(
            f"unknown model {name!r}{nearest(plain, rows) or ';'} it must be one of robustart models"
        )
    for one in BARE:
        if not (rest and library != one) and plain in MODEL_LIBRARIES[one]:
            return one, plain
    known = [*rows, *(other for one in BARE for other in MODEL_LIBRARIES[one].names())]
    raise UnknownNameError(
        f"unknown model {name!r}{nearest(plain.split('.')[0], known) or ';'} it must be one of robustart models, a timm or "
        "torchvision name or module:function"
    )


def _build_row(
    row: Architecture, name: str, kwargs: dict[str, Any], pretrained: str | None, input_size: int | None
) -> Built:
    library, _, plain = row.builder.partition(":")
    own = library == TABLE
    own_weights = row.family == "clip"
    if pretrained is not None:
        check_entry(name, pretrained)
    arguments = row_arguments(row, name, kwargs)
    check_arguments(name, arguments)  # override_params may have brought more
    if row.family in SIZED:
        size = _stated_size(name, arguments.pop("img_size", None), input_size) or row.input_size
        if size != row.input_size:
            arguments["img_size"] = size
    else:
        size = row.input_size
    if own_weights:
        arguments["pretrained"] = pretrained is not None
    elif pretrained is not None:
        return build_by(library, plain, pretrained, arguments, asked=name)
    arguments = {**row.arguments, **arguments}
    if own:
        module, function = VARIANTS[plain]
        builder = own_function(f"RobustART.models.{module}", function)
        refuse_none(name, arguments, inspect.signature(builder).parameters)
        network = call(builder, name, (), arguments, library=True)
    else:
        network = build_by(library, plain, None, arguments, asked=name).network
    _check_patches(name, network, size)
    stated = getattr(network, "preprocessing", None)
    if not isinstance(stated, Preprocessing):
        filters: Any = row.interpolation  # the table's own
        stated = Preprocessing(input_size=size, resize=row.resize, interpolation=filters)
    source = row.builder if plain == row.name else f"robustart:{row.name}"
    return Built(network, stated, source, getattr(network, "notes", ()))


def _stated_size(name: str, img_size: Any, input_size: int | None) -> int | None:
    if img_size is not None and (isinstance(img_size, bool) or not isinstance(img_size, int) or img_size < 1):
        raise ModelError(f"{name!r}: img_size must be an integer above 0, got {img_size!r}")
    if img_size is not None and input_size not in (None, img_size):
        raise ModelError(
            f"{name!r}: img_size is {img_size}, but preprocessing.input_size is {input_size}; set one of them"
        )
    return img_size if img_size is not None else input_size


def _check_patches(name: str, network: nn.Module, size: int) -> None:
    embedding = getattr(network, "patch_embed", getattr(network, "stem", None))
    patch = getattr(embedding, "patch_size", None)
    if patch and size % patch[0]:
        raise ModelError(
            f"{name!r} cuts images into patches of {patch[0]}; the input size must be a multiple, got {size}"
        )


VARIANTS = {
    "clip": ("clip", "clip"),
    "mobilenet_v3": ("mobilenet", "mobilenet_v3"),
    "vit": ("transformers", "original_vit"),
    "mixer": ("transformers", "original_mixer"),
    "swin": ("transformers", "original_swin"),
    "convnext_convstem": ("transformers", "convnext_convstem"),
    "vit_convstem": ("transformers", "vit_convstem"),
}
"""Networks built here from parts of timm's and torchvision's: module and function, imported on demand."""


def is_untrained(name: str) -> bool:
    """Returns whether a model's name is of a network with random weights where none are given; a user's function may load
    some.
    """
    library = check_name(name)[0]
    return library == TABLE or (library in MODEL_LIBRARIES and MODEL_LIBRARIES[library].untrained)


def has_usual_arguments(name: str) -> bool:
    """Returns whether a model takes the arguments of timm and torchvision; see :attr:`ModelLibrary.usual`."""
    library = check_name(name)[0]
    return library == TABLE or (library in MODEL_LIBRARIES and MODEL_LIBRARIES[library].usual)
