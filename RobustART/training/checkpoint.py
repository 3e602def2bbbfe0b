"""Checkpoints: written atomically, with the previous one kept in case the newest is damaged.

A file holds the original's ``{model, optimizer, last_iter, ema}`` and ``scaler, swa, objective, conditions, trained``. It
is read with ``weights_only=True``. Without ``save_many`` there are two, ``ckpt.pth.tar`` and the one before it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from RobustART.core.files import open_whole
from RobustART.errors import TrainingError
from RobustART.models.weights import damaged_member, unwrap

log = logging.getLogger(__name__)

FORMAT = 2
"""Version of the conditions that a checkpoint records; those of another version cannot be compared."""
NEWEST, BEFORE = "ckpt.pth.tar", "ckpt_before.pth.tar"
UNFINISHED = ".*.pth.tar.*.tmp"
_NUMBERED = re.compile(r"ckpt_(\d+)\.pth\.tar")


def checkpoint_name(step: int, many: bool) -> str:
    """Returns the file name of a step's checkpoint."""
    return f"ckpt_{step}.pth.tar" if many else NEWEST


def save_checkpoint(folder: Path, state: Mapping[str, Any], *, many: bool = False, name: str | None = None) -> Path:
    """Writes a checkpoint under a temporary name and renames it; returns its path.

    Args:
        folder: of the checkpoints.
        state: with ``last_iter``.
        many: keep every one, as ``ckpt_{iter}.pth.tar``; otherwise the newest two.
        name: file name, for weights that no training resumes from.

    Raises:
        TrainingError: it cannot be written.
    """
    path = folder / (name or checkpoint_name(state["last_iter"], many))
    backup = folder / BEFORE if path.name == NEWEST else None
    try:
        with open_whole(path, durable=True, unique=True, backup=backup) as file:
            torch.save(dict(state), file)
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"the checkpoint {path} cannot be written: {error}") from None
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the content of a checkpoint.

    Raises:
        TrainingError: it is missing or damaged, or not a checkpoint.
    """
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path}")
    try:
        broken = damaged_member(path)
        if broken is not None:
            raise TrainingError(f"the checkpoint {path} is damaged: {broken} is not what was written")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except TrainingError:
        raise
    except Exception as error:  # damage can end in any error of an unpickler
        said = (str(error).splitlines() or ["it is cut off"])[0]
        raise TrainingError(f"the checkpoint {path} cannot be read: {said}") from None
    if not isinstance(state, dict) or "model" not in state:
        raise TrainingError(
            f"{path} is not a checkpoint of a training: it has no key 'model'; weights alone are named in model.weights"
        )
    return state


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints of a folder: ``ckpt.pth.tar`` and its predecessor, then the numbered ones, newest first."""
    numbered = []
    for path in folder.glob("ckpt_*.pth.tar") if folder.is_dir() else ():
        match = _NUMBERED.fullmatch(path.name)
        if match:
            numbered.append((int(match[1]), path))
    single = [folder / name for name in (NEWEST, BEFORE) if (folder / name).is_file()]
    return [*single, *(path for _, path in sorted(numbered, reverse=True))]


def newest_checkpoint(folder: Path, *, mend: bool = False) -> tuple[Path, dict[str, Any]] | None:
    """Returns path and content of the checkpoint with the most steps, or None if the folder has no checkpoint.

    Damaged ones are skipped with a warning.

    Args:
        folder: of the checkpoints.
        mend: rename damaged ones to ``*.damaged``, so that they never replace a good one. Only for the process that
            writes here.

    Raises:
        TrainingError: all checkpoints are damaged.
    """
    found = checkpoints(folder)
    good: list[tuple[Path, dict[str, Any]]] = []
    damaged = []
    for kind in ([p for p in found if p.name in (NEWEST, BEFORE)], [p for p in found if _NUMBERED.fullmatch(p.name)]):
        for path in kind:
            try:
                good.append((path, read_checkpoint(path)))
                break
            except TrainingError as error:
                damaged.append(path)
                log.warning("%s; the one before it is tried", error)
    if damaged and not good:
        names = ", ".join(path.name for path in damaged)
        raise TrainingError(f"all checkpoints in {folder} are damaged ({names}); --fresh starts over")
    if mend:
        for path in damaged:
            path.replace(path.with_name(f"{path.name}.damaged"))
    return max(good, key=lambda item: int(item[1].get("last_iter", 0)), default=None)


