"""The format of result files, and their reader.

A result file has JSON lines. The first line is the header::

    {"format": "robustart-records/2", "benchmark": "...", "hash": "3f2a...", "conditions": {...},
     "passes": [{"name": "", "cells": ["fog/1", ...], "ids": 20,
                 "coordinates": [{"corruption": "fog", "severity": 1}, ...]}],
     "versions": {...}, "crc": 2774563219}

One line per image follows, with one entry per cell in each list::

    {"id": 0, "file": "a.jpg", "label": 243, "digest": "9c...",
     "prediction": [243, ...], "confidence": [0.91, ...], "label_rank": [0, ...], "crc": 1836477412}

A line of a pass with attacks also has

* ``broken_by``: for each cell the stage of the attack that fooled the model, ``clean`` if the model was wrong before, null
  if the attack failed or the image was not attacked;
* ``forward`` and ``backward``: passes that the attack spent on the image, without those of the evaluation and of the checks
  before AutoAttack;
* ``flags``: warnings of attacks, by cell, name and meaning; only if there are any;
* ``probes``: attacks without gradients that tried the image after all others, by name, such as
  ``{"square Linf 8/255": {"broken": 0, "forward": 201}}``; only if there are any. The header's entry of the pass lists them
  with the cells that they check: ``"probes": {"square Linf 8/255": ["fgsm/8/255", "pgd_linf/8/255"]}``.

The header may have ``signs``: flags that the models showed when they were asked before the run, by model, name and meaning
(:mod:`RobustART.core.signs`); the model under evaluation is ``model``. They are not conditions: a resumed run asks again.

If the model was asked several times (``repeats`` in the conditions), ``answers`` has an integer for each cell: its bit r
is 1 if answer r alone is correct.

A pass may record extra numbers of each cell under ``extra``: ``{"pixel_difference": [0.0, 1.2, ...]}``.

``label_rank`` is the number of classes scored above the true one: 0 is correct, and below 5 is correct in the top 5. Lines
of a benchmark's second and later passes have ``"pass": 1`` and so on. ``crc`` is the CRC-32 of the line's other bytes.
Files of format 1, which have neither ``crc`` nor ``coordinates``, can still be read.

:mod:`RobustART.records.journal` writes and resumes result files.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from RobustART.core.files import parse_json
from RobustART.core.options import as_path
from RobustART.errors import RecordError
from RobustART.records.header import (
    FORMAT,
    check_header,
    config_hash,
    coordinates_of,
    field,
    is_header,
    shown,
)
from RobustART.records.sealing import seal, unsealed
from RobustART.records.table import PassRecords, Table

__all__ = [
    "CLEAN", "FORMAT", "Key", "Line", "PassRecords", "Records", "config_hash", "is_result_file", "read_digests",
    "read_lines", "read_records",
]  # fmt: skip

CLEAN = "clean"
"""Name of the cell without noise or attack, and of the benchmark that has only this cell."""
Key = tuple[int, int]
"""Index of the pass and id of the image."""


@dataclasses.dataclass(frozen=True)
class Records:
    """A finished result file."""

    header: dict[str, Any]
    """Header, the first line."""
    passes: tuple[PassRecords, ...]
    """Records of each pass."""


@dataclasses.dataclass(frozen=True)
class Line:
    """Record of one image; the lists have one entry per cell."""

    pass_index: int
    """Index of the pass, from 0."""
    id: int
    """Id of the image in its data set."""
    file: str
    """File name."""
    label: int
    """True class."""
    digest: str
    """Digest of the file's content, 16 hexadecimal digits."""
    prediction: list[int]
    """Predicted classes."""
    confidence: list[float]
    """Softmax probabilities of the predicted classes."""
    label_rank: list[int]
    """Number of classes scored above the true one."""
    broken_by: list[str | None] | None = None
    """Stages that fooled the model; None in a pass without attacks."""
    forward: list[int] | None = None
    """Forward passes of the attacks."""
    backward: list[int] | None = None
    """Backward passes of the attacks."""
    flags: dict[str, dict[str, str]] | None = None
    """Warnings of attacks by cell, name and meaning; None without warnings."""
    probes: dict[str, dict[str, int]] | None = None
    """Attacks without gradients that tried the image, by name: ``broken`` (0 or 1) and ``forward`` passes."""
    extra: dict[str, list[Any]] | None = None
    """Extra numbers by name; None if the benchmark records none."""
    answers: list[int] | None = None
    """Which of several answers are correct, as bits; None for a single answer."""

    def dump(self) -> str:
        """Returns the record as a sealed JSON line."""
        data = {key: value for key, value in vars(self).items() if value is not None}
        number = data.pop("pass_index")
        if number:
            data["pass"] = number
        return seal(json.dumps(data, ensure_ascii=False))


