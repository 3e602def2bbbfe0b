"""Paired comparison of runs on the same images under the same conditions: ``robustart compare``."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from RobustART.core.files import check_distinct, json_format
from RobustART.core.tables import markdown_table, style_of, written_tables
from RobustART.core.tidy import Row, tidy_frame, tidy_row
from RobustART.errors import RecordError
from RobustART.metrics.paired import holm, mcnemar, paired_difference
from RobustART.metrics.resampling import reflected_interval, unseen_interval
from RobustART.metrics.results import Estimate, Summary, doubt
from RobustART.metrics.runs import Run, check_comparable, read_run, result_files
from RobustART.metrics.spec import summarize

if TYPE_CHECKING:
    import pandas

FORMAT = "robustart-comparison/1"
BEGINS = {".json": json_format("robustart-comparison"), ".md": "# Comparison\n"}
"""By suffix, a regular expression that matches the beginning of the files :func:`compare` results are written to."""

_LEGEND = (
    "Differences are in percentage points (or the number's own unit), with paired 95% intervals. Lost: images that "
    "only A classifies correctly; won: images that only the other run classifies correctly; p: McNemar's exact "
    "test, and the same adjusted by Holm's method for the number of tests in the table."
)


@dataclasses.dataclass(frozen=True)
class Number:
    """One number of the first run and of another run, with their difference."""

    first: Estimate
    second: Estimate
    difference: Estimate
    """Second minus first."""
    lost: tuple[int, ...] | None = None
    """Ids of the images that only the first run classifies correctly; None unless the number is a percentage of images."""
    won: tuple[int, ...] | None = None
    """Ids of the images that only the second run classifies correctly; None as above."""
    p: float | None = None
    """p value of McNemar's exact test; None as above."""
    p_holm: float | None = None
    """The p value adjusted for the number of tests in this benchmark; None as above."""

    @property
    def clear(self) -> bool:
        """Whether the runs differ: ``p_holm`` below 5 % or, without a test, 0 outside the interval of the difference."""
        if self.p_holm is not None:
            return self.p_holm < 0.05
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


def compare_summaries(first: Summary, second: Summary, ids: Sequence[int]) -> dict[str, Number]:
    """Returns the numbers that two runs share, by name: metrics, and table cells as ``table/row/column``.

    Args:
        first: summary of the first run.
        second: summary of the other run on the same images.
        ids: ids of the images, (N,).
    """
    mine, theirs = first.flat("").metrics, second.flat("").metrics
    found = {name: _number(estimate, theirs[name], ids) for name, estimate in mine.items() if name in theirs}
    tested = [name for name, number in found.items() if number.p is not None]
    for name, p in zip(tested, holm([found[name].p or 0.0 for name in tested]), strict=True):
        found[name] = dataclasses.replace(found[name], p_holm=float(p))
    return found


def _number(a: Estimate, b: Estimate, ids: Sequence[int]) -> Number:
    if a.value is None or b.value is None:
        reason = a.reason or b.reason
        return Number(a, b, Estimate(None, None, None, min(a.n, b.n), reason))
    change = b.value - a.value
    if a.hits is not None and b.hits is not None and len(a.hits) == len(b.hits) == len(ids):
        _, low, high = paired_difference(a.hits, b.hits)
        places = (np.flatnonzero(mask).tolist() for mask in (a.hits & ~b.hits, b.hits & ~a.hits))
        lost, won = (tuple(ids[place] for place in found) for found in places)
        return Number(a, b, Estimate(change, low, high, a.n), lost, won, mcnemar(a.hits, b.hits))
    if a.draws is not None and b.draws is not None:
        return Number(a, b, _difference(a, b, change, b.draws - a.draws))
    if a.low is None or b.low is None:
        return Number(a, b, Estimate(change, None, None, a.n))
    return Number(a, b, Estimate(change, change, change, a.n))  # fixed by the benchmark's design, hence exact


def _difference(a: Estimate, b: Estimate, change: float, draws: NDArray[np.float64]) -> Estimate:
    """Returns a difference with its 95 % interval.

    Both runs share their bootstrap resamples, so the interval is that of the paired draws. It is the hull with its own
    reflection, because the draws of some numbers are biased to one side. For numbers that noise moves in one direction, the
    two intervals are combined instead as if the images were independent: the square-and-add method of Zou and Donner (2008,
    Statistics in Medicine 27, 1693-1702).
    """
    if a.one_sided or b.one_sided:
        (down_a, up_a), (down_b, up_b) = _reach(a), _reach(b)
        return Estimate(change, change - math.hypot(down_b, up_a), change + math.hypot(up_b, down_a), a.n)
    low, high = reflected_interval(change, draws)
    if not np.isfinite([low, high]).all():
        return Estimate(change, None, None, a.n)
    ends = [(low, high), (change, change)]
    if a.within is not None and b.within is not None:
        within = b.within[0] - a.within[1], b.within[1] - a.within[0]
        ends.append(unseen_interval(change, a.n if a.fewest is None else a.fewest, within))
    return Estimate(change, min(end[0] for end in ends), max(end[1] for end in ends), a.n)