def delete_unfinished(folder: Path) -> None:
    """Deletes checkpoints whose writing was interrupted."""
    for path in folder.glob(UNFINISHED):
        path.unlink(missing_ok=True)


def delete_checkpoints(folder: Path) -> None:
    """Deletes the checkpoints of a folder, the averaged weights, and what was damaged or interrupted."""
    names = ("ema", "swa", "ckpt_deploy", "ema_deploy", "swa_deploy")
    delete_unfinished(folder)
    for path in [
        *checkpoints(folder),
        *(folder / f"{name}.pth.tar" for name in names),
        *folder.glob("*.pth.tar.damaged"),
    ]:
        path.unlink(missing_ok=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> list[str]:
    """Returns one line for each value of two nested mappings that differs, ``optimizer.type: 'SGD' -> 'Adam'``."""
    lines = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{place}{key}.")
        else:
            lines.append(f"{place}{key}: {old!r} -> {new!r}")
    return lines


def recorded_conditions(state: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    """Returns what a checkpoint records of its training; None where another program wrote it."""
    conditions: Mapping[str, Any] | None = state.get("conditions")
    if conditions is not None and conditions.get("format") != FORMAT:
        raise TrainingError(
            f"an earlier version wrote {path} and recorded the settings of its training in another form, so they cannot be "
            "compared with these. --evaluate --recover evaluates it; to train from its step on, name it in "
            "saver.pretrain.path and use another output_dir; --fresh starts over"
        )
    return conditions


def check_conditions(state: Mapping[str, Any], conditions: Mapping[str, Any], path: Path) -> None:
    """Raises a TrainingError if a checkpoint belongs to another training; the message lists what differs."""
    recorded = recorded_conditions(state, path)
    if recorded is None:
        raise TrainingError(
            f"{path} does not record the settings of its training, so a training cannot resume from it; to start from it, "
            "name it in saver.pretrain.path"
        )
    lines = differences(recorded, conditions)
    if lines:
        more = f" and {len(lines) - 12} more" if len(lines) > 12 else ""
        raise TrainingError(
            f"{path} belongs to another training: {'; '.join(lines[:12])}{more}. Use another output_dir, name the file in "
            "saver.pretrain.path to start from it, or start over with --fresh"
        )


def begun_with(path: Path, ignored: list[str], steps: int) -> dict[str, Any]:
    """Returns the parts of a checkpoint that a training begins with, except the weights, which the model has."""
    parts = original_parts(read_checkpoint(path), ignored, path)
    parts.pop("model", None)
    if "last_iter" in ignored:
        for name in ("objective", "ema", "swa"):
            parts.pop(name, None)
    step = int(parts.get("last_iter", 0))
    if step >= steps:
        raise TrainingError(
            f"saver.pretrain: {path} is of step {step}, and the training has {steps}; to begin at the first step set "
            "ignore: {key: [optimizer, last_iter]}"
        )
    return parts


def original_parts(state: Mapping[str, Any], ignored: list[str], path: Path) -> dict[str, Any]:
    """Returns the parts of a checkpoint that are not ignored; ``model`` is a plain state dict."""
    for key in ignored:
        if key not in state:
            raise TrainingError(
                f"saver.pretrain.ignore.key: {path} has no {key!r}; it has {', '.join(map(str, state))}"
            )
    parts = {key: value for key, value in state.items() if key not in ignored}
    if "model" in parts:
        parts["model"] = unwrap({"model": parts["model"]}, str(path))
    if isinstance(parts.get("ema"), Mapping) and set(parts["ema"]) != {"values", "remaining"}:
        parts["ema"] = unwrap({"model": parts["ema"].get("shadow", parts["ema"])}, f"'ema' of {path}")
    return parts
