"""Result files as the numbers need them: what each benchmark's records must have, checked where they are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from RobustART.core.options import parse_number
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.stability import PUBLISHED_PERTURBATIONS, is_noise
from RobustART.records.header import shown
from RobustART.records.journal import difference
from RobustART.records.lines import PassRecords, Records, read_records

DIFFICULTIES = (1, 2, 3)
"""ImageNet-P's."""


def read_result(path: str | Path) -> Records:
    """Returns a finished result file whose passes, cells and further numbers are those of its benchmark.

    Raises:
        RecordError: as :func:`read_records`; or they are not, and the message says what came and what is allowed.
    """
    records = read_records(path)
    check = _CHECKS.get(records.header["benchmark"])
    if check is not None:
        check(records, f"{path}, of the benchmark {records.header['benchmark']},")
    return records


def model_of(records: Records) -> dict[str, Any]:
    """Returns what a result file states of its model: source, arguments and weights, and its preprocessing."""
    stated = records.header["conditions"]
    return {"model": stated["model"], "preprocessing": stated.get("preprocessing")}


def check_one_model(files: Mapping[str, Records]) -> None:
    """Raises a RecordError with the difference if result files, by name, are of different models or preprocessing."""
    first, *others = files
    for name in others:
        rows = difference(model_of(files[first]), model_of(files[name]))
        if rows:
            more = f"; and {len(rows) - 6} more" if len(rows) > 6 else ""
            raise RecordError(f"{first} and {name} are not of one model: {'; '.join(rows[:6])}{more}")


def one_cell(records: Records, place: str, hint: str = "") -> PassRecords:
    """Returns the one pass of records of one cell, or raises a RecordError that says what came.

    Args:
        records: all of them.
        place: what to call them.
        hint: what else to do, for the message.
    """
    if len(records.passes) == 1 and len(records.passes[0].cells) == 1:
        return records.passes[0]
    cells = [cell for table in records.passes for cell in table.cells]
    more = ", ..." if len(cells) > 3 else ""
    raise RecordError(
        f"{place} must have one cell, but has {len(cells)} in {len(records.passes)} "
        f"{'pass' if len(records.passes) == 1 else 'passes'}: {', '.join(cells[:3])}{more}{hint}"
    )


def _check_one_cell(records: Records, place: str) -> None:
    one_cell(records, place)


def _one_pass(records: Records, place: str) -> PassRecords:
    if len(records.passes) != 1:
        raise RecordError(f"{place} must have one pass, but has {len(records.passes)}")
    return records.passes[0]


def _check_corruptions(records: Records, place: str) -> None:
    for cell in _one_pass(records, place).cells:
        if re.fullmatch(r".+/[1-5]", cell) is None:
            raise RecordError(f"{place} has a cell {cell!r}; allowed are corruption/severity, from 1 to 5")


def _check_kinds(records: Records, place: str) -> None:
    found = [(table.name, len(table.cells)) for table in records.passes]
    if sorted(found) != [("known", 1), ("unknown", 1)]:
        raise RecordError(f"{place} needs the passes 'known' and 'unknown', of one cell each, but has {found}")


def _check_systems(records: Records, place: str) -> None:
    table = _one_pass(records, place)
    if "pixel_difference" in table.extra:
        _check_extra(table, "pixel_difference", 2, 255, place)


def _check_extra(table: PassRecords, key: str, dimensions: int, highest: int, place: str) -> None:
    """Raises a RecordError if further numbers are not there, or have not as many dimensions, or leave 0 to ``highest``."""
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


def _check_videos(records: Records, place: str) -> None:
    difficulty = records.header["conditions"]["options"].get("difficulty", 1)
    if type(difficulty) is not int or difficulty not in DIFFICULTIES:
        raise RecordError(f"{place} has the option difficulty {difficulty!r}; allowed are 1, 2, 3")
    seen: set[str] = set()
    for table in records.passes:
        frames: dict[str, list[str]] = {}
        for cell in table.cells:
            name, _, frame = cell.rpartition("/")
            frames.setdefault(name, []).append(frame)
        for name, own in frames.items():
            if name not in PUBLISHED_PERTURBATIONS:
                known = ", ".join(PUBLISHED_PERTURBATIONS)
                raise RecordError(f"{place} has a cell {name + '/' + own[0]!r}; perturbations are {known}")
            if own != [str(i) for i in range(len(own))]:
                raise RecordError(f"{place} must have the frames of {name} from 0 on, in order, but has {own[:5]}")
            if name in seen:
                raise RecordError(f"{place} has {name} in two passes")
            if len(own) <= (1 if is_noise(name) else difficulty):
                raise RecordError(f"{place} has {len(own)} frames of {name}, too few for the difficulty {difficulty}")
            seen.add(name)
        _check_extra(table, "top5", 3, 2**31 - 1, place)
        _check_extra(table, "zipf", 2, 2, place)  # no ranking is further, see stability.ZIPF_MAX


def _check_attacks(records: Records, place: str) -> None:
    table = _one_pass(records, place)
    table.cell("clean")
    for cell in table.cells:
        if cell != "clean":
            _check_radius(cell, place)


def _check_radius(cell: str, place: str) -> None:
    attack, _, eps = cell.partition("/")
    try:
        sound = bool(attack) and 0 <= parse_number(eps) < math.inf
    except ConfigError:
        sound = False
    if not sound:
        raise RecordError(f"{place} has a cell {cell!r}; allowed are 'clean' and attack/radius, such as 'fgsm/8/255'")


def _check_transfer(records: Records, place: str) -> None:
    table = _one_pass(records, place)
    pairs = records.header["passes"][0].get("models", {})
    attacked = records.header["conditions"]["attacks"]
    clean = [pairs.get(cell, (None, None))[1] for cell in table.cells if cell not in attacked]
    if len(set(clean)) < len(clean):
        raise RecordError(f"{place} has several cells without an attack for one model: {clean}")
    for cell in table.cells:
        for model in pairs.get(cell, (None, None)) if cell in attacked else ():
            if model not in clean:
                raise RecordError(f"{place} has no cell without an attack for the model {model or 'model'} of {cell!r}")


_CHECKS: dict[str, Callable[[Records, str], None]] = {
    **dict.fromkeys(("clean", "imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2"), _check_one_cell),
    **dict.fromkeys(("imagenet_c", "cifar_c", "imagenet_3dcc", "imagenet_c_bar"), _check_corruptions),
    "imagenet_o": _check_kinds,
    "imagenet_p": _check_videos,
    "imagenet_s": _check_systems,
    "adversarial": _check_attacks,
    "transfer": _check_transfer,
}
"""By benchmark; records of others, which are not ours, are as their header says."""
