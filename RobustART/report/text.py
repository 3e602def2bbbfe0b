"""Formats a report as text: its numbers and names, ``report.md``, and tables for the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from RobustART.core.defaults import NOT_KNOWN
from RobustART.core.tables import markdown_table, text_table
from RobustART.metrics.results import doubt
from RobustART.metrics.spec import BENCHMARKS, BenchmarkSpec, face

Data = Mapping[str, Any]
"""Contents of ``report.json``, or a part of it."""
Estimate = Mapping[str, Any]
COLUMNS = ("value", "95% interval", "n")
"""Headings of a number's columns."""
COSTS = (
    "benchmark", "images", "of them timed", "wall time", "images per second", "forward passes", "backward passes",
)  # fmt: skip
"""Headings of the columns of :func:`costs`."""
UNTIMED = (
    "An image is evaluated in all its views and under all attacks. Images that an interrupted run recorded earlier are not "
    "timed. Passes are counted per image: one for each view and model, plus those of the attacks."
)
"""Note below :func:`costs`."""


def number(estimate: Estimate | None) -> str:
    """Returns a value with two decimals and its signs, or ``undefined``; an empty string without an estimate."""
    if estimate is None:
        return ""
    doubts = estimate.get("not_trustworthy", ())
    if estimate["value"] is None:
        return "not trustworthy:" if doubts else "undefined"
    return f"{estimate['value']:.2f}{doubt(doubts)}"


def interval(estimate: Estimate | None) -> str:
    """Returns the 95 % interval, or the reason why it is missing; an empty string without an estimate."""
    if estimate is None:
        return ""
    if estimate["low"] is None:
        return str(estimate.get("reason", ""))
    return f"[{estimate['low']:.2f}, {estimate['high']:.2f}]"


def both(estimate: Estimate | None) -> str:
    """Returns value and interval."""
    return f"{number(estimate)} {interval(estimate)}".strip()


def readable(name: str) -> str:
    """Returns a name with spaces instead of underscores."""
    return name.replace("_", " ")


def title(spec: BenchmarkSpec, key: str) -> str:
    """Returns the heading of a table: the rest of its key after the name of its spec, and the title of the spec."""
    table = spec.table(key)
    rest = key.removeprefix(table.name).strip()
    return f"{rest} {table.title}" if rest and table.title != key else table.title


def not_imported(names: Iterable[str]) -> list[str]:
    """Returns a note for each benchmark that is not imported, so that only its numbers are known."""
    return [
        f"The benchmark {name} is not imported: the meaning of its numbers and their better direction are unknown. "
        "Import your own benchmark with --import MODULE."
        for name in dict.fromkeys(names)
        if name not in BENCHMARKS
    ]


def columns(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the columns of a table, in the order of their first appearance."""
    return list(dict.fromkeys(column for row in table.values() for column in row))


def plain(value: Any) -> str:
    """Returns JSON data on one line: ``key: value`` pairs without braces, lists with commas."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def known(value: Any, form: str = "") -> str:
    """Returns JSON data on one line, with numbers in the format ``form``; ``unknown`` for None."""
    if value is None:
        return "unknown"
    return format(value, form) if form else plain(value)


def extent(row: Mapping[str, Any], form: str = "") -> str:
    """Returns how much of a data set was evaluated: ``12 images``, ``6 of 12 images``.

    Args:
        row: entry of the report's ``conditions.data``.
        form: format of the numbers.
    """
    images, of = format(row["images"], form), row["of"]
    if of is None:
        return f"a subset of {images} images"
    return f"{images} images" if row["images"] == of else f"{images} of {format(of, form)} images"


def costs(report: Data) -> list[list[str]]:
    """Returns a row for each benchmark with the columns :data:`COSTS`; cells are empty if unknown."""
    rows = []
    for name, entry in report["benchmarks"].items():
        cells = [""] * 4
        if report["timing"] is not None:
            timing = report["timing"]["benchmarks"][name]
            computed, images = timing["images_computed"], timing["images"]
            cells = [f"{images:,}", "all" if computed == images else f"{computed:,}", "", ""]
            if computed:
                cells[2:] = [f"{timing['wall_seconds']:,.1f} s", f"{timing['images_per_second']:,.1f}"]
        passes = ["", ""] if entry["cost"] is None else [f"{entry['cost'][way]:,}" for way in ("forward", "backward")]
        rows.append([name, *cells, *passes])
    return rows


def heading(report: Data) -> str:
    """Returns one line with the model, the data and the seed."""
    parts = [f"{row['name']}: {extent(row)}" for row in report["conditions"]["data"]]
    model, seed = report["model"]["source"], report["conditions"]["seed"]
    return f"{model} on {'; '.join(parts) or 'unknown data'}, seed {known(seed)}"


def short(count: float) -> str:
    """Returns a count with a unit: 950, 4.65M, 1.2B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def model_line(report: Data) -> str:
    """Returns one line with the family, technique, input size, multiply-adds and parameters of the model."""
    model = report["model"]
    size, counts = (
        model["input_size"],
        [NOT_KNOWN if model[key] is None else short(model[key]) for key in ("macs", "parameters")],
    )
    return (
        f"family: {model['family']}; technique: {model['technique']}; input: "
        f"{NOT_KNOWN if size is None else f'{size} x {size}'}; multiply-adds: {counts[0]}; parameters: {counts[1]}"
    )


def report_text(report: Data) -> str:
    """Returns the report as tables for a terminal."""
    parts = [f"{heading(report)}\n{model_line(report)}"]
    for name, entry in report["benchmarks"].items():
        parts += [text_table(head, rows) for head, rows in benchmark_tables(name, entry, number)]
    parts += [f"Warning: {warning}" for warning in report["warnings"]]
    return "\n\n".join(parts)


def report_markdown(report: Data) -> str:
    """Returns the report as Markdown, with every interval and all conditions."""
    parts = [f"# {heading(report)}", model_line(report), "Numbers are percentages with 95% intervals."]
    for name, entry in report["benchmarks"].items():
        parts += [f"## {name}"]
        parts += [markdown_table(head, rows) for head, rows in benchmark_tables("metric", entry, both, name)]
    if report["warnings"]:
        parts.append("## Warnings\n\n" + "\n".join(f"- {warning}" for warning in report["warnings"]))
    parts.append(f"## Time and passes\n\n{markdown_table(COSTS, costs(report))}\n\n{UNTIMED}")
    details = {
        "model": report["model"],
        "conditions": report["conditions"],
        "options": {
            name: {key: value for key, value in entry.items() if key not in ("metrics", "tables", "cells")}
            for name, entry in report["benchmarks"].items()
        },
        "timing": report["timing"],
    }
    parts.append(f"## Conditions\n\n```json\n{json.dumps(details, indent=2)}\n```")
    return "\n\n".join(parts) + "\n"


def benchmark_tables(
    head: str, entry: Data, cell: Callable[[Estimate | None], str], name: str = ""
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yields the metrics and the tables of a benchmark, each as head and rows.

    Args:
        head: heading of the metrics.
        entry: entry of the benchmark in the report.
        cell: formats the cells of the tables.
        name: name of the benchmark; ``head`` by default.
    """
    yield [head, *COLUMNS], [[metric, number(e), interval(e), str(e["n"])] for metric, e in entry["metrics"].items()]
    for key, table in entry["tables"].items():
        names = columns(table)
        rows = [[row, *(cell(table[row].get(column)) for column in names)] for row in table]
        yield [title(face(name or head), key), *names], rows
