"""Specification of a benchmark: its metrics, tables and axes, and the function from records to numbers.

The registry :data:`BENCHMARKS` lives here, below the modules that fill it: those of :mod:`RobustART.benchmarks` add their
specs when the first look-up imports them. Metrics, comparisons and pages read a spec; none of them knows a benchmark by
name. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.results import Summary
from RobustART.metrics.trust import answer_signs, doubted_summary, settled
from RobustART.records.lines import Records
from RobustART.registry import Registry

if TYPE_CHECKING:
    from RobustART.benchmarks.building import Benchmark
    from RobustART.generation.layouts import Layout

T = TypeVar("T")
Direction = Literal["high", "low"]
Unit = Literal["percent", "ratio", "distance", "grey levels"]
"""``percent`` is in [0, 100]; a ``ratio`` to another model's number is in percent without an upper bound."""
Noise = Literal["none", "natural", "system", "adversarial"]
Entry = Mapping[str, Any]
"""Entry of one benchmark in ``report.json``."""
PlainEstimate = Mapping[str, Any]
"""An :class:`~RobustART.metrics.results.Estimate` as plain data: ``value``, ``low``, ``high``, ``n``."""


@dataclasses.dataclass(frozen=True)
class MetricSpec:
    """One metric of a benchmark, or one column of its tables."""

    name: str
    """Name in reports. It may continue after a space: ``clean_accuracy NAME`` is that of the model ``NAME``."""
    meaning: str = ""
    """Meaning in one sentence."""
    better: Direction | None = None
    """Which direction is better; None if neither is."""
    unit: Unit = "percent"
    """Unit of the values."""
    headline: bool = False
    """Whether it may represent the benchmark; the first such metric in a report does."""
    lowest: float = 0.0
    """Lower bound of the values."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the values."""
        return self.lowest, 100.0 if self.unit == "percent" else math.inf


def _unknown(name: str) -> MetricSpec:
    return MetricSpec(name, unit="ratio", lowest=-math.inf)


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """One table of a benchmark."""

    name: str
    """First word of its key in reports, which may continue after a space: ``transfer_success fgsm/8/255``."""
    title: str
    """Heading."""
    columns: MetricSpec | tuple[MetricSpec, ...]
    """Spec of all columns, or one spec for each."""
    meaning: str = ""
    """Meaning in one sentence."""
    rows: str = ""
    """Kind of its rows, such as ``corruption``."""
    heat: bool = False
    """Whether a page shows it as a heat map; its numbers are then percentages on one scale."""
    board: bool = False
    """Whether its cells are columns of a leaderboard."""
    listed: tuple[str, ...] = ()
    """Columns that the results of sub-networks include; ``*`` is all."""
    naming: str = "{table}/{row}/{column}"
    """Template of a cell's name among the numbers of the benchmark."""

    def column(self, name: str) -> MetricSpec:
        """Returns the spec of a column."""
        if isinstance(self.columns, MetricSpec):
            return self.columns
        return next((spec for spec in self.columns if spec.name == name), _unknown(name))

    def cells(self, key: str, table: Mapping[str, Mapping[str, T]], columns: Collection[str] = ("*",)) -> dict[str, T]:
        """Returns the cells of some columns by the names that :attr:`naming` gives them.

        Args:
            key: key of the table in the report.
            table: its cells by row and column.
            columns: names of the columns; ``*`` is all.
        """
        return {
            self.naming.format(table=key, row=row, column=column): cell
            for row, line in table.items()
            for column, cell in line.items()
            if "*" in columns or column in columns
        }

    def cell(self, name: str) -> MetricSpec | None:
        """Returns the spec of a cell by the name that :attr:`naming` gives it; None if it names no cell of this table."""
        if self.naming.startswith("{table}"):
            return self.column(name.rpartition("/")[2]) if re.match(rf"{re.escape(self.name)}[ /]", name) else None
        if isinstance(self.columns, MetricSpec):
            return self.columns if " " in name else None
        return next((column for column in self.columns if name.endswith(f" {column.name}")), None)


class Axis(NamedTuple):
    """One axis of the radar: an accuracy, so higher is more robust."""

    name: str
    """Label of one or two words."""
    what: str
    """Description of the number."""
    estimate: PlainEstimate
    """The number."""


class Headline(NamedTuple):
    """A number that represents a benchmark."""

    name: str
    """Name of the number."""
    estimate: PlainEstimate
    """The number."""
    spec: MetricSpec
    """Spec of the number."""


