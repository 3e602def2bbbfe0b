"""Lists of images: files with the path and the label of one image on each line."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any

from RobustART.core.files import parse_json
from RobustART.core.imaging import read_bytes
from RobustART.errors import DataError

MAX_BYTES = 2**31
"""The most bytes of a list: 2 GiB, several times that of ImageNet-21k's 14 million images."""


def read_list(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the paths and labels of a list: ``path label`` on each line, or JSON with ``filename`` and ``label``.

    The text is UTF-8, or UTF-16 if its byte order mark says so; the mark is no part of the first path.

    Raises:
        DataError: the list is missing or empty, or a line is not of either form; the message names file and line.
    """
    data = read_bytes(path, "the list of images", MAX_BYTES)
    try:
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the list of images {path} cannot be read: {error}") from None
    files, labels = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            file, label = _parse_line(line.strip(), f"line {number} of {path}")
            files.append(file)
            labels.append(label)
    if not files:
        raise DataError(f"the list of images {path} is empty")
    return tuple(files), tuple(labels)


def _parse_line(line: str, place: str) -> tuple[str, int]:
    try:
        if line.startswith("{"):
            data: dict[str, Any] = parse_json(line)
            file, label = data["filename"], data["label"]
        else:
            file, text = line.rsplit(None, 1)
            label = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else text
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{place} must be 'path label' or JSON with filename and label, got {line[:80]!r}") from None
    if not isinstance(file, str) or isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise DataError(f"{place}: the label must be an integer from 0, got {label!r}")
    return file, label
