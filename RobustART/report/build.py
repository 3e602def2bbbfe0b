"""Builds a report from the records and facts of a run, and writes its files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RobustART.core.defaults import NOT_KNOWN
from RobustART.core.files import write_whole
from RobustART.core.tidy import tidy_frame
from RobustART.errors import RecordError, UserError
from RobustART.metrics.repeats import repeat_warnings, spreads
from RobustART.metrics.results import Summary
from RobustART.metrics.robustness import attack_costs, attack_warnings
from RobustART.metrics.runs import result_files
from RobustART.metrics.spec import summarize
from RobustART.metrics.trust import model_warnings
from RobustART.records.lines import CLEAN, Records
from RobustART.report.facts import RECORDED, Facts, read_results
from RobustART.report.labels import family
from RobustART.report.numbers import tidy_rows
from RobustART.report.page import write_page
from RobustART.report.reading import FORMAT, existing_folder, report_faults
from RobustART.report.text import heading, report_markdown, report_text

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

FILES = ("report.html", "report.json", "report.md")
"""Files that :func:`write_report` writes."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Model, conditions, benchmarks, warnings and timing of a run."""

    data: dict[str, Any]
    """Contents of ``report.json``, JSON data."""

    def metric(self, benchmark: str, name: str) -> float | None:
        """Returns the value of a metric; None if it is undefined."""
        value: float | None = self.data["benchmarks"][benchmark]["metrics"][name]["value"]
        return value

    def heading(self) -> str:
        """Returns one line with the model, the data, the number of images and the seed."""
        return heading(self.data)

    def text(self) -> str:
        """Returns the report as tables for a terminal."""
        return report_text(self.data)

    def markdown(self) -> str:
        """Returns the report as Markdown, with every interval and all conditions."""
        return report_markdown(self.data)

    def table(
        self, benchmark: str | None = None, *, style: str = "text", names: Sequence[str] = (), intervals: bool = False
    ) -> str:
        """Returns tables in a format, as :func:`~RobustART.report.export.report_table` does."""
        from RobustART.report.export import report_table

        return report_table(self.data, style, benchmark=benchmark, names=names, intervals=intervals)

    def to_pandas(self, benchmark: str | None = None) -> pandas.DataFrame:
        """Returns all numbers, or those of a benchmark, as a data frame with the columns of :mod:`RobustART.core.tidy`.

        Raises:
            ConfigError: pandas is not installed.
        """
        return tidy_frame(tidy_rows(self.data, self.data["model"]["source"], benchmark=benchmark))


def build_report(runs: Mapping[str, Records], facts: Facts, summaries: Mapping[str, Summary]) -> Report:
    """Returns the report of one model.

    Args:
        runs: records of the model by benchmark.
        facts: facts of the run that result files do not state.
        summaries: summaries of the records, by benchmark.
    """
    stated = next(iter(runs.values())).header["conditions"]
    rows = [row for entry in facts["benchmarks"].values() for row in entry["data"]]
    model, conditions = facts["model"], facts["conditions"]
    runtime = {key: own for run in runs.values() for key, own in run.header["conditions"].get("runtime", {}).items()}
    return Report({
        "format": FORMAT,
        "model": {
            "source": stated["model"]["source"],
            "architecture": model["architecture"],
            "parameters": model["parameters"],
            "arguments": stated["model"]["arguments"],
            "weights": stated["model"]["weights"],
            "classes": model["classes"],
            "technique": model.get("technique") or NOT_KNOWN,
            "family": family({"source": stated["model"]["source"], "architecture": model["architecture"]}),
            "input_size": (stated.get("preprocessing") or {}).get("input_size"),
            "macs": model.get("macs"),
        },
        "conditions": {
            "data": [row for number, row in enumerate(rows) if row not in rows[:number]],
            "subset": conditions["subset"],
            "preprocessing": stated.get("preprocessing"),
            "overridden": conditions["overridden"],
            "seed": stated.get("seed"),
            "batch_size": stated.get("batch_size"),
            "amp": conditions["amp"],
            "channels_last": stated.get("channels_last"),
            **({"runtime": runtime} if runtime else {}),
            "device": stated.get("device"),
            "versions": conditions["versions"],
            "config": conditions["config"],
        },
        "benchmarks": {
            name: {**_entry(records, facts["benchmarks"][name]), **summaries[name].to_plain()}
            for name, records in runs.items()
        },
        "warnings": _warnings(runs, facts, summaries),
        "timing": facts["timing"],
    })  # fmt: skip


