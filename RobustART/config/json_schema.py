"""The configuration as a JSON Schema (draft 2020-12), for editors: keys, types, ranges, names, defaults, descriptions.

It is made from the declarations that check a file, so an editor refuses what the loader refuses. Keys that are missing are
left to the loader, since a base file may have them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from RobustART.core.declarations import UNIONS, builder_of, options_of, sections_in
from RobustART.core.manual import manual, summary
from RobustART.core.options import to_plain
from RobustART.core.ranges import Named, Rule

Schema = dict[str, Any]
NUMBER = {
    "anyOf": [
        {"type": "number"},
        {"type": "string", "pattern": r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+|/[0-9.]+)?\s*$"},
    ]
}
PLAIN: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: NUMBER,
    str: {"type": "string"},
    type(None): {"type": "null"},
}
OWN = {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}
"""A user's ``module:function``, where a name is expected."""


def config_schema(cls: type) -> Schema:
    """Returns the schema of a file with the fields of a dataclass."""
    definitions: dict[str, Schema] = {}
    schema = _options(cls, definitions)
    base = {"anyOf": [PLAIN[str], {"type": "array", "items": PLAIN[str]}]}
    schema["properties"]["base"] = {**base, "description": "Files whose values this file's values are laid over."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RobustART configuration",
        **schema,
        "$defs": definitions,
    }


def _options(owner: Callable[..., Any], definitions: dict[str, Schema], hidden: Collection[str] = ()) -> Schema:
    """Returns the schema of a mapping of options; null is an empty one."""
    texts, properties = manual(owner), {}
    for name, option in options_of(owner, hidden=hidden).items():
        properties[name] = dict(_schema(option.hint, definitions))
        if name in texts:
            properties[name]["description"] = texts[name]
        if option.default not in (inspect.Parameter.empty, None):
            properties[name]["default"] = to_plain(option.default)
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _schema(hint: Any, definitions: dict[str, Schema]) -> Schema:
    """Returns the schema of what a hint allows."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        for mark in args[1:]:
            if isinstance(mark, Named):
                return _named(mark, definitions)
        parts = (_schema(args[0], definitions), *(rule.schema() for rule in args[1:] if isinstance(rule, Rule)))
        return {key: value for part in parts for key, value in part.items()}
    if origin in UNIONS:
        written = (member for member in args if typing.get_origin(member) is not Callable)  # no file holds a function
        return {"anyOf": [_schema(member, definitions) for member in written]}
    if origin is Literal:
        return {"enum": list(args)}
    if hint in PLAIN:
        return PLAIN[hint]
    if origin is None:
        return next((_options(section, definitions) for section in sections_in(hint)), {})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": ["object", "null"], "additionalProperties": _schema(args[1], definitions)}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        several = {"type": "array", "items": _schema(args[0], definitions)}
        return several if origin is not Sequence else {"anyOf": [_schema(args[0], definitions), several]}
    return {}


def _named(mark: Named, definitions: dict[str, Schema]) -> Schema:
    """Returns a reference to the schema of names and the options of what they name."""
    key = f"{mark.target.rpartition(':')[2]} {mark.form}".lower().replace(" ", "_")
    if key not in definitions:
        definitions[key] = {}  # it may contain itself
        definitions[key] = _names(mark, definitions)
    return {"$ref": f"#/$defs/{key}"}


def _names(mark: Named, definitions: dict[str, Schema]) -> Schema:
    found = mark.load()
    if mark.form == "options":
        return _options(found, definitions, mark.hidden)
    names = {"anyOf": [{"enum": list(found)}, OWN]}
    if mark.form == "name":
        return names
    each = {}
    for name, entry in found.items():
        each[name] = _options(builder_of(entry), definitions, mark.hidden)
        each[name]["description"] = summary(builder_of(entry))
        if mark.also:
            each[name]["properties"] |= _options(mark.load_also(), definitions)["properties"]
    if mark.form in ("kwargs", "flat"):
        kinds = [
            {"type": {"const": name}, **({"kwargs": part} if mark.form == "kwargs" else part["properties"])}
            for name, part in each.items()
        ]
        return {"anyOf": [_section(kind, additionalProperties=False) for kind in kinds] + [_section({"type": OWN})]}
    if mark.form == "keys":
        each = {name: {"anyOf": [part, {"const": False}]} for name, part in each.items()}
        return _section(each, patternProperties={":": {}}, additionalProperties=False)
    one = _section(each, patternProperties={":": {}}, additionalProperties=False, minProperties=1, maxProperties=1)
    return {"anyOf": [names, one]}


def _section(properties: Schema, **further: Any) -> Schema:
    return {"type": "object", "properties": properties, **further}
