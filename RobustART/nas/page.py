"""Rank correlations of sub-networks' factors with their results, as data, as Markdown and as a page."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from RobustART.core.tables import markdown_table
from RobustART.errors import RecordError, UndefinedError
from RobustART.metrics.paired import holm
from RobustART.metrics.spec import face
from RobustART.nas.rows import Row, columns_of
from RobustART.report.plotting import SERIES, Panel, plot, slug
from RobustART.report.rendering import ARROWS, render_page
from RobustART.report.tables import Table, fact_table
from RobustART.report.text import Estimate, both, short

FORMAT = "robustart-nas-analysis/1"
COSTS = ("macs", "parameters")
MEANING = (
    "Spearman's rank correlation, with its 95 % bootstrap interval over sub-networks: 1 is increasing, -1 "
    "decreasing, 0 neither. Sub-networks differ in several factors at once, and their multiply-adds (macs) and parameters "
    "follow from the others: these are associations among these sub-networks, not causes."
)
LEVEL = 0.05
"""Adjusted p value below which a correlation is bold."""
TITLE = "Sub-networks: what goes with robustness"
BINS = 8
"""Largest number of medians that a line joins."""


@dataclasses.dataclass(frozen=True)
class Number:
    """One measured number of all sub-networks."""

    benchmark: str
    """Its benchmark."""
    name: str
    """Its name in that benchmark."""
    values: tuple[float | None, ...]
    """One value for each sub-network; None where it is undefined."""
    correlations: Mapping[str, dict[str, Any]]
    """Its correlation with each factor."""

    @property
    def better(self) -> str | None:
        """The better direction: ``high``, ``low``, or None if it is unknown."""
        return face(self.benchmark).metric(self.name).better

    @property
    def title(self) -> str:
        """Its name with an arrow in the better direction."""
        return f"{self.name} {ARROWS.get(self.better or '', '')}".rstrip()


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Factors and numbers of all sub-networks, and their correlations."""

    header: Mapping[str, Any]
    """Header of the rows."""
    factors: Mapping[str, tuple[float, ...]]
    """Factors that differ between sub-networks: one value for each sub-network."""
    same: Mapping[str, float]
    """Factors that are the same in all."""
    numbers: tuple[Number, ...]
    """The measured numbers."""
    tests: int
    """Number of correlations, for which p values are adjusted."""

    @classmethod
    def of(
        cls, header: Mapping[str, Any], rows: Sequence[Row],
        correlate: Callable[[Sequence[float], Sequence[float]], Mapping[str, Any]],
    ) -> Analysis:  # fmt: skip
        """Returns the analysis of rows; ``correlate`` returns an estimate for two lists of numbers.

        Raises:
            RecordError: there are too few sub-networks.
        """
        if len(rows) < 5:
            raise RecordError(
                f"there are {len(rows)} sub-networks; correlations need at least 5, and reliable ones hundreds"
            )
        every = {name: tuple(float(row["factors"][name]) for row in rows) for name in rows[0]["factors"]}
        every |= {name: tuple(float(row[name]) for row in rows) for name in COSTS}
        differ = {name: values for name, values in every.items() if len(set(values)) > 1}
        same = {name: values[0] for name, values in every.items() if name not in differ}
        numbers = []
        for benchmark, name in columns_of(rows):
            values = tuple(row["numbers"].get(benchmark, {}).get(name) for row in rows)
            found = {factor: _estimate(correlate, own, values) for factor, own in differ.items()}
            numbers.append(Number(benchmark, name, values, found))
        tested = [estimate for number in numbers for estimate in number.correlations.values() if "p" in estimate]
        for estimate, adjusted in zip(tested, holm([estimate["p"] for estimate in tested]), strict=True):
            estimate["p_holm"] = float(adjusted)
        return cls(header, differ, same, tuple(numbers), len(tested))

    @property
    def count(self) -> int:
        """Number of sub-networks."""
        return len(next(iter(self.factors.values())))

    @property
    def benchmarks(self) -> dict[str, list[Number]]:
        """The numbers by benchmark."""
        found: dict[str, list[Number]] = {}
        for number in self.numbers:
            found.setdefault(number.benchmark, []).append(number)
        return found

    def notes(self) -> list[str]:
        """Returns the notes above the tables."""
        space, images = self.header["space"]["name"], self.header["statistics"]["images"]
        notes = [
            f"{self.count} sub-networks of one supernet of the space {space}, which is RobustART's own design. "
            f"BatchNorm's statistics were measured on {images} training images for each.",
            MEANING,
            f"Bold correlations differ from 0: p < {LEVEL} after Holm's method for all {self.tests} tests of this "
            "analysis. Intervals are those of single correlations.",
        ]
        notes += [f"{name} is {value:g} in all sub-networks." for name, value in self.same.items()]
        return notes

    def json(self) -> str:
        """Returns the analysis as JSON."""
        numbers = [
            {"benchmark": n.benchmark, "name": n.name, "better": n.better, "correlations": dict(n.correlations)}
            for n in self.numbers
        ]
        data = {
            "format": FORMAT, "subnets": self.count, "rows": dict(self.header), "same": dict(self.same),
            "tests": self.tests,
        }  # fmt: skip
        return json.dumps({**data, "spearman": numbers}, indent=2) + "\n"

    def markdown(self) -> str:
        """Returns the analysis as Markdown; correlations that differ from 0 after Holm's method are bold."""
        parts = [f"# {TITLE}", *self.notes()]
        for benchmark, numbers in self.benchmarks.items():
            rows = []
            for number in numbers:
                cells = [f"**{both(e)}**" if _clear(e) else both(e) for e in number.correlations.values()]
                rows.append([number.title, *cells])
            parts += [f"## {benchmark}", markdown_table([benchmark, *self.factors], rows)]
        return "\n\n".join(parts) + "\n"

    def page(self) -> str:
        """Returns the analysis as a self-contained HTML page."""
        parts = [
            {
                "id": slug(benchmark), "heading": benchmark, "table": self._table(benchmark, numbers),
                "figures": list(self._plots(numbers)),
            }
            for benchmark, numbers in self.benchmarks.items()
        ]  # fmt: skip
        return render_page(
            "subnets.html.j2", title="RobustART sub-networks", name=TITLE, notes=self.notes(), parts=parts
        )

    def _table(self, benchmark: str, numbers: Sequence[Number]) -> Table:
        rows = [
            (number.title, [{**e, "class": "clear"} if _clear(e) else e for e in number.correlations.values()])
            for number in numbers
        ]
        caption = (
            f"Correlation of each number of {benchmark} with each factor; bold: p < {LEVEL} after Holm's method for "
            f"{self.tests} tests"
        )
        return fact_table(["", *self.factors], rows, caption, "sortable")

    def _plots(self, numbers: Sequence[Number]) -> Iterator[tuple[list[Panel], str]]:
        """Yields plots and a caption for each robust accuracy, or for the benchmark's headline number."""
        names = [number.name for number in numbers]
        spec = face(numbers[0].benchmark)
        attacks = [name for name in names if spec.headlines is not None and spec.depends_on(name)]
        for number in numbers:
            if not (number.name in attacks if attacks else number.name == spec.headline(names)):
                continue
            plots = [self._scatter(number, factor) for factor in self.factors]
            caption = f"{number.benchmark}: {number.title}. Points are sub-networks, the line joins medians."
            yield [plot for plot in plots if plot is not None], caption

    def _scatter(self, number: Number, factor: str) -> Panel | None:
        """Returns the plot of a number against a factor; None if no number is defined."""
        pairs = sorted((x, y) for x, y in zip(self.factors[factor], number.values, strict=True) if y is not None)
        if not pairs:
            return None
        estimate = number.correlations[factor]
        heading = f"{factor}: \N{GREEK SMALL LETTER RHO} {both(estimate)}"
        label = f"{number.benchmark} {number.title} against {heading}, of {len(pairs)} sub-networks"
        name = f"{slug(number.benchmark)}-{slug(number.name)}-{factor}"
        with plot(name, label, 4.2, 3.0) as (figure, panel):
            axes = figure.add_axes((0.12, 0.16, 0.85, 0.72))
            axes.plot(*zip(*pairs, strict=True), linestyle="", marker="o", markersize=4, color=SERIES[0], alpha=0.45)
            axes.plot(*zip(*medians(pairs), strict=True), color=SERIES[1], marker="D", markersize=4)
            if factor in COSTS:
                axes.set_xscale("log")
                axes.minorticks_off()
                ticks = [pairs[0][0], pairs[len(pairs) // 2][0], pairs[-1][0]]
                axes.set_xticks(ticks, [short(tick) for tick in ticks])
            elif len(choices := sorted({x for x, _ in pairs})) <= BINS:
                axes.set_xticks(choices, [f"{choice:g}" for choice in choices])
            axes.set_title(heading, loc="left", fontsize=11)
            axes.set_xlabel(factor)
            axes.margins(0.06)
        return panel


def _estimate(
    correlate: Callable[[Sequence[float], Sequence[float]], Mapping[str, Any]], factor: Sequence[float],
    values: Sequence[float | None],
) -> dict[str, Any]:  # fmt: skip
    """Returns a correlation, or the reason why it is undefined."""
    pairs = [(x, y) for x, y in zip(factor, values, strict=True) if y is not None]
    try:
        return dict(correlate([x for x, _ in pairs], [y for _, y in pairs]))
    except UndefinedError as error:
        return {"value": None, "low": None, "high": None, "n": len(pairs), "reason": str(error)}


def _clear(estimate: Estimate) -> bool:
    """Returns whether a correlation differs from 0 after the correction for all tests."""
    return bool(estimate.get("p_holm", 1.0) < LEVEL)


def medians(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns medians of pairs: at each x if there are few, else of neighbours; pairs of one x are never separated."""
    by_x: dict[float, list[float]] = {}
    for x, y in sorted(pairs):
        by_x.setdefault(x, []).append(y)
    size = 1 if len(by_x) <= BINS else max(5, math.ceil(len(pairs) / BINS))
    found, xs, ys = [], list[float](), list[float]()
    for number, (x, own) in enumerate(by_x.items(), 1):
        xs += [x] * len(own)
        ys += own
        if len(ys) >= size or number == len(by_x):
            found.append((statistics.median(xs), statistics.median(ys)))
            xs, ys = [], []
    return found
