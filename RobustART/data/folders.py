"""What lies in a folder: its class folders and their files, and a short description of it for messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from RobustART.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
"""What counts as an image in a class folder, in any case: ``.JPEG`` too."""


def _unreadable(error: OSError) -> DataError:
    return DataError(f"the folder {error.filename} cannot be read: {error.strerror or error}")


def subfolders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, sorted; hidden ones do not count.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from None


def class_files(root: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, *, deep: bool = False) -> list[str]:
    """Returns ``class/name`` of each file in the class folders of a folder, sorted; hidden files do not count.

    Args:
        root: the folder.
        suffixes: of the files that count, in small letters.
        deep: whether files in folders of a class folder count too.

    Raises:
        DataError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise _unreadable(error)

    found = []
    for name in subfolders(root):
        for folder, inner, files in os.walk(root / name, onerror=refuse):
            if not deep:
                inner.clear()
            inside = os.path.relpath(folder, root).replace(os.sep, "/")
            found += [
                f"{inside}/{file}" for file in files if file.lower().endswith(suffixes) and not file.startswith(".")
            ]
    return sorted(found, key=lambda file: file.split("/"))


def describe(folder: Path, name: str = "it") -> str:
    """Returns a sentence on what is in a folder, such as ``it holds the folders a, b and the file c``."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found if not entry.name.startswith("."))
    except OSError as error:
        return f"{name} cannot be read: {error.strerror or error}"
    parts = []
    for kind, names in (
        ("folder", [name for name, is_dir in entries if is_dir]),
        ("file", [name for name, is_dir in entries if not is_dir]),
    ):
        if names:
            parts.append(f"the {kind}{'s' if len(names) > 1 else ''} {enumerate_names(names)}")
    return f"{name} holds {' and '.join(parts)}" if parts else f"{name} is empty"


def enumerate_names(names: Iterable[str], most: int = 5) -> str:
    """Returns names with commas; of many the first few and how many there are."""
    every = list(names)
    return ", ".join(every) if len(every) <= most else f"{', '.join(every[:most])}, ... ({len(every)} in all)"


def what_is_there(folder: Path, fits: Callable[[Path], bool]) -> str:
    """Returns what is in a folder that is not what was looked for, and which folder beside or in it might be meant.

    Args:
        folder: the folder that was named.
        fits: whether a folder looks like what is looked for.
    """
    if not folder.is_dir():
        above = next((parent for parent in folder.absolute().parents if parent.is_dir()), None)
        return "there is no such folder" + (f"; {describe(above, str(above))}" if above else "")
    try:
        near = [folder.parent, *(folder / name for name in subfolders(folder)[:100])]
    except DataError:
        near = []
    meant = next((place for place in near if _fits(place, fits)), None)
    return describe(folder) + (f" (is {meant} meant?)" if meant else "")


def _fits(place: Path, fits: Callable[[Path], bool]) -> bool:
    try:
        return place.is_dir() and fits(place)
    except (DataError, OSError):
        return False
