"""The result files of a run, and whether two runs are of the same images under the same conditions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from RobustART.core.files import runs_within
from RobustART.errors import RecordError
from RobustART.metrics.reading import check_one_model, read_result
from RobustART.records.comparability import paired_conditions
from RobustART.records.journal import difference
from RobustART.records.lines import PassRecords, Records, is_result_file

TRAINING_LOG = "train.jsonl"
"""What a training writes beside its results; no result file."""
UNFINISHED = "the run has not ended; the same command goes on with it"


@dataclasses.dataclass(frozen=True)
class Run:
    """The result files of one model."""

    place: str
    """Where they are."""
    records: dict[str, Records]
    """By the name of the benchmark."""


def result_files(place: str | Path) -> list[Path]:
    """Returns the result files of a run.

    Args:
        place: one result file, the folder of a run, in whose ``results`` they are, or a folder of them.

    Raises:
        RecordError: there are none.
    """
    path = Path(place)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RecordError(f"there is no run {path}: neither such a folder nor such a file is there")
    for folder in (path / "results", path):
        files = sorted(file for file in folder.glob("*.jsonl") if file.name != TRAINING_LOG)
        if files:
            return files
        if any(folder.glob("*.jsonl.rank*")):
            raise RecordError(f"{folder} holds parts of results only (*.jsonl.rank*): {UNFINISHED}")
    trained = (path / TRAINING_LOG).is_file()
    training = f"; it holds a training ({TRAINING_LOG}) that has evaluated nothing" if trained else ""
    raise RecordError(
        f"{path} holds no result files (*.jsonl), nor does its folder 'results'{training}{runs_within(path, '*.jsonl')}"
    )


def read_run(place: str | Path) -> Run:
    """Returns the result files of a run; see :func:`result_files`.

    Raises:
        RecordError: there are none, one is damaged, two are of one benchmark, or they are of different models.
    """
    found: dict[str, Records] = {}
    places: dict[str, Records] = {}
    for file in result_files(place):
        _check_kind(file)
        records = places[str(file)] = read_result(file)
        name = records.header["benchmark"]
        if name in found:
            raise RecordError(f"{place} holds two result files of the benchmark {name}")
        found[name] = records
    check_one_model(places)
    return Run(str(place), found)


def _check_kind(file: Path) -> None:
    """Raises a RecordError that says what to name instead, if a file is no result file or its header is not whole."""
    ours = is_result_file(file)  # refuses a file that cannot be read
    with open(file, "rb") as opened:
        whole = opened.readline().endswith(b"\n")
    if not whole and (file.stat().st_size == 0 or file.suffix == ".jsonl"):
        raise RecordError(f"{file} has no whole first line: {UNFINISHED}")
    if not ours:
        if file.name == "report.json":
            told = "This is a report; name the folder of its run, or a result file (*.jsonl) beside it"
        else:
            told = (
                "Name the folder of a run, or one of its results/*.jsonl. Files of the original's formats are scored by "
                "the evaluators of RobustART.metrics"
            )
        raise RecordError(f"{file} is no result file. {told}")


_HOW = ("batch_size", "channels_last", "precision", "device", "version")
"""Conditions that do not hinder a comparison, but are told."""


def check_comparable(first: Records, second: Records, names: tuple[str, str]) -> list[str]:
    """Returns what differs between two runs of one benchmark without hindering a comparison.

    Args:
        first: records of the first run.
        second: of the second.
        names: what to call them in messages.

    Raises:
        RecordError: their conditions or images differ; the message says how.
    """
    benchmark = first.header["benchmark"]
    refused = f"{names[1]} cannot be compared with {names[0]}: {benchmark}"
    rows = difference(paired_conditions(first.header), paired_conditions(second.header))
    named = [row for row in rows if ".fingerprint: " in row]
    rows = [row for row in rows if row not in named]
    if rows:
        more = f"; and {len(rows) - 6} more" if len(rows) > 6 else ""
        raise RecordError(f"{refused} differs in {'; '.join(rows[:6])}{more}")
    for one, two in zip(first.passes, second.passes, strict=True):
        _check_images(one, two, refused)
    stated = [records.header["conditions"] for records in (first, second)]
    if named:
        raise RecordError(f"{refused} is on the same files, but not by their headers: {named[0]}")
    how = [
        {**{key: each.get(key) for key in _HOW}, "versions": records.header.get("versions", {})}
        for each, records in zip(stated, (first, second), strict=True)
    ]
    return [f"{benchmark}: {row}" for row in difference(how[0], how[1])]


def _check_images(one: PassRecords, two: PassRecords, refused: str) -> None:
    mine, theirs = one.ids.tolist(), two.ids.tolist()
    if mine != theirs:
        lone = min(set(mine) ^ set(theirs))
        raise RecordError(
            f"{refused} is on other images: {len(mine)} and {len(theirs)}, and image {lone} is in one of them alone"
        )
    images = [list(zip(run.files, run.labels.tolist(), run.digests, strict=True)) for run in (one, two)]
    for i, a, b in zip(mine, *images, strict=True):
        if a != b:
            what = "file name" if a[0] != b[0] else "label" if a[1] != b[1] else "content"
            raise RecordError(f"{refused} is on other images: image {i} ({a[0]}) has another {what}, {a} and {b}")