def _entry(records: Records, known: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry of a benchmark in a report, without its numbers."""
    stated, first = records.header["conditions"], records.passes[0]
    spent = attack_costs(first)
    totals = {way: sum(cost[way] for cost in spent.values()) for way in ("forward", "backward")}
    own = known["forward"]
    return {
        "hash": records.header["hash"],
        "options": stated["options"],
        "attacks": stated["attacks"],
        "data": [
            {**row, "name": place["name"]} for row, place in zip(stated.get("data", []), known["data"], strict=False)
        ],
        "precision": stated.get("precision"),
        **{key: stated[key] for key in ("models", "sources", "repeats") if key in stated},
        **({"spread": spreads(records)} if "repeats" in stated else {}),
        **({"folders": known["folders"]} if "folders" in known else {}),
        "cells": dict(zip(first.cells, first.coordinates, strict=True)),
        "passes": spent,
        "cost": None if own is None else {"forward": own + totals["forward"], "backward": totals["backward"]},
    }


def _warnings(runs: Mapping[str, Records], facts: Facts, summaries: Mapping[str, Summary]) -> list[str]:
    """Returns the warnings: of the model, of the records of each benchmark, and of its data and numbers."""
    found = list(facts["notes"])
    for name, records in runs.items():
        found += model_warnings(records)
        found += [f"{name}: {text}" for text in (*repeat_warnings(records), *attack_warnings(records))]
        recorded = records.header.get("versions", {})
        if recorded != facts["conditions"]["versions"]:
            found.append(f"{name} was recorded with other library versions: {recorded}")
        found += _chance_warnings(records, facts["model"]["classes"])
    for name, summary in summaries.items():
        found += [*facts["benchmarks"][name]["notes"], *summary.notes]
    return list(dict.fromkeys(found))


def _chance_warnings(records: Records, classes: int | None) -> Iterator[str]:
    first = records.passes[0]
    if classes is not None and CLEAN in first.cells:
        correct = first.correct[:, first.cell(CLEAN)]
        warning = chance_warning(int(correct.sum()), len(correct), classes)
        if warning is not None:
            yield warning


def chance_warning(correct: int, n: int, classes: int) -> str | None:
    """Returns a warning if a clean accuracy is no better than guessing (one-sided binomial test at 1 %)."""
    from scipy.stats import binom

    if n < 10 or binom.sf(correct - 1, n, 1 / classes) <= 0.01:
        return None
    return (
        f"clean accuracy is at chance: {correct} of {n} images correct with {classes} classes. The usual causes: the "
        "model normalises its input and RobustART normalises it again (set mean: [0, 0, 0], std: [1, 1, 1]), the labels "
        "are in another order than the model's classes, or the weights were not loaded"
    )


def results_folder(folder: str | Path) -> Path:
    """Returns the results folder of an output folder, or the folder itself if the result files are in it.

    Raises:
        RecordError: there are no result files.
    """
    return result_files(existing_folder(folder))[0].parent


def report_of_files(results: Path) -> Report:
    """Returns the report of a results folder, from its result files and ``run.json``.

    Raises:
        RecordError: there are no result files, or one is damaged, unfinished or of an unknown benchmark, or they are of
            different models.
    """
    runs, facts = read_results(results)
    report = build_report(runs, facts, summarize(runs))
    fault = next(report_faults(report.data), None)
    if fault is not None:
        raise RecordError(f"the result files of {results} are damaged: in their report, {fault}")
    return report


def write_report(results: Path, report: Report, draw: Callable[[], None] = lambda: None) -> None:
    """Writes ``report.json``, ``report.md`` and ``report.html`` into a results folder.

    If the page cannot be written, a warning is logged and an older page is deleted.

    Args:
        results: the results folder.
        report: the report.
        draw: called before the page is written, to draw the example images.

    Raises:
        RecordError: ``report.json`` or ``report.md`` cannot be written.
    """
    for name, text in (("report.json", json.dumps(report.data, indent=2) + "\n"), ("report.md", report.markdown())):
        write_whole(results / name, text, error=RecordError, hint=RECORDED)
    draw()
    try:
        write_page(results, report.data)
    except (OSError, UserError) as error:
        reason = getattr(error, "strerror", None) or error
        log.warning(
            "the page report.html could not be written: %s. The numbers are in report.json and report.md", reason
        )
        with contextlib.suppress(OSError):
            (results / "report.html").unlink(missing_ok=True)
