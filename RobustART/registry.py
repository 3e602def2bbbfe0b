"""Registry of named entries: the class behind every table of models, noises, data sets and benchmarks."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from RobustART.errors import ConfigError, UnknownNameError, UserError, nearest, reason

T = TypeVar("T")
PLUGINS = "robustart.plugins"
"""Group of entry points that name modules of installed packages; importing one registers its entries."""


class Registry(Mapping[str, T], Generic[T]):
    """A mapping of names to entries that rejects duplicates and lists the known names when one is missing.

    A name ``module:attribute`` is valid too: the attribute is imported, so a user's own function needs no registration.

    Args:
        kind: kind of entry for error messages: ``"attack"``, ``"benchmark"``, ...
        providers: modules that add entries on import. The first look-up that needs them imports them, so a registry may be
            in a lower layer than its providers.
        check: called with the name and value of each entry that is added or imported by its path; raises ``ConfigError``
            if the entry is invalid.
    """

    def __init__(
        self, kind: str, providers: Sequence[str] = (), check: Callable[[str, Any], None] | None = None
    ) -> None:
        self.kind = kind
        self._check = check
        self._entries: dict[str, T] = {}
        self._providers = list(providers)

    def add(self, name: str, entry: T) -> T:
        """Adds ``entry`` under ``name``, and returns it; raises ``ValueError`` if the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        if self._check is not None:
            self._check(name, entry)
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Returns a decorator that adds a function or class under ``name``."""
        return lambda entry: self.add(name, entry)

    def remove(self, name: str) -> None:
        """Removes an entry, for tests and notebooks that register the same name twice."""
        self[name]
        del self._entries[name]

    def _load(self) -> None:
        """Imports the providers and the plugins of installed packages, once."""
        while self._providers:
            importlib.import_module(self._providers.pop(0))
        load_plugins()

    def __getitem__(self, name: str) -> T:
        if isinstance(name, str) and name not in self._entries:
            self._load()
            if name not in self._entries and ":" in name:
                entry: T = import_path(name, self.kind)
                if self._check is not None:
                    self._check(name, entry)
                return entry
        if not isinstance(name, str) or name not in self._entries:
            known = ", ".join(sorted(self._entries)) or "none"
            hint = nearest(name, self._entries) or ";"
            raise UnknownNameError(f"unknown {self.kind} {name!r}{hint} Known: {known}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name not in self._entries:
            self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load()
        return len(self._entries)


def import_path(path: str, kind: str) -> Any:
    """Returns the attribute that ``module:attribute`` names.

    Raises:
        ConfigError: the module or attribute does not exist, or the module raises an error.
    """
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise ConfigError(f"the {kind} {path!r} must be a known name or module:function")
    value: Any = import_module(module_name, f"the {kind} {path!r}")
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ConfigError(f"the {kind} {path!r}: the module {module_name} has no {attribute}")
        value = getattr(value, part)
    return value


def import_module(name: str, asked: str) -> Any:
    """Returns a user's module.

    Args:
        name: name of the module.
        asked: option that names it, for the message.

    Raises:
        ConfigError: the module does not exist, and the message lists the places searched; or it raises an error, and the
            message has that error with file and line.
    """
    try:
        return importlib.import_module(name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise ConfigError(f"{asked}: the module {name} cannot be imported: {reason(error)}") from error
        places = ", ".join(place or "the current folder" for place in sys.path[:2])
        raise ConfigError(f"{asked}: there is no module {missing!r} in {places} or the installed packages") from None


_loaded: set[str] = set()


def load_plugins() -> None:
    """Imports, once, the modules that installed packages name as entry points of the group :data:`PLUGINS`."""
    if _loaded:
        return
    _loaded.add(PLUGINS)
    for point in importlib.metadata.entry_points(group=PLUGINS):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            why = reason(error)
            raise ConfigError(f"the plugin {point.name} ({point.value}) cannot be imported: {why}") from error
