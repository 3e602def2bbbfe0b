"""``run.json``: facts of a run that its result files do not state, so that a report can be made from the files alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from RobustART.core.files import write_whole
from RobustART.errors import RecordError
from RobustART.metrics.reading import check_one_model, read_result
from RobustART.metrics.runs import read_run
from RobustART.records.lines import Records
from RobustART.report.reading import read_report
from RobustART.report.schema import object_schema, read_json, report_schema

FORMAT = "robustart-run/1"
NAME = "run.json"
RECORDED = ". The results are recorded; once this is resolved, the same command writes the report"
"""Advice for a file of the report that cannot be written."""
Facts = dict[str, Any]
"""Contents of ``run.json``. The entries are those of the same names in ``report.json``:

* ``model``: ``architecture``, ``parameters``, ``classes``; ``technique`` and ``macs``, which earlier versions lack;
* ``conditions``: ``subset``, ``overridden``, ``amp``, ``versions``, ``config``;
* ``notes``: warnings of the model;
* ``benchmarks``: by name, in the order of the report, the ``hash`` of the records, for each pass the ``name``, ``images``
  and ``of`` of its ``data``, ``folders`` of its files, ``forward`` passes of the evaluation itself, and ``notes``;
* ``timing``.
"""


def write_facts(results: Path, facts: Facts) -> None:
    """Writes ``run.json`` into a results folder."""
    write_whole(results / NAME, json.dumps(facts, indent=2) + "\n", error=RecordError, hint=RECORDED)


def read_facts(results: Path) -> Facts | None:
    """Returns the facts in the ``run.json`` of a results folder, or those that an older ``report.json`` states.

    Returns None if both are missing.

    Raises:
        RecordError: ``run.json`` cannot be read or is damaged.
    """
    path = results / NAME
    return read_json(path, _schema()) if path.is_file() else _facts_of_report(results)


@functools.cache
def _schema() -> dict[str, Any]:
    report = report_schema()["properties"]
    entry = report["benchmarks"]["additionalProperties"]["properties"]
    notes = report["warnings"]
    data = report["conditions"]["properties"]["data"]
    own = object_schema(hash=entry["hash"], data=data, forward={"type": ["integer", "null"]}, notes=notes)
    return object_schema(
        format={"const": FORMAT},
        model={
            **_part(report["model"], "architecture", "parameters", "classes"),
            "properties": report["model"]["properties"],
        },
        conditions=_part(report["conditions"], "subset", "overridden", "amp", "versions", "config"),
        notes=notes,
        benchmarks={"type": "object", "additionalProperties": own},
        timing=report["timing"],
    )


def _part(schema: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return object_schema(**{name: schema["properties"][name] for name in names})


def _facts_of_report(results: Path) -> Facts | None:
    try:
        report = read_report(results / "report.json")
    except RecordError:
        return None
    sizes = {(row["name"], row["images"]): row for row in report["conditions"]["data"]}
    benchmarks = {}
    for name, entry in report["benchmarks"].items():
        attacks = sum(cost["forward"] for cost in entry["passes"].values())
        benchmarks[name] = {
            "hash": entry["hash"],
            "data": [
                sizes[row["name"], row["images"]] for row in entry["data"] if (row["name"], row["images"]) in sizes
            ],
            **({"folders": entry["folders"]} if "folders" in entry else {}),
            "forward": None if entry["cost"] is None else entry["cost"]["forward"] - attacks,
            "notes": [],
        }
    parts = _schema()["properties"]
    stated = {key: {name: report[key][name] for name in parts[key]["required"]} for key in ("model", "conditions")}
    stated["model"] |= {name: report["model"][name] for name in ("technique", "macs")}
    return {
        "format": FORMAT, **stated, "notes": report["warnings"], "benchmarks": benchmarks, "timing": report["timing"],
    }  # fmt: skip


def keep_timing(facts: Facts, before: Facts | None) -> Facts:
    """Returns the facts of a run with the earlier timing of benchmarks that it did not compute.

    Args:
        facts: facts of the run.
        before: facts of an earlier run in the same folder.
    """
    timing = facts["timing"]
    if before is None or before["timing"] is None:
        return facts
    if timing["images_computed"] == 0 and {**before, "timing": 0} == {**facts, "timing": 0}:
        return before
    kept = {
        name: before["timing"]["benchmarks"][name]
        for name, entry in facts["benchmarks"].items()
        if timing["benchmarks"][name]["images_computed"] == 0
        and before["benchmarks"].get(name, {}).get("hash") == entry["hash"]
        and name in before["timing"]["benchmarks"]
    }
    return {**facts, "timing": {**timing, "benchmarks": {**timing["benchmarks"], **kept}}}


def read_results(results: Path) -> tuple[dict[str, Records], Facts]:
    """Returns the records of a results folder by benchmark, and the facts of its run.

    The benchmarks are those named in :func:`read_facts`. If there are no such facts, or they belong to other records, all
    result files of the folder are read, and the facts are those of :func:`stated_facts`.

    Raises:
        RecordError: there are no result files, or one is damaged or unfinished, or they are of different models.
    """
    facts = read_facts(results)
    if facts is not None:
        files = {name: results / f"{name}.jsonl" for name in facts["benchmarks"]}
        if files and all(file.is_file() for file in files.values()):
            runs = {name: read_result(file) for name, file in files.items()}
            if all(_belongs(name, records, facts["benchmarks"][name]) for name, records in runs.items()):
                check_one_model({str(files[name]): records for name, records in runs.items()})
                return runs, facts
    runs = read_run(results).records
    return runs, stated_facts(runs, f"{NAME} is missing" if facts is None else f"{NAME} belongs to other result files")


def _belongs(name: str, records: Records, known: Mapping[str, Any]) -> bool:
    """Returns whether an entry of ``run.json`` is of these records."""
    header = records.header
    count = len(header["conditions"].get("data", []))
    return (header["benchmark"], header["hash"], count) == (name, known["hash"], len(known["data"]))


def stated_facts(runs: Mapping[str, Records], reason: str) -> Facts:
    """Returns the facts that result files state, with null for the others and a note on what is missing.

    Args:
        runs: records by benchmark.
        reason: why the other facts are missing, for the note.
    """
    benchmarks: dict[str, Any] = {}
    for name, records in runs.items():
        stated = records.header["conditions"].get("data", [])
        data = []
        for row, info in zip(stated, records.header["passes"], strict=False):
            images = row.get("images", info["ids"])
            data.append({"name": row["name"], "images": images, "of": images if row.get("subset") is None else None})
        benchmarks[name] = {"hash": records.header["hash"], "data": data, "forward": None, "notes": []}
    subset = any(row["of"] is None for entry in benchmarks.values() for row in entry["data"])
    first = next(iter(runs.values())).header
    missing = (
        "architecture, parameters, technique, multiply-adds and classes of the model, the options of the run, its time and "
        "evaluation passes, where labels come from, and warnings of the model and the data"
    )
    return {
        "format": FORMAT,
        "model": {"architecture": None, "parameters": None, "classes": None},
        "conditions": {
            "subset": "drawn in an unknown way" if subset else None, "overridden": None, "amp": None,
            "versions": first.get("versions", {}), "config": None,
        },
        "notes": [f"{reason}, so this report lacks what result files do not state: {missing}"],
        "benchmarks": benchmarks,
        "timing": None,
    }  # fmt: skip
