"""Checks whether a result follows the protocol of a published number: images, preprocessing, options, attack.

A published number requires conditions, strings ``name=value``. Most refer to an entry of the result file's header:
``options.NAME``, ``preprocessing.NAME`` and ``data.NAME`` (of each data set), ``attack.NAME`` (of the number's attack) and
``precision``. The others refer to the records:

* ``images``: number of images in each pass;
* ``list``: their file names; ``imagenet_val`` has the numbers 1 to 50,000, other lists come from their source;
* ``classes`` and ``each``: number of classes, and of images in each; ``labels``: the benchmark whose classes are allowed;
* ``files``: the images are published files, not made on the fly;
* ``attack.eps`` (without a value): the radius is the one in the number's name;
* ``assumes``: a condition that no result file states; a failed check reports it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from RobustART.core.options import parse_number
from RobustART.errors import ConfigError
from RobustART.metrics.spec import BENCHMARKS
from RobustART.records.lines import PassRecords, Records

LISTS = {"robustbench": "robustbench/helper_files/imagenet_test_image_ids.txt of RobustBench"}
"""Lists of images that published numbers use and this package does not contain, with their sources."""
Lists = Mapping[str, Collection[str]]
"""By name of a list the file names in it, without folder and suffix."""
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})")


def read_list(place: str | Path) -> frozenset[str]:
    """Returns the file names in a list of images, without folder and suffix: the first word of each line."""
    try:
        text = Path(place).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {place}: {getattr(error, 'strerror', None) or error}") from None
    return frozenset(_stem(line.split()[0]) for line in text.splitlines() if line.strip())


def _stem(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2].partition(".")[0]


def unmet(conditions: Collection[str], records: Records, metric: str, lists: Lists) -> str:
    """Returns the first condition of a published number that a result does not meet, or an empty string."""
    for condition in conditions:
        name, _, wanted = condition.partition("=")
        kind, _, key = name.partition(".")
        if kind in ("options", "preprocessing", "attack") and key:
            reason = _of_header(kind, key, wanted, records, metric)
        elif kind == "data":
            rows = records.header["conditions"].get("data", []) or [{}]
            reason = next(filter(None, (_compared(f"data.{key}", row.get(key), wanted) for row in rows)), "")
        elif name == "precision":
            reason = _compared(name, records.header["conditions"].get(name), wanted)
        elif name == "files":
            reason = _made(records)
        elif name != "assumes":
            reasons = (_of_images(name, wanted, part, lists) for part in records.passes)
            reason = next(filter(None, reasons), "")
        else:
            reason = ""
        if reason:
            return reason
    return ""


def assumed(conditions: Collection[str]) -> str:
    """Returns the assumptions of a published number that no result file states, or an empty string."""
    return ", ".join(text.partition("=")[2] for text in conditions if text.startswith("assumes="))


def _of_header(kind: str, key: str, wanted: str, records: Records, metric: str) -> str:
    stated = records.header["conditions"]
    if kind == "options":
        return _compared(key, stated.get("options", {}).get(key), wanted)
    if kind == "preprocessing":
        given = stated.get("data", []) or [{}]
        shown = [{**stated.get("preprocessing", {}), **row.get("preprocessing", {})} for row in given]
        return next(filter(None, (_compared(key, row.get(key), wanted) for row in shown)), "")
    cell = metric.partition("/")[2]
    settings = stated.get("attacks", {}).get(cell)
    if settings is None:
        return f"does not state the settings of {cell}"
    if key == "eps":
        radius, eps = cell.partition("/")[2], settings.get("eps")
        same = isinstance(eps, (int, float)) and abs(eps - parse_number(radius)) < 1e-9
        return "" if same else f"has eps {eps!r} in {cell}, the published number {radius}"
    return _compared(f"{key} of {cell}", settings.get(key) or None, wanted)


def _compared(what: str, found: Any, wanted: str) -> str:
    shown = _said(found)
    return "" if shown == wanted else f"has {what} {shown}, the published number {wanted}"


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_said, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _made(records: Records) -> str:
    made = records.header["conditions"].get("options", {}).get("root_dir", "") is None
    return "" if not made else "was made on the fly, the published number is of the published files"


def _of_images(name: str, wanted: str, part: PassRecords, lists: Lists) -> str:
    """Returns how the images of a pass violate a condition, or an empty string."""
    classes, counts = np.unique(part.labels, return_counts=True)
    if name == "images":
        count = len(part.ids)
        return "" if count == int(wanted) else f"is of {count} images, the published number of {wanted}"
    if name == "classes":
        return "" if len(classes) == int(wanted) else f"is of {len(classes)} classes, the published number of {wanted}"
    if name == "each":
        same = bool((counts == int(wanted)).all())
        return "" if same else f"does not have {wanted} images of each class, as the published number does"
    if name == "labels":
        foreign = sorted(set(classes.tolist()) - set(_classes(wanted)))
        return f"has images of class {foreign[0]}, which {wanted} does not have" if foreign else ""
    assert name == "list", name
    return _of_list(wanted, {_stem(file) for file in part.files}, lists)


def _classes(benchmark: str) -> tuple[int, ...]:
    classes = BENCHMARKS[benchmark].classes
    return tuple(range(1000)) if classes is None else classes()


def _of_list(wanted: str, found: Collection[str], lists: Lists) -> str:
    if wanted == "imagenet_val":
        numbers = [match and int(match[1]) for match in map(_VALIDATION.fullmatch, found)]
        if None not in numbers and sorted(filter(None, numbers)) == list(range(1, 50001)):
            return ""
        return "is not of the files ILSVRC2012_val_00000001 to ILSVRC2012_val_00050000, as the published number is"
    if wanted not in lists:
        where = LISTS[wanted]
        return (
            f"cannot be compared with the published number's list of images; give it by --list {wanted}=FILE ({where})"
        )
    missing = len(set(lists[wanted]) - set(found))
    return (
        f"is not of the images in the list {wanted}: {missing} of {len(lists[wanted])} are missing" if missing else ""
    )
