"""Reads finished result files and checks them by the rules of their benchmark."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.metrics.join import Joiner
from RobustART.metrics.spec import BENCHMARKS
from RobustART.records.header import IMAGENET, shown
from RobustART.records.journal import difference
from RobustART.records.lines import Records, read_records
from RobustART.records.table import PassRecords


def read_result(path: str | Path) -> Records:
    """Returns the records of a finished result file, checked by its benchmark.

    Cells without coordinates, as in files of format 1, get those that the benchmark derives from their names. Records of an
    unknown benchmark are returned unchecked.

    Raises:
        RecordError: as in :func:`read_records`; or the passes, cells or extra numbers are not those of the benchmark.
    """
    records = read_records(path)
    name = records.header["benchmark"]
    if name not in BENCHMARKS:
        return records
    spec = BENCHMARKS[name]
    passes = tuple(
        dataclasses.replace(
            table,
            coordinates=tuple(
                place or spec.coordinates(cell) for cell, place in zip(table.cells, table.coordinates, strict=True)
            ),
        )
        for table in records.passes
    )
    records = dataclasses.replace(records, passes=passes)
    spec.check(records, f"{path}, of the benchmark {name},")
    return records


def model_of(records: Records) -> dict[str, Any]:
    """Returns the model (source, arguments, weights) and the preprocessing that a result file states."""
    stated = records.header["conditions"]
    return {"model": stated["model"], "preprocessing": stated.get("preprocessing")}


def has_imagenet_labels(records: Records) -> bool:
    """Returns whether the labels of all images are indices of ImageNet's 1,000 classes.

    The header states it. Files of earlier versions do not; theirs are if the builder's arguments do not give another number
    of classes, and the images are in folders named by WordNet ids or a class above 199 occurs, which small sets lack.
    """
    stated = records.header["conditions"]
    rows = stated.get("data", [])
    if rows and all("label_set" in row for row in rows):
        return all(row["label_set"] == IMAGENET for row in rows)
    if stated["model"]["arguments"].get("num_classes", "1000") != "1000":
        return False
    return all(
        int(max(table.labels.max(), table.prediction.max())) >= 200
        or all(re.match(r"n[0-9]{8}/", file) for file in table.files)
        for table in records.passes
    )


def competing_classes(records: Records) -> int | None:
    """Returns the number of classes that compete in the first pass.

    Files of earlier versions do not state it. If no class above 4 occurs in them, those that occur are taken to be all;
    otherwise the result is None.
    """
    rows, table = records.header["conditions"].get("data", []), records.passes[0]
    if rows and "classes" in rows[0]:
        return int(rows[0]["classes"])
    occurring = 1 + int(max(table.labels.max(), table.prediction.max(), table.label_rank.max()))
    return occurring if occurring <= 5 else None


def check_one_model(files: Mapping[str, Records]) -> None:
    """Raises a RecordError with the differences unless all result files, by name, have one model and preprocessing."""
    first, *others = files
    for name in others:
        rows = difference(model_of(files[first]), model_of(files[name]))
        if rows:
            more = f"; and {len(rows) - 6} more" if len(rows) > 6 else ""
            raise RecordError(f"{first} and {name} are not of one model: {'; '.join(rows[:6])}{more}")


def single_pass(records: Records, place: str = "a result file of this benchmark") -> PassRecords:
    """Returns the only pass of records; raises a RecordError if there are several."""
    if len(records.passes) != 1:
        raise RecordError(f"{place} must have one pass, but has {len(records.passes)}")
    return records.passes[0]


def one_cell(records: Records, place: str, hint: str = "") -> PassRecords:
    """Returns the only pass of records with a single cell; raises a RecordError if there are several cells.

    Args:
        records: the records.
        place: their name in the message.
        hint: what to do instead, for the end of the message.
    """
    if len(records.passes) == 1 and len(records.passes[0].cells) == 1:
        return records.passes[0]
    cells = [cell for table in records.passes for cell in table.cells]
    more = ", ..." if len(cells) > 3 else ""
    raise RecordError(
        f"{place} must have one cell, but has {len(cells)} in {len(records.passes)} "
        f"{'pass' if len(records.passes) == 1 else 'passes'}: {', '.join(cells[:3])}{more}{hint}"
    )


def check_one_cell(records: Records, place: str) -> None:
    """Raises a RecordError if the records have several cells."""
    one_cell(records, place)


def has(coordinates: Mapping[str, Any], **kinds: type) -> bool:
    """Returns whether coordinates have entries of these names and types; an empty string counts as missing."""
    return all(type(coordinates.get(key)) is kind and coordinates[key] != "" for key, kind in kinds.items())


def check_coordinates(
    table: PassRecords, place: str, point: Callable[[str, Mapping[str, Any]], tuple[Any, ...] | None], allowed: str
) -> None:
    """Raises a RecordError if the coordinates of a cell are invalid in its benchmark, or equal those of another cell.

    Args:
        table: the pass.
        place: name of the records in the message.
        point: (cell, coordinates) -> key that must be unique among cells; None if they are invalid.
        allowed: description of the valid cells, for the message.
    """
    seen: dict[tuple[Any, ...], str] = {}
    for cell, found in zip(table.cells, table.coordinates, strict=True):
        own = point(cell, found)
        if own is None:
            raise RecordError(f"{place} has a cell {cell!r}; allowed are {allowed}; its coordinates are {shown(found)}")
        other = seen.setdefault(own, cell)
        if other != cell:
            raise RecordError(f"{place} has the cells {other!r} and {cell!r} at the same coordinates {shown(found)}")


def check_extra(table: PassRecords, key: str, dimensions: int, highest: int, place: str) -> None:
    """Raises a RecordError unless the extra numbers of ``key`` have so many dimensions and are in [0, ``highest``]."""
    numbers = table.extra.get(key)
    if numbers is None or numbers.ndim != dimensions or 0 in numbers.shape[2:]:
        came = "none" if numbers is None else f"numbers of shape {numbers.shape}"
        raise RecordError(f"{place} needs {key!r} in 'extra', of {dimensions} dimensions, got {came}")
    wrong = ((numbers < 0) | (numbers > highest)).reshape(len(numbers), -1).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise RecordError(
            f"{place} has for image {table.ids[row]} in 'extra' {key!r} a number outside 0 to {highest}: "
            f"{shown(numbers[row].tolist())}"
        )


def matched_clean(table: PassRecords, clean: Records) -> NDArray[np.bool_]:
    """Returns whether the images of a pass are correct in the records of clean images, (N,), matched by file name.

    Raises:
        RecordError: the clean records are of other images.
    """
    other = single_pass(clean)
    joiner = Joiner("the result file", {"filename": table.files}, table.labels)
    rows = joiner.rows("the clean result file", {"filename": other.files}, other.labels)
    return np.asarray(other.correct[rows, 0])
