"""Digests of the source code of a user's functions."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any

LIBRARIES = (
    "RobustART", "torch", "torchvision", "timm", "numpy", "scipy", "PIL", "cv2", "av", "foolbox", "torchattacks",
    "autoattack", "imagecorruptions", "open_clip", "builtins", "functools",
)  # fmt: skip
"""Top-level packages that results identify by version, so that their source needs no digest."""


def source_digests(used: Iterable[Any]) -> dict[str, str]:
    """Returns the digest, 16 hexadecimal digits, of each module that defines one of a user's functions, by module.

    The digest covers the whole module, since a function may call others in it. For a function without a file, as in a
    notebook, it covers the function's source or compiled code.

    Args:
        used: functions, ``functools.partial`` objects (including their arguments), classes or instances.
    """
    found: dict[str, str] = {}
    for entry in used:
        for own in _unwrapped(entry):
            module = getattr(own, "__module__", None) or "?"
            if is_library(own):
                continue
            key, digest = _digest(module, own)
            found[key] = digest
    return dict(sorted(found.items()))


def is_library(own: Any) -> bool:
    """Returns whether a function or class is of a library that results identify by version, or of Python's."""
    package = (getattr(own, "__module__", None) or "?").partition(".")[0]
    return package in LIBRARIES or package in sys.stdlib_module_names - {"__main__"}


def _unwrapped(entry: Any) -> Iterable[Any]:
    """Yields the functions and classes that an object consists of."""
    if isinstance(entry, functools.partial):
        for part in (entry.func, *entry.args, *entry.keywords.values()):
            if callable(part):
                yield from _unwrapped(part)
    elif inspect.isfunction(entry) or inspect.isclass(entry) or inspect.ismethod(entry):
        yield entry
    elif callable(entry):
        yield type(entry)


@functools.lru_cache(maxsize=256)
def _file_digest(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()[:16]
    except OSError:
        return None


def _digest(module: str, own: Any) -> tuple[str, str]:
    path = getattr(sys.modules.get(module), "__file__", None)
    digest = _file_digest(path) if path is not None else None
    if digest is not None:
        return module, digest
    name = f"{module}.{getattr(own, '__qualname__', type(own).__name__)}"
    try:
        text = inspect.getsource(own).encode()
    except (OSError, TypeError):
        text = _code(getattr(own, "__code__", None))
    return name, hashlib.sha256(text).hexdigest()[:16]


def _code(code: CodeType | None) -> bytes:
    if code is None:
        return b""
    parts = [code.co_code, repr(code.co_names).encode()]
    parts += [_code(part) if isinstance(part, CodeType) else repr(part).encode() for part in code.co_consts]
    return b"\0".join(parts)