def _parse_line(text: str, place: str) -> tuple[Key, dict[str, Any]]:
    try:
        data = parse_json(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise RecordError(f"{place} is not a record: {shown(text)}")
    if "progress" not in data:
        return (field(data, "pass", int, place) if "pass" in data else 0, field(data, "id", int, place)), data
    for key, kind in _PROGRESS.items():
        field(data, key, kind, place)
    return (data["pass"], data["first"]), data


_PROGRESS = {
    "progress": str, "pass": int, "first": int, "stage": str, "ran": list, "finished": list, "scores": dict,
    "forward": list, "backward": list, "flags": dict,
}  # fmt: skip
"""Entries of a line of progress with their types."""


def _first_line(path: Path, errors: str = "replace") -> str:
    try:
        with open(path, encoding="utf-8", errors=errors, newline="\n") as file:
            return file.readline()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from None


def is_result_file(path: str | Path) -> bool:
    """Returns whether a file starts with a header of ours, valid or not, instead of a line of the original's formats."""
    return is_header(_first_line(Path(path)))


def _entries(path: Path, header: dict[str, Any]) -> Iterator[tuple[str, str, Key, dict[str, Any]]]:
    """Yields (place for messages, line, key, data) of each line after the header; skips a truncated last line.

    Lines of files of format 1 are converted to the current format.
    """
    sealed = header["format"] == FORMAT
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.readline()
        for number, text in enumerate(file, 2):
            if not text.endswith("\n"):
                return
            place = f"line {number} of {path}"
            body = unsealed(text, place) if sealed else text.strip()
            yield place, text if sealed else seal(body), *_parse_line(body, place)


def _whole_header(path: Path) -> dict[str, Any]:
    text = _first_line(path, errors="surrogateescape")
    if not text.endswith("\n"):
        raise RecordError(f"{path} has no header")
    return check_header(text, path)


def read_lines(path: Path) -> tuple[dict[str, Any], dict[Key, str], list[dict[str, Any]]]:
    """Returns the header, the lines of the images by key, and the data of the lines of progress.

    A truncated last line is dropped.

    Raises:
        RecordError: the file is damaged in another way.
    """
    header = _whole_header(path)
    lines: dict[Key, str] = {}
    progress = []
    for place, text, key, data in _entries(path, header):
        if "progress" in data:
            progress.append(data)
        elif lines.setdefault(key, text) != text:
            raise RecordError(f"{place} repeats image {key[1]} of pass {key[0]} with other values")
    return header, lines, progress


_IMAGE = re.compile(r'\{"id": \d+, "file": ("(?:[^"\\]|\\.)*"), "label": -?\d+, "digest": "([^"]*)"')
_PASS = re.compile(r'"pass": (\d+)(?:, "crc": \d+)?\}$')


def read_digests(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Returns the digests of images by data set (name and fingerprint) and file, without reading the rest of the lines.

    Raises:
        RecordError: the file has no valid header.
    """
    header = _whole_header(path)
    keys = [(own["name"], str(own.get("fingerprint"))) for own in header["conditions"].get("data", [])]
    found: dict[tuple[str, str], dict[str, str]] = {key: {} for key in keys}
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for text in file:
            image = _IMAGE.match(text)
            number = _PASS.search(text[-60:].rstrip()) if len(keys) > 1 else None
            place = int(number[1]) if number else 0
            if image and place < len(keys):
                found[keys[place]][json.loads(image[1])] = image[2]
    return found


def read_records(path: str | Path) -> Records:
    """Returns the records of a finished result file.

    Raises:
        RecordError: the file is missing, not ours, damaged or inconsistent, or images are missing.
    """
    path = as_path(path, "a result file")
    if not path.is_file():
        raise RecordError(f"there is no result file {path}")
    header = _whole_header(path)
    tables = [Table(info["name"], tuple(info["cells"]), coordinates_of(info)) for info in header["passes"]]
    seen: dict[Key, int] = {}
    for place, text, key, data in _entries(path, header):
        if "progress" in data:
            continue
        if not 0 <= key[0] < len(tables):
            raise RecordError(f"{path} has a line of pass {key[0]}, but its header lists {len(tables)} passes")
        if key not in seen:
            tables[key[0]].add(data, f"{path}: image {key[1]}")
        elif seen[key] != hash(text):
            raise RecordError(f"{place} repeats image {key[1]} of pass {key[0]} with other values")
        seen[key] = hash(text)
    for table, info in zip(tables, header["passes"], strict=True):
        if len(table.files) != info["ids"]:
            raise RecordError(
                f"{path} has {len(table.files)} of {info['ids']} images{' of ' + info['name'] if info['name'] else ''}: "
                "the run is unfinished; the same command resumes it"
            )
    return Records(header, tuple(table.finish(str(path)) for table in tables))
