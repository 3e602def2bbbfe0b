"""Digests of the source code of functions that are not part of this package or of a library whose version is recorded."""

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
"""Top-level packages that results state by their versions."""


def source_digests(used: Iterable[Any]) -> dict[str, str]:
    """Returns 16 hexadecimal digits over the module of each function, class or object that is a user's own, by module.

    A change anywhere in a module counts, since a function may call the others. A function without a file, as in a
    notebook, is known by its own source or its compiled code.

    Args:
        used: functions, ``functools.partial`` objects (whose arguments count too), classes or instances.
    """
    found: dict[str, str] = {}
    for entry in used:
        for own in _unwrapped(entry):
            module = getattr(own, "__module__", None) or "?"
            if module.partition(".")[0] in LIBRARIES or module.partition(".")[0] in sys.stdlib_module_names - {
                "__main__"
            }:
                continue
            key, digest = _digest(module, own)
            found[key] = digest
    return dict(sorted(found.items()))


def _unwrapped(entry: Any) -> Iterable[Any]:
    """Yields the functions and classes that an object is made of."""
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
