"""The configuration as text: every key with its description, its values and its default, and all that is chosen by name."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from RobustART.core.declarations import Option, builder_of, marks_in, options_of, sections_in
from RobustART.core.manual import describe, manual, summary
from RobustART.core.options import to_plain, unknown_option
from RobustART.core.ranges import Named


class Key(NamedTuple):
    """A key that can be written, or a name that can be chosen."""

    text: str
    """Its description."""
    inside: Callable[[], Mapping[str, Key]]
    """The keys under it."""
    names: Named | None = None
    """Where its names come from, if what is under it is chosen by name."""


def schema_lines(cls: type, path: str = "") -> Iterator[str]:
    """Yields the keys of a configuration with their manuals, keys within keys; a part of it if there is a path.

    What is chosen by name comes last, since listing it may import torch: first the names that are themselves keys.
    """
    keys: Mapping[str, Key] = _option_keys(cls)
    named: dict[Named, tuple[list[str], Key]] = {}
    *parents, last = path.split(".")
    for i, part in enumerate(parents):
        keys = _found(part, keys, ".".join(parents[:i])).inside()
    if last:
        keys = {last: _found(last, keys, ".".join(parents))}
    yield from _lines(keys, ".".join(parents), 0, named)
    listed = set()
    while waiting := [mark for mark in named if mark not in listed]:
        mark = next((mark for mark in waiting if mark.form == "keys"), waiting[0])
        listed.add(mark)
        places, key = named[mark]
        yield ""
        yield f"{', '.join(places)}:"
        yield from _lines(key.inside(), places[0], 1, named)


def _found(name: str, keys: Mapping[str, Key], place: str) -> Key:
    if name not in keys:
        raise unknown_option(name, keys, place)
    return keys[name]


def _lines(
    keys: Mapping[str, Key], place: str, indent: int, named: dict[Named, tuple[list[str], Key]]
) -> Iterator[str]:
    """Yields the lines of some keys; those whose inside is chosen by name are put into ``named``."""
    for name, key in keys.items():
        path = f"{place}.{name}" if place else name
        yield f"{'  ' * indent}{name}: {key.text}".rstrip()
        if key.names is None:
            yield from _lines(key.inside(), path, indent + 1, named)
        else:
            named.setdefault(key.names, ([], key))[0].append(path)


def _option_keys(owner: Callable[..., Any], mark: Named | None = None) -> dict[str, Key]:
    texts, found = manual(owner), {}
    for name, option in options_of(owner, hidden=mark.hidden if mark else ()).items():
        names = next((inner for inner in marks_in(option.hint) if inner.form != "name"), None)
        inside = functools.partial(_inside, option.hint, names)
        found[name] = Key(f"{texts.get(name, '')} {_values(option)}".strip(), inside, names)
    return found if mark is None or not mark.also else {**_option_keys(mark.load_also()), **found}


def _inside(hint: Any, mark: Named | None) -> dict[str, Key]:
    if mark is None:
        return {name: key for section in sections_in(hint) for name, key in _option_keys(section).items()}
    found = mark.load()
    if mark.form == "options":
        return _option_keys(found, mark)
    builders = {name: builder_of(entry) for name, entry in found.items()}
    return {
        name: Key(summary(builder), functools.partial(_option_keys, builder, mark))
        for name, builder in builders.items()
    }


def _values(option: Option) -> str:
    """Returns what an option may be and its default, in brackets; nothing for a section."""
    if next(sections_in(option.hint), None):
        return ""
    default = "required"
    if option.default is not inspect.Parameter.empty:
        plain = to_plain(option.default)
        written = f"{plain:.6g}" if isinstance(plain, float) else json.dumps(plain, default=str)
        default = f"default {written}"
    kind = "" if option.hint is Any else describe(option.hint).removesuffix(" or null") + "; "
    return f"[{kind}{default}]"
