"""Finds the original's result files and parses their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from RobustART.core.options import as_path
from RobustART.errors import ConfigError, RecordError, nearest
from RobustART.metrics.corruption import GROUPS, group_of
from RobustART.metrics.stability import PUBLISHED_PERTURBATIONS, is_noise


def _entries(folder: Path) -> list[Path]:
    """Returns the entries of a folder, sorted; raises a RecordError if it is not readable."""
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        raise RecordError(f"cannot read the folder {folder}: {getattr(error, 'strerror', None) or error}") from None


def result_files(res_file: str | Path) -> list[Path]:
    """Returns the file; else ``res_file.all``; else all of ``res_file.rank0``, ``.rank1``, ... in order."""
    path = as_path(res_file, "a result file")
    if path.is_file():
        return [path]
    beside = {p.name: p for p in _entries(path.parent)} if path.name and path.parent.is_dir() else {}
    whole = beside.get(f"{path.name}.all")
    if whole is not None and whole.is_file():
        return [whole]
    found = {p: re.fullmatch(re.escape(path.name) + r"\.rank([0-9]{1,9})", name) for name, p in beside.items()}
    ranks = {int(match[1]): p for p, match in found.items() if match}
    if not ranks:
        raise RecordError(f"there is no result file {path} (nor {path.name}.all or .rank0 beside it)")
    missing = next(rank for rank in range(len(ranks) + 1) if rank not in ranks)
    if missing < len(ranks):
        raise RecordError(f"of the files {path.name}.rank0 to .rank{max(ranks)}, .rank{missing} is missing")
    return [ranks[rank] for rank in sorted(ranks)]


def _stems(folder: Path, kind: str) -> list[Path]:
    """Returns the names of a folder's result files without ``.all`` and ``.rank0``, sorted, each once."""
    names = {re.sub(r"\.(all|rank\d+)$", "", p.name) for p in _entries(folder) if "-results.txt" in p.name}
    if not names:
        raise RecordError(f"{folder} holds no files named {{{kind}}}-results.txt")
    return [folder / name for name in sorted(names)]


def corruption_files(res_files: str | Path | Sequence[str | Path]) -> dict[tuple[str, int], Path]:
    """Returns the original's files of ImageNet-C by corruption and severity.

    Args:
        res_files: a folder of ``{group}-{corruption}-{severity}-results.txt``, with ``.all`` or one file for each process,
            or a list of such files. Other files of the folder, such as the original's ``-metric``, are ignored.

    Raises:
        ConfigError: ``res_files`` is neither a string nor a path nor a list of these.
        RecordError: there are no such files, a name does not have this form, names an unknown corruption or another group,
            or two files are of the same cell.
    """
    if isinstance(res_files, (list, tuple)):
        places = [as_path(path, "a result file") for path in res_files]
    else:
        places = _stems(as_path(res_files, "a folder of result files"), "group}-{corruption}-{severity")
    found: dict[tuple[str, int], Path] = {}
    for place in places:
        match = re.fullmatch(r"([^-]+)-([^-]+)-([1-5])-results\.txt(?:\.all|\.rank\d+)?", place.name)
        if match is None:
            raise RecordError(
                f"{place} must be named {{group}}-{{corruption}}-{{severity}}-results.txt, severity 1 to 5"
            )
        group, name, cell = match[1], match[2], (match[2], int(match[3]))
        own = group_of(name)
        if own is None:
            known = [name for names in GROUPS.values() for name in names]
            raise RecordError(
                f"{place} is of the corruption {name!r}, which ImageNet-C does not have{nearest(name, known) or ';'} "
                f"Known: {', '.join(known)}"
            )
        if group != own:
            raise RecordError(f"{place} puts {name} into the group {group!r}, but it is one of {own!r}")
        if cell in found:
            raise RecordError(f"{found[cell]} and {place} are both of {cell[0]}/{cell[1]}")
        found[cell] = place
    if not found:
        raise RecordError("ImageNet-C needs at least one result file")
    return found


def video_files(res_file: str | Path, perturbation: str | None = None, difficulty: int = 1) -> dict[str, Path]:
    """Returns the original's files of ImageNet-P by perturbation.

    Args:
        res_file: ``{perturbation}-results.txt``, with ``.all`` or one file for each process; or a folder of them.
        perturbation: the perturbation of a file whose name does not contain it.
        difficulty: 1 to 3; files of noise at 2 and 3 may be named ``{perturbation}_{difficulty}``, as its videos are.

    Raises:
        ConfigError: ``res_file`` is neither a string nor a path, or ``perturbation`` is not one of ImageNet-P.
        RecordError: a name contains no perturbation of ImageNet-P, or two files are of the same one.
    """
    path = as_path(res_file, "a result file")
    allowed = {name: name for name in PUBLISHED_PERTURBATIONS}
    if difficulty > 1:
        allowed |= {f"{name}_{difficulty}": name for name in PUBLISHED_PERTURBATIONS if is_noise(name)}
    if perturbation is not None:
        if not isinstance(perturbation, str) or perturbation not in allowed:
            raise ConfigError(
                f"perturbation must be one of ImageNet-P's{nearest(perturbation, allowed)}, {', '.join(allowed)}, got "
                f"{perturbation!r}"
            )
        if path.is_dir():
            raise RecordError(f"{path} is a folder of several perturbations, but got the one {perturbation!r}")
        return {allowed[perturbation]: path}
    found: dict[str, Path] = {}
    for place in _stems(path, "perturbation") if path.is_dir() else [path]:
        name, separator, _ = place.name.partition("-results.txt")
        if not separator:
            raise RecordError(
                f"{place} must be named {{perturbation}}-results.txt..., which says how frames are compared"
            )
        if name not in allowed:
            raise RecordError(
                f"{place} is of the perturbation {name!r}, which ImageNet-P of difficulty {difficulty} does not have"
                f"{nearest(name, allowed) or ';'} Known: {', '.join(allowed)}"
            )
        if allowed[name] in found:
            raise RecordError(f"{found[allowed[name]]} and {place} are both of {allowed[name]}")
        found[allowed[name]] = place
    return found
