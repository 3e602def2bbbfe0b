"""The runs of a leaderboard: their reports and labels, and the conditions in which they differ."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.defaults import UNTRAINED
from RobustART.core.preprocessing import INNER
from RobustART.errors import ConfigError, RecordError, nearest
from RobustART.report.reading import find_report, read_report

LABELS = ("name", "family", "technique")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a leaderboard, read from its report."""

    name: str
    """Name, unique on the leaderboard."""
    folder: str
    """Folder of the run, as given."""
    path: Path
    """Path of its ``report.json``."""
    family: str
    """Family of the architecture."""
    technique: str
    """Training technique."""
    report: Mapping[str, Any]
    """Contents of ``report.json``."""

    @property
    def parameters(self) -> int | None:
        """Number of parameters of the model; None if the report does not state it."""
        count: int | None = self.report["model"]["parameters"]
        return count

    @property
    def input_size(self) -> Any:
        """Side of the model's input in pixels; empty if the report does not state it."""
        return "" if (size := self.report["model"]["input_size"]) is None else size

    @property
    def untrained(self) -> bool:
        """Whether the weights are random; such a run has no rank."""
        return bool(self.report["model"]["technique"] == UNTRAINED)

    @property
    def macs(self) -> int | None:
        """Multiply-adds of one image; None if they are not known."""
        count: int | None = self.report["model"]["macs"]
        return count


def read_runs(folders: Sequence[str], labels: Mapping[str, Any] | None = None) -> list[Run]:
    """Returns the runs of output or results folders.

    Args:
        folders: folders that have a report.
        labels: by folder, as given, a ``name``, ``family`` or ``technique`` that replaces that of the report.

    Raises:
        RecordError: a folder has no report or one of another version, or is named twice.
        ConfigError: a label is of a folder that is not given, or of an unknown kind.
    """
    stated = _check_labels(labels or {}, folders)
    seen: dict[Path, str] = {}
    found = []
    for folder in folders:
        path = find_report(folder)
        resolved = path.resolve()
        if resolved in seen:
            raise RecordError(f"{folder} and {seen[resolved]} are the same run; name it once")
        seen[resolved] = folder
        report = read_report(path)
        own = stated.get(folder, {})
        source = own.get("name", report["model"]["source"])
        family, technique = (own.get(kind, report["model"][kind]) for kind in ("family", "technique"))
        found.append(Run(source, folder, path, family, technique, report))
    count = Counter(run.name for run in found)
    return [
        dataclasses.replace(run, name=f"{run.name} ({run.folder})") if count[run.name] > 1 else run for run in found
    ]


def _check_labels(labels: Mapping[str, Any], folders: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    if not isinstance(labels, Mapping):
        raise ConfigError(f"labels must be a mapping of folders, got {labels!r}")
    for folder, own in labels.items():
        if folder not in folders:
            raise ConfigError(
                f"the labels name the folder {folder!r}, which is not on the leaderboard{nearest(folder, folders) or ';'} "
                f"given: {', '.join(folders)}"
            )
        if not isinstance(own, Mapping) or any(key not in LABELS or not isinstance(own[key], str) for key in own):
            raise ConfigError(f"the labels of {folder} may be the strings {', '.join(LABELS)}, got {own!r}")
    return labels


def circumstances(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the conditions that may differ between runs in a column: preprocessing, seed, precision, device, versions."""
    conditions = report["conditions"]
    stated = {key: value for key, value in (conditions["preprocessing"] or {}).items() if key not in INNER}
    found = {**stated, **{key: conditions[key] for key in ("seed", "batch_size", "amp", "channels_last", "device")}}
    found["runtime"] = conditions.get("runtime", {}).get("name", "torch")
    found |= {f"version of {name}": version for name, version in conditions["versions"].items()}
    for name, entry in report["benchmarks"].items():
        found[f"precision of {name}"] = entry["precision"]
        own = {key: value for row in entry["data"] for key, value in row.get("preprocessing", {}).items()}
        found |= {f"{key} of {name}": own.get(key, value) for key, value in stated.items()}
    return found


def differences(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns for each run the circumstances in which it differs from most runs; the first run breaks a tie."""
    each = [circumstances(run.report) for run in runs]
    usual = {}
    for key in dict.fromkeys(key for one in each for key in one):
        texts = Counter(json.dumps(one[key], sort_keys=True) for one in each if key in one)
        usual[key] = json.loads(texts.most_common(1)[0][0])
    found = [{key: value for key, value in one.items() if value != usual[key]} for one in each]
    return [{key: value for key, value in own.items() if not _repeated(key, own)} for own in found]


def _repeated(key: str, own: Mapping[str, Any]) -> bool:
    """Returns whether a circumstance of a benchmark repeats that of the model."""
    plain, of, _ = key.partition(" of ")
    return bool(of) and plain in own and own[plain] == own[key]


def flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of JSON data with their paths, such as ``a.b[0]``."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (Mapping, list)) for inner in value):
        for number, inner in enumerate(value):
            yield from flatten(inner, f"{place}[{number}]")
    else:
        yield place, value
