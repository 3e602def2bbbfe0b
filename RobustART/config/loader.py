"""Strict reading of YAML into the schema: nothing misspelt, nothing guessed, nothing run but the modules of ``imports``."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from RobustART.config.schema import Config
from RobustART.core.options import FRACTION, build, convert, parse_number, to_plain
from RobustART.core.plugins import import_plugins
from RobustART.errors import ConfigError
from RobustART.original.upgrade import upgrade

log = logging.getLogger("RobustART")

DATA_ROOT = "ROBUSTART_DATA"
"""Name of the variable for the folder that holds all data."""
_FLOAT = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$")


class _Loader(yaml.SafeLoader):
    """The safe loader, with ``1e-4``, ``1e5`` (an integer) and ``8/255`` as numbers and with repeated keys refused."""


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    loader.flatten_mapping(node)  # puts what << merges in first, so that the mapping's own keys win
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float)):
            raise yaml.constructor.ConstructorError(
                None, None, f"a key must be a string, got {key!r}", key_node.start_mark
            )
        if key in seen and any(key == loader.construct_object(k, deep=True) for k in own if k is not key_node):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


def _construct_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    mark = node.start_mark
    number = parse_number(node.value, f"the number in line {mark.line + 1}, column {mark.column + 1}")
    return int(number) if number.is_integer() and abs(number) < 2**63 and "/" not in node.value else number


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _tag, _pattern, _first in (("!float", _FLOAT, "-+.0123456789"), ("!fraction", FRACTION, "-+0123456789")):
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Loader.add_constructor(_tag, _construct_number)


def parse_yaml(text: str, name: str) -> Any:
    """Returns the plain data of YAML; errors name it ``name``. Tags that make objects are refused."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not a plain YAML file: {error}") from None


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with ``top`` laid over it: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def read_raw(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Returns a file's data with its ``base:`` files (one or a list, relative to the file) under it."""
    path = path.resolve()
    if path in chain:
        raise ConfigError("base files form a circle: " + " -> ".join(p.name for p in (*chain, path)))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        asked = f" (the base of {chain[-1]})" if chain else ""
        raise ConfigError(f"cannot read the config file {path}{asked}: {error}") from None
    data = parse_yaml(text, str(path))
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must be a mapping of keys to values, got {type(data).__name__}")
    bases = data.pop("base", [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise ConfigError(f"base in {path} must be a file name or a list of them, got {base!r}")
        merged = merge(merged, read_raw(path.parent / base, (*chain, path)))
    return merge(merged, data)


def apply_override(data: dict[str, Any], override: str) -> dict[str, Any]:
    """Returns ``data`` with one ``a.b.c=value`` laid over it; the value is read as YAML."""
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
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
