"""What a benchmark says of itself: numbers, tables, axes, and how records become numbers.

The registry :data:`BENCHMARKS` is here, below what fills it: the modules of :mod:`RobustART.benchmarks` add their specs
when they are imported, at the first look-up. Metrics, comparisons and pages ask a spec; none of them knows a benchmark by
name. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from RobustART.errors import RecordError
from RobustART.metrics.results import Summary
from RobustART.records.lines import Records
from RobustART.registry import Registry

if TYPE_CHECKING:
    from RobustART.benchmarks.building import Benchmark
    from RobustART.generation.layouts import Layout

T = TypeVar("T")
Direction = Literal["high", "low"]
Unit = Literal["percent", "ratio", "distance", "grey levels"]
"""``percent`` is from 0 to 100; a ``ratio`` is over another model's number, in percent without an upper end."""
Noise = Literal["none", "natural", "system", "adversarial"]
Entry = Mapping[str, Any]
"""What ``report.json`` holds of one benchmark."""
PlainEstimate = Mapping[str, Any]
"""An :class:`~RobustART.metrics.results.Estimate` as plain data: ``value``, ``low``, ``high``, ``n``."""


@dataclasses.dataclass(frozen=True)
class MetricSpec:
    """One number of a benchmark, or of one column of its tables."""

    name: str
    """Its name in reports. A name may continue after a space: ``clean_accuracy NAME`` is that of the model ``NAME``."""
    meaning: str = ""
    """What it means, in one sentence."""
    better: Direction | None = None
    """Which way it is better; None where neither is."""
    unit: Unit = "percent"
    """What it is measured in."""
    headline: bool = False
    """Whether it may represent the benchmark; the first one that a report has does."""
    lowest: float = 0.0
    """The least value that it can have."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that it can have."""
        return self.lowest, 100.0 if self.unit == "percent" else math.inf


def _unknown(name: str) -> MetricSpec:
    return MetricSpec(name, unit="ratio", lowest=-math.inf)


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """One table of a benchmark: rows of columns of numbers."""

    name: str
    """First word of its key in reports, which may continue after a space: ``transfer_success fgsm/8/255``."""
    title: str
    """Its heading."""
    columns: MetricSpec | tuple[MetricSpec, ...]
    """What all columns hold, or one spec for each by name."""
    meaning: str = ""
    """What it shows, in one sentence."""
    rows: str = ""
    """What a row is, such as ``corruption``."""
    heat: bool = False
    """Whether a page colours its numbers, which then are percentages on one scale."""
    board: bool = False
    """Whether a leaderboard has its cells as columns."""
    listed: tuple[str, ...] = ()
    """The columns that rows of sub-networks hold; ``*`` is all."""
    naming: str = "{table}/{row}/{column}"
    """What one of its cells is called among the numbers of a benchmark."""

    def column(self, name: str) -> MetricSpec:
        """Returns the spec of a column."""
        if isinstance(self.columns, MetricSpec):
            return self.columns
        return next((spec for spec in self.columns if spec.name == name), _unknown(name))

    def cells(self, key: str, table: Mapping[str, Mapping[str, T]], columns: Collection[str] = ("*",)) -> dict[str, T]:
        """Returns the cells of some columns by the names that :attr:`naming` gives them; ``key`` is the table's."""
        return {
            self.naming.format(table=key, row=row, column=column): cell
            for row, line in table.items()
            for column, cell in line.items()
            if "*" in columns or column in columns
        }

    def cell(self, name: str) -> MetricSpec | None:
        """Returns the spec of a cell by the name that :attr:`naming` gives it; None if it is no name of a cell here."""
        if self.naming.startswith("{table}"):
            return self.column(name.rpartition("/")[2]) if re.match(rf"{re.escape(self.name)}[ /]", name) else None
        if isinstance(self.columns, MetricSpec):
            return self.columns if " " in name else None
        return next((column for column in self.columns if name.endswith(f" {column.name}")), None)


