"""Shared by benchmarks that read stored images: preprocessing, cells of stored versions, corruptions and severities."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from RobustART.benchmarks.building import Cell
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ConfigError
from RobustART.metrics.reading import check_coordinates, has, single_pass
from RobustART.records.lines import Records

if TYPE_CHECKING:
    from RobustART.data.variants import VariantDataset

LEVELS = (1, 2, 3, 4, 5)
"""Severities."""
Grade = tuple[str, int]
"""A corruption and its severity."""


def crop_only(model: Preprocessing) -> Preprocessing:
    """Returns the official preprocessing of files that have the input size: a center crop without resize."""
    return dataclasses.replace(model, crop_mode="none")


def resize256(model: Preprocessing) -> Preprocessing:
    """Returns the original RobustART's preprocessing of those files: a bilinear resize to 256, and a center crop."""
    if model.input_size > 256:
        raise ConfigError(
            f"preprocess: resize256 makes 256 x 256 pixels, less than the model's input of {model.input_size}; use crop "
            "for files of that size, or model"
        )
    return dataclasses.replace(model, resize=256, interpolation="bilinear", crop_mode="center")


PREPROCESSINGS: dict[str, Callable[[Preprocessing], Preprocessing] | None] = {
    "crop": crop_only,
    "resize256": resize256,
    "model": None,
}
"""Values of the option ``preprocess``; ``model`` is the model's preprocessing of clean images."""


def stored_cells(dataset: VariantDataset, coordinates: Callable[[str], Mapping[str, Any]]) -> tuple[Cell, ...]:
    """Returns one cell for each version; ``coordinates`` maps a cell's name to its coordinates."""
    from RobustART.data.variants import variant_view

    return tuple(Cell(name, functools.partial(variant_view, name=name), coordinates(name)) for name in dataset.variants)


def grade_name(grade: Grade) -> str:
    """Returns the name of a cell, ``corruption/severity``."""
    return f"{grade[0]}/{grade[1]}"


def grade_coordinates(cell: str) -> dict[str, Any]:
    """Returns the coordinates of a cell named ``corruption/severity``."""
    corruption, _, severity = cell.rpartition("/")
    return {"corruption": corruption, "severity": int(severity) if severity.isdecimal() else severity}


def grades_of(records: Records) -> list[Grade]:
    """Returns corruption and severity of each column of records with one pass."""
    return [(place["corruption"], place["severity"]) for place in single_pass(records).coordinates]


def check_grades(records: Records, place: str) -> None:
    """Raises a RecordError if a cell is not of a corruption and a severity from 1 to 5."""

    def point(cell: str, found: Mapping[str, Any]) -> Grade | None:
        whole = has(found, corruption=str, severity=int) and found["severity"] in LEVELS
        return (found["corruption"], found["severity"]) if whole else None

    check_coordinates(single_pass(records, place), place, point, "corruption/severity, from 1 to 5")


def corruption_grades(benchmark: str, corruptions: Sequence[str], severities: Sequence[int]) -> list[Grade]:
    """Returns corruption and severity of each cell; raises a ConfigError if an option is empty or has duplicates."""
    if not corruptions or not severities:
        raise ConfigError(f"{benchmark} needs at least one corruption and one severity")
    for values, option in ((corruptions, "corruptions"), (severities, "severities")):
        if len(set(values)) < len(values):
            raise ConfigError(f"{benchmark}.{option} names something twice: {list(values)}")
    return [(name, level) for name in corruptions for level in severities]


def grade_options(grades: Sequence[Grade]) -> dict[str, Any]:
    """Returns the options of :func:`corruption_grades` in canonical form."""
    names, levels = zip(*grades, strict=True)
    return {"corruptions": list(dict.fromkeys(names)), "severities": list(dict.fromkeys(levels))}
