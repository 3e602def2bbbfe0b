"""Names to callables: one small class behind every table of models, noises, data sets and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from RobustART.errors import UnknownNameError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping of names to entries that refuses duplicates and lists what it knows when a name is not there.

    Args:
        kind: what an entry is, for error messages: ``"attack"``, ``"benchmark"``, ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Adds ``entry`` under ``name``; a name that is taken raises ``ValueError``."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Returns a decorator that adds a function or class under ``name``."""
        return lambda entry: self.add(name, entry)

    def remove(self, name: str) -> None:
        """Takes an entry out again, for tests and notebooks that register the same name twice."""
        self[name]
        del self._entries[name]

    def __getitem__(self, name: str) -> T:
        if name not in self:
            known = ", ".join(sorted(self._entries)) or "none"
            hint = nearest(name, self._entries) or ";"
            raise UnknownNameError(f"unknown {self.kind} {name!r}{hint} Known: {known}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
