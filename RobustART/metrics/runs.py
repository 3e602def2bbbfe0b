"""Reads the result files of a run, and checks whether two runs are comparable."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from RobustART.core.files import runs_within
from RobustART.errors import RecordError
from RobustART.metrics.reading import check_one_model, read_result
from RobustART.records.comparability import circumstances, paired_conditions
from RobustART.records.journal import difference
from RobustART.records.lines import PassRecords, Records, is_result_file

TRAINING_LOG = "train.jsonl"
"""Log that a training writes beside its results; not a result file."""
UNFINISHED = "the run is unfinished; the same command resumes it"


@dataclasses.dataclass(frozen=True)
class Run:
    """Results of one model."""

    place: str
    """Path of its result file or folder."""
    records: dict[str, Records]
    """Records by name of the benchmark."""


def result_files(place: str | Path) -> list[Path]:
    """Returns the paths of a run's result files.

    Args:
        place: a result file, a folder of result files, or the folder of a run, which has them in ``results``.

    Raises:
        RecordError: there are no result files.
    """
    path = Path(place)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RecordError(f"there is no run {path}: no such file or folder")
    for folder in (path / "results", path):
        files = sorted(file for file in folder.glob("*.jsonl") if file.name != TRAINING_LOG)
        if files:
            return files
        if any(folder.glob("*.jsonl.rank*")):
            raise RecordError(f"{folder} has only partial results (*.jsonl.rank*): {UNFINISHED}")
    trained = (path / TRAINING_LOG).is_file()
    training = f"; it has a training ({TRAINING_LOG}) without an evaluation" if trained else ""
    raise RecordError(
        f"{path} has no result files (*.jsonl), nor does its folder 'results'{training}{runs_within(path, '*.jsonl')}"
    )


def read_run(place: str | Path) -> Run:
    """Returns the results of a run, which is named as in :func:`result_files`.

    Raises:
        RecordError: there are no result files, one is damaged, two are of the same benchmark, or they are of different
            models.
    """
    found: dict[str, Records] = {}
    places: dict[str, Records] = {}
    for file in result_files(place):
        _check_kind(file)
        records = places[str(file)] = read_result(file)
        name = records.header["benchmark"]
        if name in found:
            raise RecordError(f"{place} has two result files of the benchmark {name}")
        found[name] = records
    check_one_model(places)
    return Run(str(place), found)


def _check_kind(file: Path) -> None:
    """Raises a RecordError with what to name instead, if a file is not a result file or its header is incomplete."""
    ours = is_result_file(file)  # raises if the file is unreadable
    with open(file, "rb") as opened:
        whole = opened.readline().endswith(b"\n")
    if not whole and (file.stat().st_size == 0 or file.suffix == ".jsonl"):
        raise RecordError(f"{file} has an incomplete first line: {UNFINISHED}")
    if not ours:
        if file.name == "report.json":
            hint = "This is a report; name the folder of its run, or a result file (*.jsonl) beside it"
        else:
            hint = (
                "Name the folder of a run, or one of its results/*.jsonl. The evaluators of RobustART.metrics score files "
                "of the original's formats"
            )
        raise RecordError(f"{file} is not a result file. {hint}")


def check_comparable(first: Records, second: Records, names: tuple[str, str]) -> list[str]:
    """Returns the differences between two runs of one benchmark that do not prevent a comparison.

    Args:
        first: records of the first run.
        second: records of the second run.
        names: names of both runs in messages.

    Raises:
        RecordError: their conditions or images differ; the message gives the differences.
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
    if named:
        raise RecordError(f"{refused} is on the same files, but the headers differ in {named[0]}")
    return [f"{benchmark}: {row}" for row in difference(circumstances(first.header), circumstances(second.header))]


def _check_images(one: PassRecords, two: PassRecords, refused: str) -> None:
    mine, theirs = one.ids.tolist(), two.ids.tolist()
    if mine != theirs:
        lone = min(set(mine) ^ set(theirs))
        raise RecordError(
            f"{refused} is on other images: {len(mine)} and {len(theirs)}, and only one run has image {lone}"
        )
    images = [list(zip(run.files, run.labels.tolist(), run.digests, strict=True)) for run in (one, two)]
    for i, a, b in zip(mine, *images, strict=True):
        if a != b:
            what = "file name" if a[0] != b[0] else "label" if a[1] != b[1] else "content"
            raise RecordError(f"{refused} is on other images: image {i} ({a[0]}) has another {what}, {a} and {b}")
