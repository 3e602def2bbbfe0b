"""A configuration with all defaults written out, those of benchmarks, attacks and objectives too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from RobustART.core.declarations import builder_of, marks_in, options_of, sections_in
from RobustART.core.options import to_plain
from RobustART.core.ranges import Named


def filled(section: Any) -> dict[str, Any]:
    """Returns a dataclass of the configuration as plain data with every option that it could have."""
    return {key: _value(getattr(section, key), option.hint, ()) for key, option in options_of(type(section)).items()}


def _options(owner: Callable[..., Any], given: Mapping[str, Any], hidden: Collection[str] = ()) -> dict[str, Any]:
    """Returns the options of a function: those given, and the defaults of the others; a missing one stays out."""
    known = options_of(owner, hidden=hidden)
    every = {name: given.get(name, option.default) for name, option in known.items()}
    further = {name: to_plain(value) for name, value in given.items() if name not in known}
    return {
        name: _value(value, known[name].hint, known)
        for name, value in every.items()
        if value is not inspect.Parameter.empty
    } | further


def _value(value: Any, hint: Any, around: Collection[str]) -> Any:
    """Returns an option as plain data; ``around`` are the options beside it, which its own take precedence over."""
    mark = next(marks_in(hint), None)
    if value is not None and mark is not None and mark.form != "name":
        if mark.form == "entry":
            items = [value] if isinstance(value, (str, Mapping)) else value
            return [_entry(item, mark, around) for item in items]
        return _named(value, mark)
    sections = list(sections_in(hint))
    return filled(value) if sections and isinstance(value, tuple(sections)) else to_plain(value)


def _entry(item: Any, mark: Named, around: Collection[str]) -> Any:
    """Returns ``{name: options}``. Options that the owner of the list has too, such as ``stop``, keep its value."""
    name, given = (item, {}) if isinstance(item, str) else next(iter(item.items()))
    entries, given = mark.load(), given or {}
    own = options_of(mark.load_also()) if mark.also else {}
    chosen = {name: given.get(name, option.default) for name, option in own.items()}
    if chosen != {name: option.default for name, option in own.items()}:
        return {name: to_plain(given)}  # what another library makes has other options
    hidden = (*mark.hidden, *(option for option in around if option not in given))
    return {name: {**chosen, **_options(builder_of(entries[name]), given, hidden)}}


def _named(value: Any, mark: Named) -> Any:
    if mark.form == "options":
        return _options(mark.load(), value, mark.hidden)
    entries = mark.load()
    if mark.form == "keys":
        return {
            name: False if given is False else _options(builder_of(entries[name]), given or {}, mark.hidden)
            for name, given in value.items()
        }
    if mark.form == "kwargs":
        return {"type": value.type, "kwargs": _options(entries[value.type], value.kwargs, mark.hidden)}
    given = {key: value[key] for key in value if key != "type"}
    return {"type": value["type"], **_options(entries[value["type"]], given, mark.hidden)}
