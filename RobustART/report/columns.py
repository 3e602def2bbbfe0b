"""The columns of a leaderboard: one for each number and each set of conditions under which it may be compared."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from RobustART.records.comparability import board_conditions
from RobustART.report import terms
from RobustART.report.families import norm_of
from RobustART.report.runs import Estimate, Run, flatten


@dataclasses.dataclass(frozen=True)
class Column:
    """One number of runs that may be compared; the others have none here."""

    benchmark: str
    """Its benchmark."""
    metric: str
    """Its name; robust accuracy is ``attack radius``."""
    letters: str
    """Which of the benchmark's conditions its runs are of, such as ``A B``; empty where there is but one."""
    estimates: tuple[Estimate | None, ...]
    """By run."""

    @property
    def name(self) -> str:
        """What to call it beside its benchmark."""
        return f"{self.metric} [{self.letters}]" if self.letters else self.metric

    @property
    def better(self) -> str | None:
        """Which way it is better: ``high``, ``low``, or None where that is not known."""
        return "high" if self.benchmark == "adversarial" and " " in self.metric else terms.better(self.metric)

    def value(self, run: int) -> float | None:
        """Returns the value of a run, None where it has none."""
        estimate = self.estimates[run]
        return None if estimate is None else estimate["value"]

    @property
    def count(self) -> int:
        """How many runs have a value."""
        return sum(self.value(run) is not None for run in range(len(self.estimates)))

    def best(self) -> list[int]:
        """Returns the runs with the best value; none where there is nothing to compare."""
        values = {run: value for run in range(len(self.estimates)) if (value := self.value(run)) is not None}
        if len(values) < 2 or self.better is None:
            return []
        best = (max if self.better == "high" else min)(values.values())
        return [run for run, value in values.items() if value == best]


def conditions_of(runs: Sequence[Run], benchmark: str) -> dict[str, list[int]]:
    """Returns the runs of a benchmark by letter: A are the first conditions under which it was run, B the next."""
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        if benchmark in run.report["benchmarks"]:
            groups.setdefault(_key(board_conditions(run.report, benchmark)), []).append(number)
    return {_letter(place): members for place, members in enumerate(groups.values())}


def all_columns(runs: Sequence[Run]) -> list[Column]:
    """Returns the columns of all benchmarks, in the order in which benchmarks and numbers first come."""
    found = []
    for benchmark in dict.fromkeys(name for run in runs for name in run.report["benchmarks"]):
        letters = {number: letter for letter, members in conditions_of(runs, benchmark).items() for number in members}
        several = len(set(letters.values())) > 1
        numbers = {number: board_numbers(runs[number].report["benchmarks"][benchmark]) for number in letters}
        for metric in dict.fromkeys(metric for own in numbers.values() for metric in own):
            groups: dict[str, list[int]] = {}
            for number, own in numbers.items():
                if metric in own:
                    key = _key(board_conditions(runs[number].report, benchmark, metric))
                    groups.setdefault(key, []).append(number)
            for members in groups.values():
                of = " ".join(dict.fromkeys(letters[number] for number in members)) if several else ""
                values = tuple(numbers[number][metric] if number in members else None for number in range(len(runs)))
                found.append(Column(benchmark, metric, of, values))
    return found


def numbers_of(entry: Mapping[str, Any]) -> dict[str, Estimate]:
    """Returns the metrics of a benchmark and the robust accuracy of each attack and radius."""
    robust = entry["tables"].get("robust_accuracy", {})
    return {
        **entry["metrics"],
        **{f"{attack} {radius}": e for attack, row in robust.items() for radius, e in row.items()},
    }


def board_numbers(entry: Mapping[str, Any]) -> dict[str, Estimate]:
    """Returns these and, as ``table/row/column``, AR, WCAR and the success rates of transfer attacks."""
    ratios = {
        f"{title}/{row}/{column}": estimate
        for title, table in entry["tables"].items()
        if title in ("AR", "WCAR") or title.startswith("transfer_success")
        for row, cells in table.items()
        for column, estimate in cells.items()
    }
    return {**numbers_of(entry), **ratios}


