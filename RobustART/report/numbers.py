"""The numbers of a report by name: ``imagenet_c.mCE``, ``imagenet_c.top1[fog 3]``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from RobustART.core.tidy import Row, tidy_row
from RobustART.errors import ConfigError, nearest
from RobustART.metrics.spec import MetricSpec, face
from RobustART.report.text import Data, Estimate


class Number(NamedTuple):
    """One number of a report."""

    benchmark: str
    """Name of the benchmark."""
    metric: str
    """Metric, or key of the table."""
    row: str
    """Row of the table; empty for a metric."""
    column: str
    """Column of the table; empty for a metric."""
    board: str
    """Name on a leaderboard."""
    estimate: Estimate
    """The number."""
    spec: MetricSpec
    """Its spec."""

    @property
    def flat(self) -> str:
        """Name in a comparison: the metric, or ``table/row/column``."""
        return f"{self.metric}/{self.row}/{self.column}" if self.row or self.column else self.metric

    @property
    def name(self) -> str:
        """Name after that of the benchmark: the metric, or ``table[row column]``."""
        return f"{self.metric}[{self.row} {self.column}]" if self.row or self.column else self.metric


def all_numbers(report: Data, benchmark: str | None = None) -> Iterator[Number]:
    """Yields the numbers of all benchmarks of a report, or of one."""
    for name, entry in report["benchmarks"].items():
        if name != (benchmark or name):
            continue
        spec = face(name)
        for metric, estimate in entry["metrics"].items():
            yield Number(name, metric, "", "", metric, estimate, spec.metric(metric))
        for key, rows in entry["tables"].items():
            table = spec.table(key)
            for row, line in rows.items():
                for column, estimate in line.items():
                    board = table.naming.format(table=key, row=row, column=column)
                    yield Number(name, key, row, column, board, estimate, table.column(column))


def numbers_by_name(report: Data) -> dict[str, Number]:
    """Returns the numbers of a report by ``benchmark.metric`` or ``benchmark.table[row column]``.

    ``adversarial.robust_accuracy[Linf 8/255]`` is that under the strongest attack of the norm and radius.
    """
    found = {f"{number.benchmark}.{number.name}": number for number in all_numbers(report)}
    for benchmark, entry in report["benchmarks"].items():
        for extra in face(benchmark).further(entry):
            title, _, attack = extra.name.removesuffix(")").partition(" (")
            table, _, place = title.partition(" ")
            radius = place.rpartition(" ")[2]
            number = found.get(f"{benchmark}.{table}[{attack} {radius}]")
            if number is not None:
                found.setdefault(f"{benchmark}.{table}[{place}]", number._replace(board=f"{table}[{place}]"))
    return found


def unknown_number(name: str, known: Iterable[str]) -> ConfigError:
    """Returns the error for a name that no report has."""
    known = list(known)
    benchmark = name.partition(".")[0]
    own = [other for other in known if other.partition(".")[0] == benchmark]
    some = own[:5] or list(dict.fromkeys(other.partition(".")[0] for other in known))
    kind = f"the numbers of {benchmark}" if own else "the benchmarks"
    return ConfigError(
        f"there is no number {name!r}{nearest(name, own or known)}; {kind} are {', '.join(some)}"
        f"{', ...' if own[5:] else ''}"
    )


def tidy_rows(report: Data, run: str, names: Iterable[str] = (), benchmark: str | None = None) -> list[Row]:
    """Returns the tidy rows of a report, see :mod:`RobustART.core.tidy`.

    Args:
        report: the report.
        run: name of the run.
        names: names of the numbers as in :func:`numbers_by_name`, in order; all numbers by default.
        benchmark: name of a benchmark; None is all.
    """
    known = numbers_by_name(report) if names else {}
    chosen = [known[name] for name in names if name in known] if names else all_numbers(report, benchmark)
    return [tidy_row((run, *number[:4]), number.estimate) for number in chosen]
