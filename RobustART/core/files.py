"""Atomic writing of files, parsing of JSON, and checks that outputs do not overwrite inputs or files of another kind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from RobustART.errors import ConfigError, RecordError, UserError

_HEAD = 4096
"""Number of bytes read to recognise a file."""


@dataclasses.dataclass(frozen=True)
class Output:
    """An output file of a command."""

    flag: str
    """Command-line option that names the file, such as ``--json``."""
    path: Path
    """Path of the file."""
    kind: str
    """Description of its contents, such as ``a leaderboard's data``."""
    begins: str
    """Regular expression for the beginning of such a file; an existing file that matches may be replaced."""


def json_format(name: str) -> str:
    """Returns :attr:`Output.begins` for JSON files that begin with ``"format": "name/version"``."""
    return rf'\s*\{{\s*"format":\s*"{re.escape(name)}/'


def check_outputs(outputs: Sequence[Output], inputs: Iterable[str | Path]) -> None:
    """Raises a ConfigError if two outputs are the same file, or one is an input, a folder or a file of another kind.

    Args:
        outputs: files to be written.
        inputs: files that are read.
    """
    seen: dict[Path, str] = {}
    read = [Path(path) for path in inputs]
    for output in outputs:
        resolved = output.path.resolve()
        if resolved in seen:
            raise ConfigError(f"{seen[resolved]} and {output.flag} are the same file, {output.path}; name two files")
        seen[resolved] = output.flag
        overwritten = next((path for path in read if same_file(path, output.path)), None)
        if overwritten is not None:
            raise ConfigError(
                f"{output.flag} {output.path} would overwrite {overwritten}, which is an input; name another file"
            )
        _check_existing(output)


def _check_existing(output: Output) -> None:
    """Raises a ConfigError if an output exists and is neither empty nor a file of its kind."""
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
            f"{output.flag} {path} exists already and is not {output.kind}: it is not replaced. Name another file, or "
            "delete it"
        )


def temporary_path(path: Path, *, unique: bool = False) -> Path:
    """Returns the temporary path that :func:`open_whole` uses: ``.NAME.tmp``, or ``.NAME.PID.tmp`` if ``unique``."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp" if unique else f".{path.name}.tmp")


@contextlib.contextmanager
def open_whole(
    path: Path, *, durable: bool = False, unique: bool = False, backup: Path | None = None
) -> Iterator[BinaryIO]:
    """Opens a temporary file for writing, and renames it to ``path`` when the block ends without an error.

    Args:
        path: path of the file; an existing file is replaced.
        durable: whether to wait until the bytes are on the disk, so that the file survives a power failure.
        unique: whether several processes may write this file at once; the last one to finish wins. A killed process leaves
            a temporary file that the next one does not overwrite.
        backup: path to which an existing file is renamed first.

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
    """Writes a file atomically, as :func:`open_whole` does.

    Args:
        path: path of the file; an existing file is replaced.
        content: bytes, or a string, which is encoded as UTF-8 with lone surrogates escaped.
        durable: as in :func:`open_whole`.
        unique: as in :func:`open_whole`.
        make_folder: whether to create a missing folder.
        error: class of the error.
        hint: advice that follows ``cannot write PATH: REASON`` in the message.

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


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON string; raises a ValueError if it is invalid or exceeds Python's limits."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def same_file(one: str | Path, other: str | Path) -> bool:
    """Returns whether two paths name the same file, also through links; missing files are compared by path."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return Path(one).resolve() == Path(other).resolve()


def check_distinct(places: Sequence[str], files: Sequence[Sequence[Path]]) -> None:
    """Raises a RecordError if two runs share a file.

    Args:
        places: the runs, as given.
        files: files that are read of each run.
    """
    for second, own in enumerate(files):
        for first in range(second):
            if any(same_file(a, b) for a in files[first] for b in own):
                raise RecordError(f"{places[second]} and {places[first]} are the same run; name it once")


def runs_within(folder: Path, pattern: str) -> str:
    """Returns a hint that names the runs among the subfolders of a folder, or an empty string.

    Args:
        folder: folder that was named as a run.
        pattern: pattern of a run's files, such as ``*.jsonl``.
    """
    try:
        below = [child.name for child in sorted(folder.iterdir()) if any((child / "results").glob(pattern))]
    except OSError:
        return ""
    more = ", ..." if len(below) > 5 else ""
    return f". Its subfolders are runs: {', '.join(below[:5])}{more}; name these" if below else ""