@dataclasses.dataclass(frozen=True)
class Companions:
    """Other records that the numbers of a benchmark may need."""

    run: Mapping[str, Records] = dataclasses.field(default_factory=dict)
    """Records of the other benchmarks of the same model, by name."""
    baseline: Records | None = None
    """Records of the baseline model on the same benchmark; AlexNet in papers."""


def _no_axes(entry: Entry) -> tuple[()]:
    return ()


def _no_check(records: Records, place: str) -> None:
    pass


def _no_coordinates(cell: str) -> dict[str, Any]:
    return {}


def _whole(metric: str) -> None:
    return None


@dataclasses.dataclass(frozen=True)
class BenchmarkSpec:
    """Everything the package knows of a benchmark. Only :attr:`build` imports torch."""

    name: str
    """Name in configurations, and of the result file."""
    build: Callable[..., Benchmark]
    """(dataset, *, options) -> the passes to run; its keyword-only parameters are the benchmark's options."""
    summarize: Callable[..., Summary]
    """(records) -> summary, or (records, companions) -> summary if :attr:`companions` is set."""
    metrics: tuple[MetricSpec, ...]
    """Metrics in order of precedence: the first headline metric in a report represents the benchmark."""
    title: str = ""
    """Name in papers; :attr:`name` by default."""
    noise: Noise = "natural"
    """Family of noise; ``none`` for clean images."""
    tables: tuple[TableSpec, ...] = ()
    """Tables."""
    companions: bool = False
    """Whether :attr:`summarize` takes :class:`Companions`."""
    baseline: bool = False
    """Whether its numbers can be normalised by a baseline's result file."""
    check: Callable[[Records, str], None] = _no_check
    """(records, their name in the message); raises a RecordError if the passes or cells are not of this benchmark."""
    coordinates: Callable[[str], dict[str, Any]] = _no_coordinates
    """Returns a cell's coordinates by its name, for result files of format 1, whose headers have none."""
    axes: Callable[[Entry], Iterable[Axis]] = _no_axes
    """Returns the axes of the radar from an entry of ``report.json``."""
    headlines: Callable[[Entry], Iterable[Headline]] | None = None
    """Returns the numbers that represent the benchmark from an entry of ``report.json``; None is its headline metric."""
    further: Callable[[Entry], Iterable[Headline]] = _no_axes
    """Returns numbers that a page's first table shows beside the metrics, from an entry of ``report.json``."""
    overview_note: str = ""
    """Note below that table."""
    section: str = ""
    """Section of a page: ``corruptions``, ``attacks`` or ``systems``; empty for tables alone."""
    groups: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """Rows of the heat map by the heading above them."""
    layout: Callable[..., Layout] | None = None
    """(dataset, *, options) -> files that ``robustart noise generate`` writes; None if it cannot be generated."""
    evaluator: str = ""
    """Class of :mod:`RobustART.metrics` that reads the result files."""
    classes: Callable[[], tuple[int, ...]] | None = None
    """Returns the classes, of ImageNet's 1,000, that compete; None is all, or other classes."""
    depends_on: Callable[[str], Collection[str] | None] = _whole
    """Returns the attacked cells that a number depends on, by its name; None is all of them."""

    def metric(self, name: str) -> MetricSpec:
        """Returns the spec of a number by its name in reports; an empty spec if the name is unknown."""
        own = (spec for spec in self.metrics if name == spec.name or name.startswith(f"{spec.name} "))
        table = self.table_of(name)
        return next(own, None) or (table.cell(name) if table else None) or _unknown(name)

    def table_of(self, name: str) -> TableSpec | None:
        """Returns the table of a cell by the cell's name among the numbers; None if no table has it."""
        return next((table for table in self.tables if table.cell(name) is not None), None)

    def board_numbers(self, entry: Entry) -> dict[str, PlainEstimate]:
        """Returns the columns of a leaderboard, by name, from an entry of ``report.json``."""
        return self._numbers(entry, lambda table: ("*",) if table.board else ())

    def listed_numbers(self, entry: Entry) -> dict[str, PlainEstimate]:
        """Returns the numbers that results of sub-networks include, by name, from an entry of ``report.json``."""
        return self._numbers(entry, lambda table: table.listed)

    def _numbers(self, entry: Entry, chosen: Callable[[TableSpec], Collection[str]]) -> dict[str, PlainEstimate]:
        found: dict[str, PlainEstimate] = {**entry["metrics"]}
        for key, cells in entry["tables"].items():
            table = self.table(key)
            found |= table.cells(key, cells, chosen(table))
        return {name: settled(estimate) for name, estimate in found.items()}

    def table(self, key: str) -> TableSpec:
        """Returns the spec of a table by its key in reports; an empty spec if the key is unknown."""
        first = key.partition(" ")[0]
        known = next((table for table in self.tables if table.name == first), None)
        return known or TableSpec(first, key, ())

    def headline(self, names: Iterable[str]) -> str | None:
        """Returns the name, among those in a report, that represents the benchmark; None if ``names`` is empty.

        Of a mapping of names to plain estimates, one without a value does not, unless none has a value.
        """
        given = list(names)
        if isinstance(names, Mapping):
            given = [name for name, estimate in names.items() if estimate["value"] is not None] or given
        first = [spec.name for spec in self.metrics if spec.headline]
        return next((name for name in first if name in given), given[0] if given else None)

    def shown(self, entry: Entry) -> list[Headline]:
        """Returns the numbers that represent the benchmark in an entry of ``report.json``.

        A number that is not trustworthy has a reason instead of a value, here and in all numbers below.
        """
        if self.headlines is not None:
            return [row._replace(estimate=settled(row.estimate)) for row in self.headlines(entry)]
        name = self.headline(entry["metrics"])
        return [] if name is None else [Headline(name, settled(entry["metrics"][name]), self.metric(name))]

    def overview(self, entry: Entry) -> list[Headline]:
        """Returns the metrics of an entry of ``report.json``, and the numbers of :attr:`further`."""
        metrics = [Headline(name, estimate, self.metric(name)) for name, estimate in entry["metrics"].items()]
        return [row._replace(estimate=settled(row.estimate)) for row in (*metrics, *self.further(entry))]

    def spokes(self, entry: Entry) -> list[Axis]:
        """Returns the axes of the radar from an entry of ``report.json``."""
        return [axis._replace(estimate=settled(axis.estimate)) for axis in self.axes(entry)]

    def numbers(self, records: Records, companions: Companions | None = None) -> Summary:
        """Returns the summary of records.

        Raises:
            RecordError, UndefinedError: the records do not define the numbers.
        """
        args = (companions or Companions(),) if self.companions else ()
        return doubted_summary(self.summarize(records, *args), answer_signs(records))


