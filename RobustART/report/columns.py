"""The columns of a leaderboard: one for each number and each set of conditions under which it is comparable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from RobustART.metrics.spec import BenchmarkSpec, Entry, PlainEstimate, face
from RobustART.records.comparability import board_conditions
from RobustART.report.board_runs import Run, flatten
from RobustART.report.text import Estimate


@dataclasses.dataclass(frozen=True)
class Column:
    """One number of the runs that are comparable in it."""

    benchmark: str
    """Name of the benchmark."""
    metric: str
    """Name of the number; robust accuracy is ``attack radius``."""
    letters: str
    """Letters of the conditions of its runs, such as ``A B``; empty if all runs have the same conditions."""
    estimates: tuple[Estimate | None, ...]
    """Estimate of each run; None for runs that are not in the column."""

    @property
    def name(self) -> str:
        """Name of the column within the benchmark."""
        return f"{self.metric} [{self.letters}]" if self.letters else self.metric

    @property
    def better(self) -> str | None:
        """Which direction is better: ``high``, ``low``, or None if it is unknown."""
        return face(self.benchmark).metric(self.metric).better

    def value(self, run: int) -> float | None:
        """Returns the value of a run; None if it is undefined or missing."""
        estimate = self.estimates[run]
        return None if estimate is None else estimate["value"]

    def withheld(self, run: int) -> str | None:
        """Returns why the number of a run is withheld as not trustworthy, or None if it is not."""
        estimate = self.estimates[run]
        if estimate is None or estimate["value"] is not None or not estimate.get("not_trustworthy"):
            return None
        return estimate.get("reason") or ", ".join(estimate["not_trustworthy"])

    @property
    def images(self) -> int | None:
        """Number of images of every run; None if it differs between runs."""
        found = {estimate["n"] for estimate in self.estimates if estimate is not None}
        return found.pop() if len(found) == 1 else None

    @property
    def count(self) -> int:
        """Number of runs that have a value."""
        return sum(self.value(run) is not None for run in range(len(self.estimates)))

    def best(self, without: Collection[int] = ()) -> list[int]:
        """Returns the runs with the best value; an empty list if fewer than two have a value, or no direction is better.

        Args:
            without: runs that do not compete.
        """
        competing = (run for run in range(len(self.estimates)) if run not in without)
        values = {run: value for run in competing if (value := self.value(run)) is not None}
        if len(values) < 2 or self.better is None:
            return []
        best = (max if self.better == "high" else min)(values.values())
        return [run for run, value in values.items() if value == best]


def conditions_of(runs: Sequence[Run], benchmark: str) -> dict[str, list[int]]:
    """Returns the runs of a benchmark by letter: A for those with the conditions of the first run, then B."""
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        if benchmark in run.report["benchmarks"]:
            groups.setdefault(_key(board_conditions(run.report, benchmark)), []).append(number)
    return {_letter(place): members for place, members in enumerate(groups.values())}


Numbers = Callable[[BenchmarkSpec, Entry], Mapping[str, PlainEstimate]]
"""(spec, entry of a benchmark in a report) -> numbers by their names on a leaderboard."""


def all_columns(runs: Sequence[Run], numbers_of: Numbers = BenchmarkSpec.board_numbers) -> list[Column]:
    """Returns the columns of all benchmarks, in the order of their first appearance.

    Args:
        runs: the runs.
        numbers_of: returns the numbers of a run that have a column.
    """
    found = []
    for benchmark in dict.fromkeys(name for run in runs for name in run.report["benchmarks"]):
        letters = {number: letter for letter, members in conditions_of(runs, benchmark).items() for number in members}
        several = len(set(letters.values())) > 1
        spec = face(benchmark)
        numbers = {number: numbers_of(spec, runs[number].report["benchmarks"][benchmark]) for number in letters}
        for metric in dict.fromkeys(metric for own in numbers.values() for metric in own):
            groups: dict[str, list[int]] = {}
            for number, own in numbers.items():
                if metric in own:
                    key = _key(board_conditions(runs[number].report, benchmark, spec.depends_on(metric)))
                    groups.setdefault(key, []).append(number)
            for members in groups.values():
                of = " ".join(dict.fromkeys(letters[number] for number in members)) if several else ""
                values = tuple(numbers[number][metric] if number in members else None for number in range(len(runs)))
                found.append(Column(benchmark, metric, of, values))
    return found


def headlines(runs: Sequence[Run], columns: Sequence[Column]) -> list[Column]:
    """Returns the columns that represent each benchmark: a headline number under the conditions that most runs share.

    A benchmark of attacks has one for each norm: the strongest attack at the radius where the runs differ most.
    """
    found = []
    for benchmark in dict.fromkeys(column.benchmark for column in columns):
        own, spec = [c for c in columns if c.benchmark == benchmark and c.count], face(benchmark)
        by_norm = _attacked(runs, spec, own)
        if by_norm:
            found += [_most_discerning(columns) for columns in by_norm.values()]
        elif spec.headlines is None and own:
            names = list(dict.fromkeys(column.metric for column in own))
            main = [metric.name for metric in spec.metrics if metric.headline and metric.name in names] or names[:1]
            most = max(column.count for column in own if column.metric in main)
            found.append(next(c for name in main for c in own if c.metric == name and c.count == most))
    return found


def _attacked(runs: Sequence[Run], spec: BenchmarkSpec, columns: Sequence[Column]) -> dict[str, list[Column]]:
    """Returns the columns of single attacks by norm; the result is empty for a benchmark without attacks."""
    found: dict[str, list[Column]] = {}
    entries = [run.report["benchmarks"].get(spec.name) for run in runs]
    for column in columns if spec.headlines is not None else ():
        shown = spec.table_of(column.metric)
        for cell in (spec.depends_on(column.metric) or ()) if shown is not None and shown.listed else ():
            places = (entry["cells"].get(cell, {}) for entry in entries if entry is not None)
            norm = next((place["norm"] for place in places if "norm" in place), "")
            found.setdefault(norm, []).append(column)
    return found


def _most_discerning(own: Sequence[Column]) -> Column:
    """Returns the column of the strongest attack at the radius where the runs differ most."""
    most = max(column.count for column in own)
    by_radius: dict[str, list[Column]] = {}
    for column in own:
        if column.count == most:
            by_radius.setdefault(column.metric.partition(" ")[2], []).append(column)
    strongest = [min(same, key=_mean) for same in by_radius.values()]
    return max(strongest, key=_spread)


def _given(column: Column) -> list[float]:
    return [value for run in range(len(column.estimates)) if (value := column.value(run)) is not None]


def _mean(column: Column) -> float:
    return sum(_given(column)) / column.count


def _spread(column: Column) -> float:
    return max(_given(column)) - min(_given(column))


def contrasts(runs: Sequence[Run], benchmark: str) -> list[tuple[str, list[int], list[tuple[str, Any, Any]]]]:
    """Returns, for a benchmark run under several conditions, each letter, its runs, and its differences from A.

    A difference is a path, the value of A and the other value, or None if it is missing.
    """
    groups = conditions_of(runs, benchmark)
    if len(groups) < 2:
        return []
    parts = {letter: board_conditions(runs[members[0]].report, benchmark) for letter, members in groups.items()}
    return [(letter, groups[letter], _differences(parts["A"], own)) for letter, own in parts.items()]


def _differences(first: Mapping[str, Any], own: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns the differences of two sets of conditions; attacks that only one has are listed by name."""
    attacks = [
        [cell for cell in one["attacks"] if cell not in other["attacks"]] for one, other in ((first, own), (own, first))
    ]
    found: list[tuple[str, Any, Any]] = []
    if any(attacks):
        found.append(("attacks that only one has", attacks[0] or None, attacks[1] or None))
    shared = [cell for cell in first["attacks"] if cell in own["attacks"]]
    leaves = []
    for one in (first, own):
        common = {**one, "attacks": {cell: one["attacks"][cell] for cell in shared}}
        leaves.append({key: value for key, value in flatten(common) if value != {}})
    changed = [key for key in dict.fromkeys([*leaves[0], *leaves[1]]) if leaves[0].get(key) != leaves[1].get(key)]
    for key in changed:
        place, _, last = key.rpartition(".")
        if last == "fingerprint" and f"{place}.images" in changed:
            continue  # a different number of images implies different images
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
