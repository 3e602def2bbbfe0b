"""Sections of plain data: how they are read and changed, well formed or not."""

from __future__ import annotations

from typing import Any

from RobustART.errors import ConfigError

Plain = dict[str, Any]

KINDS = {bool: "true or false", int: "an integer", str: "a string", dict: "a mapping"}


def section(config: Plain, *path: str) -> Plain:
    """Returns the mapping at a path; an empty one, not part of ``config``, if it is missing."""
    for key in path:
        value = config.get(key)
        config = value if isinstance(value, dict) else {}
    return config


def made_section(config: Plain, key: str) -> Plain:
    """Returns a section, made where it is missing or null; what is not a mapping is left for the schema to refuse."""
    if config.get(key) is None:
        config[key] = {}
    return section(config, key)


def take(config: Plain, key: str, place: str, kind: type) -> Any:
    """Removes a key of the section ``place`` and returns its value; None where it is missing or null."""
    value = config.pop(key, None)
    if value is not None and type(value) is not kind:
        raise ConfigError(f"{place}.{key} must be {KINDS[kind]}, got {value!r}")
    return value


def set_once(config: Plain, key: str, value: Any, place: str, source: str) -> None:
    """Sets a key of the section ``place`` to what ``source`` asks for."""
    stated = config.get(key)
    if stated is not None and stated != value:
        raise ConfigError(f"{place}.{key} is {stated!r}, but {source} is {value!r}; set one of them")
    config[key] = value
