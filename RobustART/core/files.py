"""Files that a command writes: never over what it reads, over each other, or over a file of another kind."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from RobustART.errors import ConfigError, RecordError

_HEAD = 4096
"""How many bytes of a file show what it is."""


@dataclasses.dataclass(frozen=True)
class Output:
    """A file that a command is asked to write."""

    flag: str
    """How it was asked for, such as ``--json``."""
    path: Path
    """Where it goes."""
    kind: str
    """What it will be, such as ``a leaderboard's data``."""
    begins: str
    """Regular expression for the beginning of such a file; an older one may be replaced."""


def json_format(name: str) -> str:
    """Returns :attr:`Output.begins` of JSON that says ``"format": "name/version"`` first."""
    return rf'\s*\{{\s*"format":\s*"{re.escape(name)}/'


def check_outputs(outputs: Sequence[Output], inputs: Iterable[str | Path]) -> None:
    """Raises a ConfigError if outputs are one file, an input, a folder, or an existing file of another kind.

    Args:
        outputs: what is to be written.
        inputs: files that are read.
    """
    seen: dict[Path, str] = {}
    read = [Path(path) for path in inputs]
    for output in outputs:
        resolved = output.path.resolve()
        if resolved in seen:
            raise ConfigError(f"{seen[resolved]} and {output.flag} are one file, {output.path}; name two")
        seen[resolved] = output.flag
        overwritten = next((path for path in read if same_file(path, output.path)), None)
        if overwritten is not None:
            raise ConfigError(
                f"{output.flag} {output.path} would overwrite {overwritten}, which is read; name another file"
            )
        _check_existing(output)


def _check_existing(output: Output) -> None:
    """Raises a ConfigError if something lies at an output's place that may not be replaced; an empty file may."""
    path = output.path
    if not path.exists():
        if not path.parent.is_dir():
            raise ConfigError(f"cannot write {path}: there is no folder {path.parent}")
        return
    if not path.is_file():
        raise ConfigError(f"{output.flag} {path} is not a file; name one for {output.kind}")
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD).decode("utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"cannot read {path}, which is to be replaced: {error.strerror or error}") from None
    if head and not re.match(output.begins, head):
        raise ConfigError(
            f"{output.flag} {path} is there already and is not {output.kind}: it is not replaced. Name another file, or "
            "delete it"
        )


def write_whole(path: str | Path, text: str) -> None:
    """Writes a text file under a temporary name first, so that it is never half there; a ConfigError if it cannot be."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from None


def same_file(one: str | Path, other: str | Path) -> bool:
    """Returns whether two paths lead to one file, by links too; a path that leads nowhere is only itself."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return Path(one).resolve() == Path(other).resolve()


def check_distinct(places: Sequence[str], files: Sequence[Sequence[Path]]) -> None:
    """Raises a RecordError if a file stands for two of the runs that are given.

    Args:
        places: the runs, as given.
        files: what of each is read.
    """
    for second, own in enumerate(files):
        for first in range(second):
            if any(same_file(a, b) for a in files[first] for b in own):
                raise RecordError(f"{places[second]} and {places[first]} are the same run; name it once")


def runs_within(folder: Path, pattern: str) -> str:
    """Returns a sentence that names folders with results just below a folder, which may be what is meant; or nothing.

    Args:
        folder: where runs were looked for.
        pattern: files that a run has, such as ``*.jsonl``.
    """
    try:
        below = [child.name for child in sorted(folder.iterdir()) if any((child / "results").glob(pattern))]
    except OSError:
        return ""
    more = ", ..." if len(below) > 5 else ""
    return f". Runs lie in folders within: {', '.join(below[:5])}{more}; name these" if below else ""