class Axis(NamedTuple):
    """One axis of the radar: an accuracy, where more is more robust."""

    name: str
    """A word or two."""
    what: str
    """What the number is."""
    estimate: PlainEstimate
    """The number."""


class Headline(NamedTuple):
    """A number that represents a benchmark."""

    name: str
    """Its name."""
    estimate: PlainEstimate
    """The number."""
    spec: MetricSpec
    """What it is."""


@dataclasses.dataclass(frozen=True)
class Companions:
    """What the numbers of a benchmark may need beside its own records."""

    run: Mapping[str, Records] = dataclasses.field(default_factory=dict)
    """Records of the other benchmarks of the same model, by name."""
    baseline: Records | None = None
    """Records of the same benchmark of the model, AlexNet in papers, that numbers are divided by."""


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
    """All that the package knows of a benchmark: its face needs no torch, only :attr:`build` imports it."""

    name: str
    """Its name in configurations, and of its result file."""
    build: Callable[..., Benchmark]
    """(dataset, *, options) -> the passes to run; its keyword-only parameters are the benchmark's options."""
    summarize: Callable[..., Summary]
    """From records to numbers: (records) -> summary, or (records, companions) where :attr:`companions` is set."""
    metrics: tuple[MetricSpec, ...]
    """Its numbers, in the order in which the first one a report has is its headline."""
    title: str = ""
    """As papers call it; the name by default."""
    noise: Noise = "natural"
    """Family of noise; ``none`` for images without any."""
    tables: tuple[TableSpec, ...] = ()
    """Its tables."""
    companions: bool = False
    """Whether :attr:`summarize` takes :class:`Companions`."""
    baseline: bool = False
    """Whether its numbers can be divided by those of a baseline's result file."""
    check: Callable[[Records, str], None] = _no_check
    """Raises a RecordError, naming the place, if records have not the passes and cells of this benchmark."""
    coordinates: Callable[[str], dict[str, Any]] = _no_coordinates
    """The coordinates of a cell by its name, for result files of format 1, whose headers have none."""
    axes: Callable[[Entry], Iterable[Axis]] = _no_axes
    """The axes of the radar, from an entry of ``report.json``."""
    headlines: Callable[[Entry], Iterable[Headline]] | None = None
    """What represents the benchmark, from an entry of ``report.json``; None is its headline metric."""
    further: Callable[[Entry], Iterable[Headline]] = _no_axes
    """Numbers beside the metrics in a page's first table, from an entry of ``report.json``."""
    overview_note: str = ""
    """What a reader must know of them."""
    section: str = ""
    """The section that a page draws of it: ``corruptions``, ``attacks``, ``systems``; empty for tables alone."""
    groups: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """Rows of its heat map by the heading above them."""
    layout: Callable[..., Layout] | None = None
    """How ``robustart noise generate`` stores it: (dataset, *, options) -> layout; None if it cannot be generated."""
    evaluator: str = ""
    """Class of :mod:`RobustART.metrics` that reads its result files."""
    classes: Callable[[], tuple[int, ...]] | None = None
    """Of ImageNet's 1,000 classes those that it has; None is all, or other classes."""
    depends_on: Callable[[str], Collection[str] | None] = _whole
    """The cells with an attack that a number depends on, by its name; None is all of the benchmark."""

    def metric(self, name: str) -> MetricSpec:
        """Returns the spec of a number by its name in reports; one without meaning and direction if it is unknown."""
        own = (spec for spec in self.metrics if name == spec.name or name.startswith(f"{spec.name} "))
        table = self.table_of(name)
        return next(own, None) or (table.cell(name) if table else None) or _unknown(name)

    def table_of(self, name: str) -> TableSpec | None:
        """Returns the table of a cell by the name it has among the numbers; None if it is no such name."""
        return next((table for table in self.tables if table.cell(name) is not None), None)

    def board_numbers(self, entry: Entry) -> dict[str, PlainEstimate]:
        """Returns the numbers of an entry of ``report.json`` that a leaderboard has as columns, by name."""
        return {**entry["metrics"], **self._cells(entry, lambda table: ("*",) if table.board else ())}

    def listed_numbers(self, entry: Entry) -> dict[str, PlainEstimate]:
        """Returns the numbers of an entry of ``report.json`` that rows of sub-networks hold, by name."""
        return {**entry["metrics"], **self._cells(entry, lambda table: table.listed)}

    def _cells(self, entry: Entry, chosen: Callable[[TableSpec], Collection[str]]) -> dict[str, PlainEstimate]:
        found: dict[str, PlainEstimate] = {}
        for key, cells in entry["tables"].items():
            table = self.table(key)
            found |= table.cells(key, cells, chosen(table))
        return found

    def table(self, key: str) -> TableSpec:
        """Returns the spec of a table by its key in reports; one without meaning if it is unknown."""
        first = key.partition(" ")[0]
        known = next((table for table in self.tables if table.name == first), None)
        return known or TableSpec(first, key, ())

    def headline(self, names: Iterable[str]) -> str | None:
        """Returns the number that represents the benchmark among those of a report; None if there is none."""
        given = list(names)
        first = [spec.name for spec in self.metrics if spec.headline]
        return next((name for name in first if name in given), given[0] if given else None)

    def shown(self, entry: Entry) -> list[Headline]:
        """Returns what represents the benchmark in an entry of ``report.json``."""
        if self.headlines is not None:
            return list(self.headlines(entry))
        name = self.headline(entry["metrics"])
        return [] if name is None else [Headline(name, entry["metrics"][name], self.metric(name))]

    def overview(self, entry: Entry) -> list[Headline]:
        """Returns the metrics of an entry of ``report.json``, and what :attr:`further` adds."""
        metrics = [Headline(name, estimate, self.metric(name)) for name, estimate in entry["metrics"].items()]
        return [*metrics, *self.further(entry)]

    def numbers(self, records: Records, companions: Companions | None = None) -> Summary:
        """Returns the numbers of records.

        Raises:
            RecordError, UndefinedError: the records do not define them.
        """
        return self.summarize(records, companions or Companions()) if self.companions else self.summarize(records)


