"""What a generated data set keeps of itself while it is written, so that a run goes on with the same and nothing else.

``manifest.json`` holds what was asked for, and the versions of what makes the pictures. ``photos.jsonl`` begins with one
line for each photo: its number, names and label. When all files of a photo are written, a line is added that has digests
of the photo and of its files too; when everything is there, only those lines are left, in the order of the photos.
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
"""One line of ``photos.jsonl``: ``id``, ``name``, ``file``, ``label``; of a finished photo ``digest`` and ``files``."""


class Ledger:
    """``manifest.json`` and ``photos.jsonl`` of a data set that is being written.

    Args:
        root: folder of the data set.
        manifest: what is asked for now.
        photos: all photos, without digests.
    """

    def __init__(self, root: Path, manifest: Mapping[str, Any], photos: Sequence[Photo]) -> None:
        self.root, self.manifest, self.photos = root, dict(manifest), photos
        self.done: dict[int, Photo] = {}
        """Lines of the photos that are finished, as :meth:`check` found them."""
        self._listed: dict[int, Photo] = {}

    def check(self) -> bool:
        """Reads what is there, and writes nothing; returns whether this data set was begun before.

        Raises:
            ConfigError: the folder holds something else, or a data set of other settings, photos or versions.
        """
        path = self.root / MANIFEST
        if not path.is_file():
            mine = {temporary_path(path).name, temporary_path(self.root / PHOTOS).name}
            if self.root.is_dir() and any(entry.name not in mine for entry in self.root.iterdir()):
                raise ConfigError(f"{self.root} is not empty and has no {MANIFEST}; take another folder")
            return False
        try:
            before = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}. Take another folder") from None
        if not isinstance(before, dict):
            raise ConfigError(f"{path} is not that of a generated data set; take another folder")
        self._read()
        now = json.loads(json.dumps(self.manifest))
        rows = difference({k: v for k, v in before.items() if k != "complete"}, now)
        if any(row.startswith("source.fingerprint:") for row in rows):
            rows = [row for row in rows if not row.startswith("source.fingerprint:")]
            rows.insert(0, self._changed_photo())
        if rows:
            raise ConfigError(
                f"{self.root} holds a data set of other settings: {'; '.join(rows[:6])}. Nothing was changed there; take "
                "another folder"
            )
        return True

    def _read(self) -> None:
        """Reads ``photos.jsonl``; what is cut off or damaged in it counts as not done, so it is made again."""
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
        """Returns the first photo in which the source is not what it was."""
        before = {photo["file"]: photo for photo in self._listed.values()}
        now = {photo["file"]: photo for photo in self.photos}
        for file in [*before, *now]:
            if file not in now:
                return f"the photo {file} is not among them any more"
            if file not in before:
                return f"the photo {file} is new"
        for file, photo in now.items():
            if photo != before[file]:
                return f"the photo {file}: {'; '.join(difference(before[file], photo))}"
        return "the photos are others"

    def begin(self) -> None:
        """Says on disk that the data set is not whole, and which photos it will hold."""
        self._write_manifest(complete=False)
        self._write_photos([*self.photos, *(self.done[number] for number in sorted(self.done))])

    def add(self, photo: Photo) -> None:
        """Writes that a photo is finished, at once."""
        self.done[photo["id"]] = photo
        try:
            with open(self.root / PHOTOS, "ab", buffering=0) as file:
                file.write(_line(photo))
        except OSError as error:
            raise ConfigError(f"cannot write {self.root / PHOTOS}: {error.strerror or error}{_KEPT}") from None

    def finish(self) -> dict[str, Any]:
        """Says on disk that the data set is whole; returns its manifest."""
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


_KEPT = ". What is written is kept; when this is mended, the same command goes on"
write_file = functools.partial(write_whole, make_folder=True, error=ConfigError, hint=_KEPT)
"""Writes a file of the data set, whole or not at all; the next run writes what is missing."""


def file_digest(path: Path) -> str | None:
    """Returns the digest of a file; None where it cannot be read."""
    try:
        return content_digest(path.read_bytes())
    except OSError:
        return None
