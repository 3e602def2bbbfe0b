"""Matches the images of two result files by name, never by the order of lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError

_NAMINGS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("filename", "file name", str),
    ("filename", "folder and file name", lambda name: PurePosixPath(str(name)).parts[-2:]),
    ("filename", "last part of the file name", lambda name: PurePosixPath(str(name)).stem),
    ("image_id", "image id", str),
)
"""Keys that identify an image, the strictest first. Files of corruptions and decoders differ in their parent folders."""

Names = Mapping[str, Sequence[Any]]
"""For each kind of name (``filename``, ``image_id``) the names of the images, (N,)."""


class Joiner:
    """Matches the images of other result files with those of a first file.

    Args:
        place: the first file, for messages.
        names: names of its images.
        labels: their classes, (N,); the other files must have the same.
    """

    def __init__(self, place: str, names: Names, labels: NDArray[np.int64]) -> None:
        self.place, self.names, self.labels = place, names, labels
        self._places: dict[str, dict[Any, int] | None] = {}

    def rows(self, place: str, names: Names, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the rows of another file that hold the first file's images, in their order, (N,).

        Args:
            place: the other file, for messages.
            names: names of its images.
            labels: their classes, (N,).

        Raises:
            RecordError: the files have no kind of name in common, are of different images, or have different labels.
        """
        kinds = [kind for kind in self.names if kind in names]
        if not kinds:
            raise RecordError(
                f"the images of {self.place} and {place} cannot be matched: the lines of both must have 'filename' or "
                "'image_id'; the order of lines does not identify images"
            )
        # Ids count only for lines without file names: they do not override file names that differ.
        ways = [way for way in _NAMINGS if way[0] == ("filename" if "filename" in kinds else "image_id")]
        for kind, title, naming in ways:
            first = self._index(kind, title, naming)
            second = _index(names[kind], naming)
            if first is None or second is None or first.keys() != second.keys():
                continue
            rows = np.array([second[key] for key in first], dtype=np.int64)
            other = labels[rows] != self.labels
            if other.any():
                row = int(other.argmax())
                raise RecordError(
                    f"{place} has the label {labels[rows[row]]} for {self.names[kind][row]}, but {self.place} has "
                    f"{self.labels[row]}"
                )
            return rows
        kind = ways[0][0]
        mine, theirs = set(map(str, self.names[kind])), set(map(str, names[kind]))
        lone = sorted(mine ^ theirs)[:1] or ["a duplicate"]
        raise RecordError(
            f"{place} has other images than {self.place}: {len(theirs)} and {len(mine)}, of which {len(mine & theirs)} "
            f"are in both; {lone[0]} is not"
        )

    def _index(self, kind: str, title: str, naming: Callable[[Any], Any]) -> dict[Any, int] | None:
        if title not in self._places:
            self._places[title] = _index(self.names[kind], naming)
        return self._places[title]


def _index(names: Sequence[Any], naming: Callable[[Any], Any]) -> dict[Any, int] | None:
    """Returns the row of each name, or None if two rows have one name."""
    found = {naming(name): row for row, name in enumerate(names)}
    return found if len(found) == len(names) else None
