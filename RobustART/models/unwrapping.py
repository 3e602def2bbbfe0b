"""Finds the state dict in a checkpoint, and removes the prefixes that wrappers of networks add to its names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from RobustART.errors import WeightsError

log = logging.getLogger(__name__)

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Components of names that ``torch.compile`` and FSDP add, also in the middle of a name; no network has them itself."""
PREFIXES = ("module", "model", "network", "net", "backbone", "classifier")
"""First components that DataParallel, Lightning and others add to every name, in any order and number."""
HOLDERS = ("state_dict", "model", "model_state_dict", "net", "network", "weights")
"""Keys under which a checkpoint has its state dict, perhaps in one another."""


def unwrap(data: Any, name: str = "the checkpoint", network: nn.Module | None = None) -> dict[str, Tensor]:
    """Returns the state dict inside a checkpoint, without the prefixes of wrappers.

    A state dict may be under one of :data:`HOLDERS`. Of a network of MadryLab's ``robustness``, the normalisation and
    the second copy, under ``attacker``, are left out.

    Args:
        data: the checkpoint.
        name: name of the file.
        network: the network; a prefix that begins its own names is kept.
    """
    for _ in HOLDERS:
        key = next((k for k in HOLDERS if isinstance(data, Mapping) and isinstance(data.get(k), Mapping)), None)
        if key is None:
            break
        if averaged := [k for k in ("ema", "state_dict_ema", "model_ema") if data.get(k)]:
            log.warning("%s also holds averaged weights under %r; those under %r are used", name, averaged[0], key)
        data = data[key]
    if (
        not isinstance(data, Mapping)
        or not data
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in data.items())
    ):
        what = f"keys {', '.join(map(str, list(data)[:5]))}" if isinstance(data, Mapping) else type(data).__name__
        held = ", ".join(map(repr, HOLDERS))
        raise WeightsError(f"{name} holds no state dict (neither bare nor under one of {held}), but {what}")
    return _without_prefixes(dict(data), name, set() if network is None else set(network.state_dict()))


def _without_prefixes(state: dict[str, Tensor], name: str, own: set[str]) -> dict[str, Tensor]:
    """Returns a state dict without the components that wrappers put before every name; the log names them.

    Components other than ``module`` are removed only if then a name is one of ``own``, the network's.
    """
    removed = [wrapper for wrapper in WRAPPERS if any(wrapper in key.split(".") for key in state)]
    plain = {".".join(part for part in key.split(".") if part not in WRAPPERS): value for key, value in state.items()}
    found = plain
    beyond: list[str] = []
    while not own & set(plain):
        heads = {key.partition(".")[0] for key in plain}
        if {"model", "attacker"} <= heads <= {"model", "attacker", "normalizer", "normalize"}:
            log.warning("%s: its normalisation is not loaded; model.preprocessing states mean and std", name)
            plain = found = {key: value for key, value in plain.items() if key.startswith("model.")}
        elif len(heads) == 1 and heads <= set(PREFIXES) and all("." in key for key in plain):
            beyond += heads
            plain = {key.partition(".")[2]: value for key, value in plain.items()}
            if set(beyond) == {"module"} or own & set(plain):
                removed, beyond, found = removed + beyond, [], plain
        else:
            break
    if beside := _prefix_beside_others(found, own):
        left = [key for key in found if not key.startswith(beside)]
        log.warning(
            "%s: %d names without the prefix %s are left out: %s", name, len(left), beside, ", ".join(left[:20])
        )
        removed.append(beside.removesuffix("."))
        found = {key.removeprefix(beside): value for key, value in found.items() if key.startswith(beside)}
    if removed:
        log.info("%s: removed %s from the names of its weights", name, ", ".join(f"{part}." for part in removed))
    return found


def _prefix_beside_others(state: Mapping[str, Tensor], own: set[str]) -> str | None:
    """Returns the one prefix of :data:`PREFIXES` under which a state dict has all names of a network, else None."""
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    if not needed or own & set(state):
        return None
    prefixes = [key.removesuffix(needed[0]) for key in state if key.endswith(f".{needed[0]}")]
    found = [p for p in prefixes if set(p[:-1].split(".")) <= set(PREFIXES) and all(p + key in state for key in needed)]
    return found[0] if len(found) == 1 and not all(key.startswith(found[0]) for key in state) else None
