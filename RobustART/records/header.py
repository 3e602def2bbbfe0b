"""The header of a result file, its first line: checked here once, so that all readers may rely on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from RobustART.core.files import parse_json
from RobustART.errors import RecordError
from RobustART.records.sealing import unsealed

FORMAT = "robustart-records/2"
BEFORE = "robustart-records/1"
"""Previous format, without coordinates and checksums, which can still be read."""
_ANY_VERSION = FORMAT.partition("/")[0] + "/"
IMAGENET = "ImageNet-1k"
"""``label_set`` of a data set whose labels are the indices of ImageNet's 1,000 classes."""
_DEPTH = 50
"""Deepest allowed nesting of a header."""
_KINDS = {str: "a string", dict: "an object", list: "a list", int: "an integer"}


def config_hash(conditions: Mapping[str, Any]) -> str:
    """Returns a hash of ``conditions`` (JSON data) as 16 hexadecimal digits."""
    text = json.dumps(conditions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def conditions_hash(conditions: Mapping[str, Any]) -> str:
    """Returns the hash of a result file's conditions, which ignores the names of data sets and what runtimes measured."""
    found = dict(conditions)
    if "data" in found:
        found["data"] = [{**row, "name": None} for row in found["data"]]
    if "models" in found:
        found["models"] = {name: _chosen(model) for name, model in found["models"].items()}
    return config_hash(_chosen(found))


def _chosen(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Returns conditions with the choices of their runtime alone."""
    chosen = {key: value for key, value in holder.get("runtime", {}).items() if key in ("name", "gradients")}
    return {**holder, **({"runtime": chosen} if "runtime" in holder else {})}


def shown(value: object) -> str:
    """Returns the representation of a value for a message, cut to 80 characters."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} that is nested too deeply"
    return text if len(text) <= 80 else f"{text[:77]}..."


def field(holder: Mapping[str, Any], key: str, kind: type, place: str) -> Any:
    """Returns an entry of JSON data; raises a RecordError if it is missing or of another type.

    Args:
        holder: the data.
        key: name of the entry.
        kind: ``str``, ``dict``, ``list`` or ``int``; booleans are not integers.
        place: name of the data in the message.
    """
    value = holder.get(key)
    if type(value) is not kind:
        raise RecordError(f"{place} needs {key!r}, {_KINDS[kind]}, got {shown(value) if key in holder else 'none'}")
    return value


def is_header(text: str) -> bool:
    """Returns whether a first line is the header of a result file of ours, of any version, valid or not."""
    try:
        header = parse_json(text)
    except ValueError:
        return False
    return isinstance(header, dict) and str(header.get("format")).startswith(_ANY_VERSION)


def check_header(text: str, path: object) -> dict[str, Any]:
    """Returns the header of a result file.

    Args:
        text: first line of the file.
        path: path of the file, for messages.

    Raises:
        RecordError: the line is not a header, of another version, damaged, or lacks a required entry.
    """
    place = f"the header of {path}"
    try:
        header = parse_json(text)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") not in (FORMAT, BEFORE):
        raise RecordError(f"{path} is not a result file of this version: its first line must state {FORMAT!r}")
    if header["format"] == FORMAT or "crc" in header:  # the damage may be in the version
        unsealed(text, place)
    sealed = "crc" in header
    header.pop("crc", None)
    _check_depth(header, place)
    field(header, "benchmark", str, place)
    field(header, "hash", str, place)
    _check_conditions(field(header, "conditions", dict, place), f"{place}, in 'conditions',")
    if "versions" in header:
        field(header, "versions", dict, place)
    for model, flags in (field(header, "signs", dict, place) if "signs" in header else {}).items():
        if not isinstance(flags, dict) or not _texts(list(flags.values())):
            raise RecordError(f"{place} needs 'signs', names with meanings by model, got {shown({model: flags})}")
    found = conditions_hash(header["conditions"])
    if sealed and found != header["hash"]:
        raise RecordError(f"{place} was edited: the hash of its conditions is {found}, but it states {header['hash']}")
    passes = field(header, "passes", list, place)
    if not passes:
        raise RecordError(f"{place} needs at least one entry in 'passes', got none")
    for number, info in enumerate(passes):
        where = f"{place}, in 'passes'[{number}],"
        if not isinstance(info, dict):
            raise RecordError(f"{where} must have an object, got {shown(info)}")
        _check_pass(info, where)
    names = [info["name"] for info in passes]
    if len(set(names)) < len(names):
        raise RecordError(f"{place} names a pass twice: {shown(names)}")
    return header


def _check_depth(header: dict[str, Any], place: str) -> None:
    """Raises a RecordError if a header is nested too deeply to be compared or printed."""
    level: list[Any] = [header]
    for _ in range(_DEPTH):
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))]
        level = [value for values in inner for value in values]
    if level:
        raise RecordError(f"{place} is nested more than {_DEPTH} levels deep")