def headlines(runs: Sequence[Run], columns: Sequence[Column]) -> list[Column]:
    """Returns the columns that stand for each benchmark: a headline number, under the conditions that most runs share.

    Of adversarial noise there is one for each norm: the attack that leaves least, at the radius that tells the runs apart
    most.
    """
    found = []
    for benchmark in dict.fromkeys(column.benchmark for column in columns):
        own = [column for column in columns if column.benchmark == benchmark and column.count]
        if benchmark == "adversarial":
            attacked = [column for column in own if re.match(r"[^/ ]+ ", column.metric)]  # robust accuracy
            found += _adversarial(runs, attacked)
        elif benchmark != "transfer" and own:
            names = list(dict.fromkeys(column.metric for column in own))
            liked = [name for name in terms.HEADLINES if name in names] or names[:1]
            most = max(column.count for column in own if column.metric in liked)
            found.append(next(c for name in liked for c in own if c.metric == name and c.count == most))
    return found


def _adversarial(runs: Sequence[Run], columns: Sequence[Column]) -> list[Column]:
    by_norm: dict[str, list[Column]] = {}
    for column in columns:
        cell = column.metric.replace(" ", "/", 1)
        entries = [run.report["benchmarks"].get("adversarial") for run in runs]
        attacks = next(entry["attacks"] for entry in entries if entry is not None and cell in entry["attacks"])
        by_norm.setdefault(norm_of(cell, attacks), []).append(column)
    found = []
    for own in by_norm.values():
        most = max(column.count for column in own)
        by_radius: dict[str, list[Column]] = {}
        for column in own:
            if column.count == most:
                by_radius.setdefault(column.metric.partition(" ")[2], []).append(column)
        strongest = [min(same, key=_mean) for same in by_radius.values()]
        found.append(max(strongest, key=_spread))
    return found


def _given(column: Column) -> list[float]:
    return [value for run in range(len(column.estimates)) if (value := column.value(run)) is not None]


def _mean(column: Column) -> float:
    return sum(_given(column)) / column.count


def _spread(column: Column) -> float:
    return max(_given(column)) - min(_given(column))


def contrasts(runs: Sequence[Run], benchmark: str) -> list[tuple[str, list[int], list[tuple[str, Any, Any]]]]:
    """Returns, where a benchmark was run under several conditions, each letter, its runs, and what differs from A.

    A difference is a path, what A has there, and what this has; None is nothing.
    """
    groups = conditions_of(runs, benchmark)
    if len(groups) < 2:
        return []
    parts = {letter: board_conditions(runs[members[0]].report, benchmark) for letter, members in groups.items()}
    return [(letter, groups[letter], _differences(parts["A"], own)) for letter, own in parts.items()]


def _differences(first: Mapping[str, Any], own: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns where two descriptions of what was measured differ; attacks that only one has are only named."""
    attacks = [
        [cell for cell in one["attacks"] if cell not in other["attacks"]] for one, other in ((first, own), (own, first))
    ]
    found: list[tuple[str, Any, Any]] = []
    if any(attacks):
        found.append(("attacks that only one has", attacks[0] or None, attacks[1] or None))
    shared = [cell for cell in first["attacks"] if cell in own["attacks"]]
    leaves = []
    for one in (first, own):
        told = flatten({**one, "attacks": {cell: one["attacks"][cell] for cell in shared}})
        leaves.append({key: value for key, value in told if value != {}})
    changed = [key for key in dict.fromkeys([*leaves[0], *leaves[1]]) if leaves[0].get(key) != leaves[1].get(key)]
    for key in changed:
        place, _, last = key.rpartition(".")
        if last == "fingerprint" and f"{place}.images" in changed:
            continue  # other numbers of images are other images
        found.append((key, leaves[0].get(key), leaves[1].get(key)))
    return found


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _letter(place: int) -> str:
    """Returns A to Z, then AA, AB and so on."""
    text = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        text = chr(ord("A") + rest) + text
    return text
