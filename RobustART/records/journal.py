"""Writes, resumes and merges the result file of one benchmark.

During a run, process 0 appends to the file itself and process r to ``<file>.rank{r}``. The unit of commitment is the block:
the images that share a batch. Its lines are written by one call; a resumed run discards blocks with a missing or truncated
line. When all blocks are complete, they are merged, sorted by id, written under a temporary name, and renamed.

Within a block a long attack commits each of its stages as a separate line::

    {"progress": "autoattack_linf/8/255", "pass": 0, "first": 128, "stage": "apgd_ce", "ran": [0, 3], "finished": [3], ...}

``first`` is the id of the block's first image; positions count from it. A complete block no longer needs these lines.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.files import open_whole
from RobustART.errors import RecordError
from RobustART.records.lines import Key, Line, read_lines
from RobustART.records.sealing import seal

Progress = dict[str, Any]
"""One stage of an attack on a block, as JSON data."""


def difference(old: Any, new: Any, path: str = "") -> list[str]:
    """Returns the differences between two JSON values, as strings ``key: old -> new``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        rows = []
        for key in sorted({*old, *new}, key=str):
            rows += difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return rows
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [row for i, pair in enumerate(pairs) for row in difference(*pair, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def _encoded(text: str) -> bytes:
    """Returns a line as bytes; bytes of a file name that are not UTF-8 are restored."""
    return text.encode("utf-8", errors="surrogateescape")


class Journal:
    """The result file of one benchmark during a run.

    Args:
        path: path of the result file.
        header: header of the file; an existing file must have the same ``hash``.
        blocks: keys of the images of each block.
        rank: rank of this process.
    """

    def __init__(self, path: Path, header: dict[str, Any], blocks: Sequence[Sequence[Key]], rank: int = 0) -> None:
        self.path, self.header, self.blocks, self.rank = path, header, blocks, rank
        self._part = path if rank == 0 else path.with_name(f"{path.name}.rank{rank}")
        self._file: Any = None
        self._noted = False
        self.lines: dict[Key, str] = {}
        """Lines of all complete blocks, set by :meth:`done`."""
        self.untidy = False
        """Whether :meth:`done` found several files or lines of progress, which must be merged."""
        self.progress: list[Progress] = []
        """Finished stages of the incomplete blocks, set by :meth:`done`."""

    def parts(self) -> list[Path]:
        """Returns the existing files of this benchmark."""
        ranks = [p for p in self.path.parent.glob(f"{self.path.name}.rank*") if p.suffix[5:].isdigit()]
        return [p for p in (self.path, *sorted(ranks)) if p.exists()]

    def _read(self) -> tuple[dict[Key, str], list[Progress]]:
        """Returns the lines of all complete blocks, and the progress of the other blocks."""
        lines: dict[Key, str] = {}
        stages: dict[tuple[Any, ...], Progress] = {}
        for part in self.parts():
            if part.stat().st_size == 0:
                continue
            with open(part, "rb") as file:
                if not file.readline().endswith(b"\n"):
                    continue  # killed while writing the header: nothing is recorded
            header, found, progress = read_lines(part)
            self._check(header, part)
            self._noted |= bool(progress) or header["format"] != self.header["format"]
            for entry in progress:
                stages[entry["pass"], entry["first"], entry["progress"], entry["stage"]] = entry
            for key, line in found.items():
                if lines.setdefault(key, line) != line:
                    raise RecordError(f"{part} and another part of {self.path} differ in image {key[1]}")
        known = {key for block in self.blocks for key in block}
        foreign = [key for key in lines if key not in known]
        if foreign:
            raise RecordError(f"{self.path} has image {foreign[0][1]}, which this run does not evaluate")
        complete = [block for block in self.blocks if all(key in lines for key in block)]
        ended = {block[0] for block in complete}
        left = [entry for entry in stages.values() if (entry["pass"], entry["first"]) not in ended]
        return {key: lines[key] for block in complete for key in block}, left

    def _check(self, header: dict[str, Any], part: Path) -> None:
        if header.get("hash") == self.header["hash"]:
            return
        rows = difference(header.get("conditions", {}), self.header["conditions"])
        raise RecordError(
            f"{part} belongs to another config: its hash is {header.get('hash')}, this run's is {self.header['hash']}. "
            f"Differences (file -> run): {'; '.join(rows[:8]) or 'none that are recorded'}. "
            "Results are never mixed: use another output_dir, or --fresh to delete the old results."
        )

    def done(self) -> set[int]:
        """Returns the indices of the complete blocks, without writing anything.

        Raises:
            RecordError: the file is damaged or belongs to another config.
        """
        self.lines, self.progress = lines, _ = self._read()
        self.untidy = len(self.parts()) > 1 or self._noted
        return {i for i, block in enumerate(self.blocks) if all(key in lines for key in block)}

    def compact(self) -> None:
        """Merges all parts into one sorted result file of the complete blocks. Only process 0 may call it."""
        lines, progress = self._read()
        try:
            with open_whole(self.path, durable=True) as file:
                file.write(_encoded(seal(json.dumps(self.header, ensure_ascii=False))))
                file.writelines(_encoded(lines[key]) for key in sorted(lines))
                file.writelines(_encoded(seal(json.dumps(entry, ensure_ascii=False))) for entry in progress)
            for part in self.parts():
                if part != self.path:
                    part.unlink()
        except OSError as error:
            raise self._write_error(error) from error

    def delete(self) -> None:
        """Deletes all parts. Only process 0 may call it."""
        for part in self.parts():
            part.unlink()

    def open(self) -> None:
        """Opens this process's part for appending; after :meth:`compact` and a barrier."""
        try:
            self._file = open(self._part, "ab", buffering=0)  # noqa: SIM115 - stays open until close
            if self.rank != 0:
                self._write(_encoded(seal(json.dumps(self.header, ensure_ascii=False))))
        except OSError as error:
            raise self._write_error(error) from error

    def append(self, lines: Iterable[Line]) -> None:
        """Writes one block. If that fails, the file is truncated to the previous blocks.

        Raises:
            RecordError: the disk is full, or the file cannot be written.
        """
        self._append("".join(line.dump() for line in lines))

    def note(self, entry: Progress) -> None:
        """Writes one stage of an attack on the current block; errors as in :meth:`append`."""
        self._append(seal(json.dumps(entry, ensure_ascii=False)))

    def stages(self, key: Key, cell: str) -> list[Progress]:
        """Returns the finished stages of an attack, in order, for the block whose first image has this key."""
        return [e for e in self.progress if (e["pass"], e["first"]) == key and e["progress"] == cell]

    def _append(self, text: str) -> None:
        data = _encoded(text)
        start = self._file.seek(0, os.SEEK_END)
        try:
            self._write(data)
        except OSError as error:
            try:
                self._file.truncate(start)
            except OSError:
                pass  # the resumed run discards the rest of the block
            raise self._write_error(error) from error

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _write_error(self, error: OSError) -> RecordError:
        kept = "The records written before are kept; once this is resolved, the same command resumes the run."
        if error.errno == errno.EFBIG:
            kept = f"A limit on the size of files (ulimit -f) or the file system is the reason. {kept}"
        elif not self._part.exists() and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            kept = "The file was deleted during the run, and the records in it are lost; the same command starts over."
        return RecordError(f"cannot write {self._part}: {error.strerror or error}. {kept}")

    def close(self) -> None:
        """Closes this process's part; further calls have no effect."""
        if self._file is not None:
            self._file.close()
            self._file = None
