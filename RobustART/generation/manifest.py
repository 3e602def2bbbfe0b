"""The state of a generated data set, from which a run resumes with the same settings and source images.

``manifest.json`` has the settings and the versions of the libraries that make the images. ``photos.jsonl`` begins with one
line for each source image: its id, names and label. When all files of a source image are written, a line with the digests
of the image and its files is appended; when the data set is complete, only these lines remain, in the order of the images.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from RobustART.core.files import temporary_path, write_whole
from RobustART.data.generated import MANIFEST, PHOTOS
from RobustART.data.samples import content_digest
from RobustART.errors import ConfigError
from RobustART.records.journal import difference

Photo = dict[str, Any]
"""One line of ``photos.jsonl``: ``id``, ``name``, ``file``, ``label``; if finished also ``digest`` and ``files``."""


class Ledger:
    """``manifest.json`` and ``photos.jsonl`` of a data set during a run."""

    def __init__(self, root: Path, manifest: Mapping[str, Any], photos: Sequence[Photo]) -> None:
        self.root, self.manifest, self.photos = root, dict(manifest), photos
        self.done: dict[int, Photo] = {}
        """Lines of the finished source images by id, set by :meth:`check`."""
        self._listed: dict[int, Photo] = {}

    def check(self) -> bool:
        """Reads the folder without writing; returns whether it has an earlier state of this data set."""
        path = self.root / MANIFEST
        if not path.is_file():
            mine = {temporary_path(path).name, temporary_path(self.root / PHOTOS).name}
            if self.root.is_dir() and any(entry.name not in mine for entry in self.root.iterdir()):
                raise ConfigError(f"{self.root} is not empty and has no {MANIFEST}; use another folder")
            return False
        try:
            before = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}. Use another folder") from None
        if not isinstance(before, dict):
            raise ConfigError(f"{path} is not the manifest of a generated data set; use another folder")
        self._read()
        now = json.loads(json.dumps(self.manifest))
        rows = difference({k: v for k, v in before.items() if k != "complete"}, now)
        if any(row.startswith("source.fingerprint:") for row in rows):
            rows = [row for row in rows if not row.startswith("source.fingerprint:")]
            rows.insert(0, self._changed_photo())
        if rows:
            raise ConfigError(
                f"{self.root} has a data set of other settings: {'; '.join(rows[:6])}. Nothing was changed there; use "
                "another folder"
            )
        return True

    def _read(self) -> None:
        """Reads ``photos.jsonl``; images with a truncated or damaged line are made again."""
        self.done, self._listed = {}, {}
        try:
            lines = (self.root / PHOTOS).read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.root / PHOTOS} cannot be read: {error.strerror or error}") from None
        asked = {photo["id"]: photo for photo in self.photos}
        for line in lines:
            try:
                photo = json.loads(line)
                listed = {key: photo[key] for key in ("id", "name", "file", "label")}
                self._listed[photo["id"]] = listed
                finished = len(photo.get("files", ())) == len(self.manifest["folders"]) and "digest" in photo
                if finished and asked.get(photo["id"]) == listed:
                    self.done[photo["id"]] = photo
            except (ValueError, KeyError, TypeError):
                continue

    def _changed_photo(self) -> str:
        """Returns a description of the first source image that has changed."""
        before = {photo["file"]: photo for photo in self._listed.values()}
        now = {photo["file"]: photo for photo in self.photos}
        for file in [*before, *now]:
            if file not in now:
                return f"the source image {file} is missing"
            if file not in before:
                return f"the source image {file} is new"
        for file, photo in now.items():
            if photo != before[file]:
                return f"the source image {file}: {'; '.join(difference(before[file], photo))}"
        return "the source images are others"

    def begin(self) -> None:
        """Writes that the data set is incomplete, and the list of its source images."""
        self._write_manifest(complete=False)
        self._write_photos([*self.photos, *(self.done[number] for number in sorted(self.done))])

    def add(self, photo: Photo) -> None:
        """Appends the line of a finished source image."""
        self.done[photo["id"]] = photo
        try:
            with open(self.root / PHOTOS, "ab", buffering=0) as file:
                file.write(_line(photo))
        except OSError as error:
            raise ConfigError(f"cannot write {self.root / PHOTOS}: {error.strerror or error}{_KEPT}") from None

    def finish(self) -> dict[str, Any]:
        """Writes that the data set is complete; returns its manifest."""
        self._write_photos([self.done[photo["id"]] for photo in self.photos])
        return self._write_manifest(complete=True)

    def _write_manifest(self, complete: bool) -> dict[str, Any]:
        whole = {**self.manifest, "complete": complete}
        write_file(self.root / MANIFEST, (json.dumps(whole, indent=2) + "\n").encode(), durable=True)
        return whole

    def _write_photos(self, photos: Iterable[Photo]) -> None:
        write_file(self.root / PHOTOS, b"".join(map(_line, photos)), durable=True)


def _line(photo: Photo) -> bytes:
    return (json.dumps(photo) + "\n").encode()


_KEPT = ". The files written before are kept; once this is resolved, the same command resumes"
write_file = functools.partial(write_whole, make_folder=True, error=ConfigError, hint=_KEPT)
"""Writes a file of the data set atomically."""


def file_digest(path: Path) -> str | None:
    """Returns the digest of a file; None if it cannot be read."""
    try:
        return content_digest(path.read_bytes())
    except OSError:
        return None