def _check_conditions(stated: dict[str, Any], place: str) -> None:
    model = field(stated, "model", dict, place)
    for key, kind in (("source", str), ("arguments", dict), ("weights", str)):
        field(model, key, kind, f"{place} in 'model',")
    field(stated, "options", dict, place)
    for cell, settings in field(stated, "attacks", dict, place).items():
        where = f"{place} in 'attacks', {cell!r}"
        if not isinstance(settings, dict):
            raise RecordError(f"{where} must be an object, got {shown(settings)}")
        if settings.get("norm") is not None:
            field(settings, "norm", str, where)
        if settings.get("attacks") is not None and not _texts(settings["attacks"]):
            raise RecordError(f"{where} needs 'attacks', a list of strings, got {shown(settings['attacks'])}")
    if "preprocessing" in stated:
        field(stated, "preprocessing", dict, place)
    if "repeats" in stated and not 2 <= field(stated, "repeats", int, place) <= 62:
        raise RecordError(f"{place} needs 'repeats', an integer from 2 to 62, got {shown(stated['repeats'])}")
    if "models" in stated:
        for name, other in field(stated, "models", dict, place).items():
            if not isinstance(other, dict):
                raise RecordError(f"{place} in 'models', {name!r} must be an object, got {shown(other)}")
    for owner in (stated, *stated.get("models", {}).values()):
        if "runtime" in owner:
            field(field(owner, "runtime", dict, place), "name", str, f"{place} in 'runtime',")
    if "data" in stated:
        for row in field(stated, "data", list, place):
            if not isinstance(row, dict):
                raise RecordError(f"{place} in 'data', must have objects, got {shown(row)}")
            field(row, "name", str, f"{place} in 'data',")
            if "classes" in row:
                field(row, "classes", int, f"{place} in 'data',")


def _check_pass(info: dict[str, Any], place: str) -> None:
    field(info, "name", str, place)
    cells = field(info, "cells", list, place)
    if not cells or not _texts(cells) or not all(cells):
        raise RecordError(f"{place} needs 'cells', a list of names, got {shown(cells)}")
    if len(set(cells)) < len(cells):
        twice = next(cell for cell in cells if cells.count(cell) > 1)
        raise RecordError(f"{place} names the cell {twice!r} twice")
    places = field(info, "coordinates", list, place) if "coordinates" in info else [{} for _ in cells]
    if len(places) != len(cells) or not all(isinstance(entry, dict) for entry in places):
        raise RecordError(f"{place} needs 'coordinates', an object for each of its cells, got {shown(places)}")
    if field(info, "ids", int, place) < 0:
        raise RecordError(f"{place} needs 'ids', the number of images, from 0, got {info['ids']}")
    for name, checked in (field(info, "probes", dict, place) if "probes" in info else {}).items():
        if not _texts(checked) or not set(checked) <= set(cells):
            raise RecordError(f"{place} needs 'probes', lists of its cells by name, got {shown({name: checked})}")
    if "models" in info:
        for cell, pair in field(info, "models", dict, place).items():
            sound = isinstance(pair, list) and len(pair) == 2 and all(p is None or isinstance(p, str) for p in pair)
            if cell not in cells or not sound:
                raise RecordError(
                    f"{place} needs in 'models', for one of its cells, two entries that are names of models or null, got "
                    f"{shown({cell: pair})}"
                )


def coordinates_of(info: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Returns the coordinates of each cell of a pass in a header; they are empty in files of format 1."""
    return tuple(info.get("coordinates") or ({} for _ in info["cells"]))


def _texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