def _check_spec(name: str, entry: Any) -> None:
    if not isinstance(entry, BenchmarkSpec):
        raise TypeError(f"the benchmark {name!r} must be a BenchmarkSpec, got {entry!r}")


BENCHMARKS: Registry[BenchmarkSpec] = Registry("benchmark", ("RobustART.benchmarks",), _check_spec)
"""Names to benchmarks."""


def add_benchmark(spec: BenchmarkSpec) -> BenchmarkSpec:
    """Adds a benchmark under its name, and returns it."""
    return BENCHMARKS.add(spec.name, spec)


def spec_of(name: str) -> BenchmarkSpec:
    """Returns the spec of a result file's or report's benchmark.

    Raises:
        RecordError: no benchmark of this name is known.
    """
    if name not in BENCHMARKS:
        raise RecordError(
            f"a result file is of the benchmark {name!r}; known: {', '.join(sorted(BENCHMARKS))}. A benchmark of your own "
            "is imported with --import MODULE"
        )
    return BENCHMARKS[name]


def face(name: str) -> BenchmarkSpec:
    """Returns the spec of a report's benchmark; one that knows nothing if no benchmark of this name is imported."""

    def unknown(*_: Any, **__: Any) -> Any:
        spec_of(name)

    return BENCHMARKS[name] if name in BENCHMARKS else BenchmarkSpec(name, unknown, unknown, ())


def summarize(runs: Mapping[str, Records], baseline: Records | None = None) -> dict[str, Summary]:
    """Returns the numbers of several benchmarks of one model, by name.

    Args:
        runs: records by the name of their benchmark.
        baseline: records that the numbers of the benchmark they are of are divided by.

    Raises:
        RecordError: no benchmark of this name is known, or the baseline is of other options.
    """
    found = {}
    for name, records in runs.items():
        own = baseline if baseline is not None and baseline.header["benchmark"] == name else None
        found[name] = spec_of(name).numbers(records, Companions(runs, own))
    return found