def _reach(estimate: Estimate) -> tuple[float, float]:
    value, low, high = (end or 0.0 for end in (estimate.value, estimate.low, estimate.high))
    return value - low, high - value


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The first of several runs compared with each of the others."""

    runs: tuple[Run, ...]
    """The first run, then the others."""
    numbers: dict[str, tuple[dict[str, Number], ...]]
    """For each benchmark a tuple over the other runs, each a mapping of names to numbers."""
    notes: tuple[str, ...]
    """Other differences between the runs, and benchmarks that only some of them have."""
    places: Mapping[str, Sequence[tuple[str, str, str]]] = dataclasses.field(default_factory=dict)
    """For each benchmark the table, row and column of the numbers named ``table/row/column``."""

    def to_plain(self) -> dict[str, Any]:
        """Returns the comparison as JSON data, with the ids and files of all images that changed."""
        benchmarks, files = {}, {}
        for name, others in self.numbers.items():
            table = self.runs[0].records[name].passes[0]
            benchmarks[name] = [{title: _plain(number) for title, number in numbers.items()} for numbers in others]
            changed = {i for numbers in others for n in numbers.values() for i in (*(n.lost or ()), *(n.won or ()))}
            files[name] = {
                str(i): {"file": file, "label": int(label)}
                for i, file, label in zip(table.ids.tolist(), table.files, table.labels, strict=True)
                if i in changed
            }
        return {
            "format": FORMAT,
            "runs": [{"place": run.place, "model": _model(run)} for run in self.runs],
            "notes": list(self.notes),
            "benchmarks": benchmarks,
            "changed_images": files,
        }

    def markdown(self, first: int = 5) -> str:
        """Returns Markdown tables that name the ``first`` images of each change; :meth:`to_plain` names all."""
        parts = ["# Comparison", "\n".join(f"- {letter}: {_title(run)}" for letter, run in self._lettered())]
        parts.append(_LEGEND)
        for name, letter, numbers in self._pairs():
            table = self.runs[0].records[name].passes[0]
            files = dict(zip(table.ids.tolist(), table.files, strict=True))
            parts += [f"## {name}: A and {letter}", markdown_table(*_table("number", letter, numbers))]
            changed = [line for title, number in numbers.items() for line in _changed(title, number, files, first)]
            if changed:
                parts.append("Images that changed:\n\n" + "\n".join(changed))
        if self.notes:
            parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def table(self, style: str = "text") -> str:
        """Returns the tables of :meth:`markdown` in a format: ``text``, ``markdown``, ``latex`` or ``html``.

        Raises:
            ConfigError: the format is unknown.
        """
        tables = [_table(name, letter, numbers) for name, letter, numbers in self._pairs()]
        runs = (f"{letter}: {_title(run)}" for letter, run in self._lettered())
        return written_tables(style_of(style), tables, (*runs, _LEGEND, *self.notes))

    def rows(self) -> list[Row]:
        """Returns the differences as tidy rows, see :mod:`RobustART.core.tidy`; ``run`` is ``RUN - FIRST RUN``."""
        places = dict(self._lettered())
        cells = {name: {"/".join(place): place for place in own} for name, own in self.places.items()}
        return [
            tidy_row(
                (f"{places[letter].place} - {places['A'].place}", name, *cells.get(name, {}).get(title, (title, "", ""))),
                {**number.difference.to_plain(), "not_trustworthy": [*number.first.doubts, *number.second.doubts]},
            )
            for name, letter, numbers in self._pairs()
            for title, number in numbers.items()
        ]  # fmt: skip

    def to_pandas(self) -> pandas.DataFrame:
        """Returns :meth:`rows` as a data frame; raises a ConfigError if pandas is not installed."""
        return tidy_frame(self.rows())

    def _pairs(self) -> Iterator[tuple[str, str, dict[str, Number]]]:
        """Yields each benchmark with the letter of each other run and their numbers."""
        letters = [letter for letter, _ in self._lettered()][1:]
        for name, others in self.numbers.items():
            yield from ((name, letter, numbers) for letter, numbers in zip(letters, others, strict=True))

    def _lettered(self) -> Iterator[tuple[str, Run]]:
        for number, run in enumerate(self.runs):
            yield chr(ord("A") + number) if number < 26 else f"run {number + 1}", run


def compare(*places: str | Path) -> Comparison:
    """Compares runs with the first one, image by image.

    For every benchmark that all runs have, the comparison holds each number, its difference with a paired 95 % interval,
    and, for percentages of images, McNemar's exact test and the images that changed.

    Args:
        places: for each run a result file, a folder of result files, or the folder of a run.

    Raises:
        RecordError: there are fewer than two runs, a run occurs twice, a file is missing or damaged, the runs have no
            benchmark in common, or their images, seed, options or attacks differ; the message gives the difference.
    """
    if len(places) < 2:
        raise RecordError(f"a comparison needs two runs or more, got {len(places)}")
    check_distinct([str(place) for place in places], [result_files(place) for place in places])
    runs = [read_run(place) for place in places]
    shared = [name for name in runs[0].records if all(name in run.records for run in runs)]
    if not shared:
        held = "; ".join(f"{run.place} has {', '.join(run.records)}" for run in runs)
        raise RecordError(f"these runs have no benchmark in common: {held}")
    notes = [
        f"{name} is left out: {run.place} has it, but not all runs do"
        for run in runs
        for name in run.records
        if name not in shared
    ]
    for run in runs[1:]:
        for name in shared:
            pair = runs[0].place, run.place
            notes += [f"{run.place}, {row}" for row in check_comparable(runs[0].records[name], run.records[name], pair)]
    summaries = [summarize({name: run.records[name] for name in shared}) for run in runs]
    notes += [note for found in summaries for summary in found.values() for note in summary.notes]
    numbers = {}
    for name in shared:
        ids = runs[0].records[name].passes[0].ids.tolist()
        numbers[name] = tuple(compare_summaries(summaries[0][name], other[name], ids) for other in summaries[1:])
    cells = {name: summaries[0][name].places("") for name in shared}
    return Comparison(tuple(runs), numbers, tuple(dict.fromkeys(notes)), cells)


def _model(run: Run) -> Mapping[str, Any]:
    return next(iter(run.records.values())).header["conditions"]["model"]


def _title(run: Run) -> str:
    model = _model(run)
    return f"{model['source']} (weights {model['weights']}), {run.place}"


def _plain(number: Number) -> dict[str, Any]:
    data: dict[str, Any] = {
        "first": number.first.to_plain(), "second": number.second.to_plain(), "difference": number.difference.to_plain(),
    }  # fmt: skip
    if number.lost is not None and number.won is not None:
        data |= {"lost": list(number.lost), "won": list(number.won), "p": number.p, "p_holm": number.p_holm}
    return data


def _table(head: str, letter: str, numbers: Mapping[str, Number]) -> tuple[list[str], list[list[str]]]:
    columns = [head, "A", letter, f"{letter} - A", "lost", "won", "p", "p (Holm)"]
    return columns, [_row(title, number) for title, number in numbers.items()]


def _row(title: str, number: Number) -> list[str]:
    change = number.difference
    cells = [title, _value(number.first), _value(number.second)]
    if change.value is None:
        cells.append(str(change))
    else:
        known = change.low is not None and change.high is not None
        cells.append(f"{change.value:+.2f}" + (f" [{change.low:+.2f}, {change.high:+.2f}]" if known else ""))
    if number.lost is None or number.won is None:
        return [*cells, "", "", "", ""]
    return [*cells, str(len(number.lost)), str(len(number.won)), f"{number.p:.2g}", f"{number.p_holm:.2g}"]


def _value(estimate: Estimate) -> str:
    return "undefined" if estimate.value is None else f"{estimate.value:.2f}{doubt(estimate.doubts)}"


def _changed(title: str, number: Number, files: Mapping[int, str], first: int) -> Iterator[str]:
    for what, ids in (("lost", number.lost), ("won", number.won)):
        if ids:
            names = ", ".join(files[i] for i in ids[:first])
            more = f", and {len(ids) - first} more" if len(ids) > first else ""
            yield f"- {title}, {what} {len(ids)}: {names}{more}" if first else f"- {title}, {what} {len(ids)}"


def dump(comparison: Comparison) -> str:
    """Returns a comparison as a JSON string that ends in a newline."""
    return json.dumps(comparison.to_plain(), allow_nan=False) + "\n"
