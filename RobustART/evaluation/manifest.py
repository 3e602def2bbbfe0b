"""``manifest.json`` of a generated data set: what was asked for, so that a run goes on with that and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from RobustART.errors import ConfigError
from RobustART.journal import difference

FORMAT = "robustart-generated/1"


def claim(root: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest of a data set that is begun; one of other settings is refused."""
    path = root / "manifest.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if before is not None:
        rows = difference({k: v for k, v in before.items() if k not in ("complete", "versions")}, manifest)
        if rows:
            raise ConfigError(f"{root} holds a data set of other settings: {'; '.join(rows[:6])}. Take another folder")
        return
    if root.is_dir() and any(root.iterdir()):
        raise ConfigError(f"{root} is not empty and has no manifest.json; take another folder")
    write_file(path, (json.dumps({**manifest, "complete": False}, indent=2) + "\n").encode())


def write_file(path: Path, data: bytes) -> None:
    """Writes a file that has its name only when it is whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from None
