"""Reads the original's lines and decides which of their values are numbers."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from RobustART.errors import RecordError
from RobustART.original.results.files import result_files
from RobustART.records.header import is_header, parse_json, shown

MOST = 2**31 - 1
"""The highest class or label that a line may hold."""
NUMBERS = frozenset({int, float})
"""Types of JSON numbers, without ``bool``, which Python counts as an integer."""


def original_lines(res_file: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place for messages, data) of each line of the original's files."""
    for path in result_files(res_file):
        try:
            with open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if number == 1:
                        line = line.removeprefix(codecs.BOM_UTF8)
                    if line.strip():
                        place = f"line {number} of {path}"
                        yield place, _parse(line, place)
        except OSError as error:
            raise RecordError(f"cannot read {path}: {error.strerror or error}") from None


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
        data = parse_json(text)
    except UnicodeDecodeError as error:
        raise RecordError(f"{place} is not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError:
        raise RecordError(f"{place} is not JSON: {shown(text)}") from None
    if not isinstance(data, dict):
        raise RecordError(f"{place} must be a JSON object, got {shown(text)}")
    if "format" in data and is_header(text):
        raise RecordError(f"{place} begins a result file of ours, but one of the original's is expected here")
    return data


def whole(value: object) -> bool:
    """Returns whether a value is the number of a class: an integer from 0 up, and not a boolean."""
    return type(value) is int and 0 <= value <= MOST
