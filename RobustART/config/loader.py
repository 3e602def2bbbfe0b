"""Strict reading of YAML into the schema: nothing misspelt, nothing guessed, nothing run but the modules of ``imports``."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from RobustART.config.schema import Config
from RobustART.core.documents import MAX_DEPTH, parse_yaml, read_yaml
from RobustART.core.options import build, convert, to_plain
from RobustART.core.plugins import import_plugins
from RobustART.errors import ConfigError
from RobustART.original.upgrade import upgrade

log = logging.getLogger("RobustART")

DATA_ROOT = "ROBUSTART_DATA"
"""Name of the variable for the folder that holds all data."""
MAX_FILES = 64
"""Limit on the files that one config is made of: each base can name several, which multiplies."""


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with ``top`` laid over it: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def read_raw(path: Path, chain: tuple[Path, ...] = (), count: Iterator[int] | None = None) -> dict[str, Any]:
    """Returns a file's data with its ``base:`` files (one or a list, relative to the file) under it."""
    count = itertools.count(1) if count is None else count
    what = f"base of {chain[-1]}:" if chain else "the config file"
    if next(count) > MAX_FILES:
        raise ConfigError(f"the config file {chain[0]} has more than {MAX_FILES} base files")
    try:
        path = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a circle of links
        raise ConfigError(f"{what} {str(path)!r} cannot be read: {error}") from None
    if path in chain:
        raise ConfigError("base files form a circle: " + " -> ".join(p.name for p in (*chain, path)))
    data = read_yaml(path, what)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must be a mapping of keys to values, got {type(data).__name__}")
    bases = data.pop("base", [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise ConfigError(f"base in {path} must be a file name or a list of them, got {base!r}")
        merged = merge(merged, read_raw(path.parent / base, (*chain, path), count))
    return merge(merged, data)


def apply_override(data: dict[str, Any], override: str) -> dict[str, Any]:
    """Returns ``data`` with one ``a.b.c=value`` laid over it; the value is read as YAML."""
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts) or len(parts) > MAX_DEPTH:
        raise ConfigError(f"--set takes key.key=value, got {override!r}")
    tree: Any = parse_yaml(value, f"the value of --set {key}")
    for part in reversed(parts):
        tree = {part: tree}
    return merge(data, tree)


def load_config(
    path: str | Path,
    overrides: Iterable[str] = (),
    data_root: str | Path | None = None,
    warn: Callable[[str], None] = log.warning,
) -> Config:
    """Returns the checked configuration of a YAML file; from now on a user's own modules are found in its folder.

    Args:
        path: the file.
        overrides: ``a.b=c`` texts laid over it, later ones last.
        data_root: what paths that begin with ``$ROBUSTART_DATA`` begin with; by default the value of that variable.
        warn: called with each thing in a file of the original project that is not used.

    Raises:
        ConfigError: it cannot be read, or something in it is unknown, of the wrong type or impossible.
    """
    data = read_raw(Path(path))
    for override in overrides:
        data = apply_override(data, override)
    root = os.environ.get(DATA_ROOT) if data_root is None else str(data_root)
    data, warnings = upgrade(_with_data_root(data, "", os.path.abspath(root) if root else None))
    for warning in warnings:
        warn(warning)
    imports = convert(data.get("imports", []), list[str], "imports")
    import_plugins(imports, "imports", Path(path).resolve().parent)  # before names are looked up
    return build(Config, data, "")


def _with_data_root(data: Any, place: str, root: str | None) -> Any:
    """Returns plain data with the folder of all data put in."""
    if isinstance(data, Mapping):
        return {k: _with_data_root(v, f"{place}.{k}" if place else str(k), root) for k, v in data.items()}
    if isinstance(data, list):
        return [_with_data_root(value, f"{place}[{i}]", root) for i, value in enumerate(data)]
    if not isinstance(data, str) or not re.match(rf"\${DATA_ROOT}(/|$)", data):
        return data
    if root is None:
        raise ConfigError(f"{place} is {data}: say where the data are, by --data DIR or by the variable {DATA_ROOT}")
    return root + data[len(DATA_ROOT) + 1 :]


def without_defaults(config: Any) -> Any:
    """Returns a dataclass as plain data with only the fields that differ from their defaults."""
    plain = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value != default:
            nested = dataclasses.is_dataclass(value)
            plain[field.name] = without_defaults(value) if nested else to_plain(value)
    return plain
