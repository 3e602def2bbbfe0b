"""Imports a user's modules by name, so that their registered entries can be named anywhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from RobustART.errors import ConfigError
from RobustART.registry import import_module

_imported: list[str] = []


def import_plugins(names: Sequence[str], asked: str, folder: Path | None = None) -> None:
    """Imports modules that register a user's attacks, corruptions, benchmarks, data sets or model families.

    They are searched in the config file's folder, in the current folder, and among installed packages.

    Args:
        names: names of the modules.
        asked: option that names them, for messages: ``imports`` or ``--import``.
        folder: folder of the config file.

    Raises:
        ConfigError: a module does not exist, or raises an error.
    """
    for place in (Path.cwd(), folder):
        if place is not None and str(place) not in sys.path:
            sys.path.insert(0, str(place))
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"{asked} must name modules, such as my_noise, got {name!r}")
        import_module(name, asked)
        if name not in _imported:
            _imported.append(name)


def imported_plugins() -> tuple[str, ...]:
    """Returns the names of the modules that :func:`import_plugins` imported, for processes that do not inherit them."""
    return tuple(_imported)
