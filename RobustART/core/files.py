"""Files that are written whole or not at all, and never over what a command reads or over a file of another kind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from RobustART.errors import ConfigError, RecordError, UserError

_HEAD = 4096
"""Number of bytes read to recognise a file."""


@dataclasses.dataclass(frozen=True)
class Output:
    """A file that a command is asked to write."""

    flag: str
    """The option that names it, such as ``--json``."""
    path: Path
    """Its path."""
    kind: str
    """What it holds, such as ``a leaderboard's data``."""
    begins: str
    """Regular expression for the beginning of such a file; a file that matches may be replaced."""


def json_format(name: str) -> str:
    """Returns :attr:`Output.begins` of JSON that begins with ``"format": "name/version"``."""
    return rf'\s*\{{\s*"format":\s*"{re.escape(name)}/'


def check_outputs(outputs: Sequence[Output], inputs: Iterable[str | Path]) -> None:
    """Raises a ConfigError if two outputs are one file, or one is an input, a folder, or a file of another kind.

    Args:
        outputs: the files to be written.
        inputs: the files that are read.
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
    """Raises a ConfigError if an output would replace something other than an empty file or one of its kind."""
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


def temporary_path(path: Path, *, unique: bool = False) -> Path:
    """Returns the name under which :func:`open_whole` writes a file: ``.NAME.tmp``, or ``.NAME.PID.tmp`` if ``unique``."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp" if unique else f".{path.name}.tmp")


@contextlib.contextmanager
def open_whole(
    path: Path, *, durable: bool = False, unique: bool = False, backup: Path | None = None
) -> Iterator[BinaryIO]:
    """Opens a file for writing that gets its name only when the block ends without an error; until then nothing changes.

    Args:
        path: the file; an older one is replaced.
        durable: wait until the bytes are on the disk, so that the file survives a power failure.
        unique: several processes may write this file at once; the last one to finish wins. A process that is killed
            leaves a temporary file that the next one does not overwrite.
        backup: the older file gets this name instead of being replaced.

    Raises:
        OSError: the file cannot be written. The temporary file is deleted, as after any error in the block.
    """
    temporary = temporary_path(path, unique=unique)
    try:
        with open(temporary, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if backup is not None and path.exists():
            os.replace(path, backup)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(
    path: str | Path, content: str | bytes, *, durable: bool = False, unique: bool = False, make_folder: bool = False,
    error: type[UserError] = ConfigError, hint: str = "",
) -> None:  # fmt: skip
    """Writes a file as :func:`open_whole` does.

    Args:
        path: the file; an older one is replaced.
        content: its bytes, or a string, which is encoded as UTF-8 with lone surrogates escaped.
        durable: as in :func:`open_whole`.
        unique: as in :func:`open_whole`.
        make_folder: create the folder if it is missing.
        error: class of the error that is raised.
        hint: what to do about it, added to the message after ``cannot write PATH: REASON``.

    Raises:
        UserError: the file cannot be written; of class ``error``.
    """
    path = Path(path)
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open_whole(path, durable=durable, unique=unique) as file:
            file.write(data)
    except OSError as reason:
        raise error(f"cannot write {path}: {reason.strerror or reason}{hint}") from None


def same_file(one: str | Path, other: str | Path) -> bool:
    """Returns whether two paths name the same file, also by links; a path without a file is equal to itself only."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return Path(one).resolve() == Path(other).resolve()


def check_distinct(places: Sequence[str], files: Sequence[Sequence[Path]]) -> None:
    """Raises a RecordError if two of the given runs share a file.

    Args:
        places: the runs, as given.
        files: the files that are read of each.
    """
    for second, own in enumerate(files):
        for first in range(second):
            if any(same_file(a, b) for a in files[first] for b in own):
                raise RecordError(f"{places[second]} and {places[first]} are the same run; name it once")


def runs_within(folder: Path, pattern: str) -> str:
    """Returns a sentence that names the folders with results directly below a folder, as a hint; "" if there are none.

    Args:
        folder: where runs were searched.
        pattern: pattern of a run's files, such as ``*.jsonl``.
    """
    try:
        below = [child.name for child in sorted(folder.iterdir()) if any((child / "results").glob(pattern))]
    except OSError:
        return ""
    more = ", ..." if len(below) > 5 else ""
    return f". Runs lie in folders within: {', '.join(below[:5])}{more}; name these" if below else ""