def _check_spec(name: str, entry: Any) -> None:
    if not isinstance(entry, BenchmarkSpec):
        raise ConfigError(f"the benchmark {name!r} must be a BenchmarkSpec, got {entry!r}")


BENCHMARKS: Registry[BenchmarkSpec] = Registry("benchmark", ("RobustART.benchmarks",), _check_spec)
"""Benchmarks by name."""


def add_benchmark(spec: BenchmarkSpec) -> BenchmarkSpec:
    """Registers a benchmark under its name, and returns it."""
    return BENCHMARKS.add(spec.name, spec)


def spec_of(name: str) -> BenchmarkSpec:
    """Returns the spec of a result file's or report's benchmark.

    Raises:
        RecordError: the benchmark is unknown.
    """
    if name not in BENCHMARKS:
        raise RecordError(
            f"a result file is of the benchmark {name!r}; known: {', '.join(sorted(BENCHMARKS))}. Import your own "
            "benchmark with --import MODULE"
        )
    return BENCHMARKS[name]


def face(name: str) -> BenchmarkSpec:
    """Returns the spec of a report's benchmark; an empty spec if the benchmark is unknown."""

    def unknown(*_: Any, **__: Any) -> Any:
        spec_of(name)

    return BENCHMARKS[name] if name in BENCHMARKS else BenchmarkSpec(name, unknown, unknown, ())


def summarize(runs: Mapping[str, Records], baseline: Records | None = None) -> dict[str, Summary]:
    """Returns the summaries of several benchmarks of one model, by name.

    Args:
        runs: records by name of their benchmark.
        baseline: records of the baseline model, which normalise the numbers of their benchmark.

    Raises:
        RecordError: a benchmark is unknown, or the baseline has other options.
    """
    found = {}
    for name, records in runs.items():
        own = baseline if baseline is not None and baseline.header["benchmark"] == name else None
        found[name] = spec_of(name).numbers(records, Companions(runs, own))
    return found
