"""The JSON Schema of ``report.json``, in ``schema.json``, and a validator of the subset of JSON Schema that it uses."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from RobustART.core.files import parse_json
from RobustART.errors import RecordError

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip


@functools.cache
def report_schema() -> dict[str, Any]:
    """Returns the schema of ``report.json``."""
    schema: dict[str, Any] = json.loads((files(__package__) / "schema.json").read_text(encoding="utf-8"))
    return schema


def read_json(path: Path, schema: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Returns the contents of a JSON file, an object.

    Args:
        path: path of the file.
        schema: schema that the object must conform to.
        name: name of the file in messages; the path by default.

    Raises:
        RecordError: the file cannot be read, is not JSON, or does not conform to the schema.
    """
    name = name or str(path)
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{name} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise RecordError(f"{name} is not JSON: {error}") from None
    fault = next(faults(data, schema), None)
    if fault is not None:
        raise RecordError(f"{name} is damaged: {fault}")
    return dict(data)


def object_schema(**properties: Any) -> dict[str, Any]:
    """Returns the schema of an object with these required properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


def faults(data: Any, schema: dict[str, Any] | None = None, place: str = "") -> Iterator[str]:
    """Yields a message for each violation of a schema.

    Args:
        data: JSON data.
        schema: the schema; None is that of ``report.json``.
        place: path of the data in messages.
    """
    schema = report_schema() if schema is None else schema
    if "$ref" in schema:
        schema = report_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if "const" in schema and data != schema["const"]:
        yield f"{place} must be {schema['const']!r}, got {data!r}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is_kind(data, kind) for kind in kinds):
        yield f"{place or 'the whole'} must be of the type {' or '.join(kinds)}, got {_shortened(data)}"
        return
    if isinstance(data, (int, float)) and data < schema.get("minimum", -math.inf):
        yield f"{place} must be {schema['minimum']} or more, got {data!r}"
    if isinstance(data, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key in schema.get("required", []):
            if key not in data:
                yield f"{_inside(place, key)} is missing"
        for key, value in data.items():
            part = properties.get(key, others)
            if part is not None:
                yield from faults(value, part, _inside(place, key))
    elif isinstance(data, list) and "items" in schema:
        for number, value in enumerate(data):
            yield from faults(value, schema["items"], f"{place}[{number}]")


def schema_lines(schema: dict[str, Any] | None = None, indent: int = 0) -> Iterator[str]:
    """Yields a line for each key of the schema with its description; nested keys are indented."""
    schema = report_schema() if schema is None else schema
    if "$ref" in schema:
        schema = report_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    others = schema.get("additionalProperties")
    named = {**schema.get("properties", {}), **({"NAME": others} if others else {})}
    if "items" in schema:
        yield from schema_lines(schema["items"], indent)
    for key, part in named.items():
        description = part.get("description", "")
        yield f"{'  ' * indent}{key}:{' ' + description if description else ''}"
        yield from schema_lines(part, indent + 1)


def _is_kind(data: Any, kind: str) -> bool:
    if isinstance(data, bool):
        return kind == "boolean"
    if isinstance(data, float) and not math.isfinite(data):
        return False
    return isinstance(data, _KINDS[kind])


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _shortened(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:60]}..."
