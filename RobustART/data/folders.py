"""What lies in a folder: its class folders and their files, what of them is not read, and a description for messages."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from RobustART.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
"""What counts as an image in a class folder, in any case: ``.JPEG`` too."""

FOREIGN = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that archives, disks and file servers add; images in them do not belong to the data set."""


Dropped = Counter[tuple[str, str]]
"""How many things do not count, by kind and name or suffix; the latter may be empty."""


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """The class folders of a folder."""

    names: tuple[str, ...]
    """Their names, sorted."""
    files: tuple[str, ...]
    """``class/name`` of each file in them that counts, sorted."""
    dropped: Dropped
    """What is there and does not count, class folders without a file among it."""


def dropped_note(name: str, dropped: Dropped) -> str:
    """Returns a sentence on what of a data set is not read; "" if all of it is."""
    parts = []
    for kind in sorted({kind for kind, _ in dropped}):
        of_kind = Counter({detail: count for (other, detail), count in dropped.items() if other == kind})
        named = [f"{count} {detail}" if count > 1 else detail for detail, count in sorted(of_kind.items()) if detail]
        details = f": {enumerate_names(named)}" if named else ""
        parts.append(f"{kind} ({of_kind.total()}{details})")
    return f"not all in {name} is read; left out are {', '.join(parts)}" if parts else ""


def _unreadable(error: OSError) -> DataError:
    return DataError(f"the folder {error.filename} cannot be read: {error.strerror or error}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_dropped(entry: os.DirEntry[str], dropped: Dropped) -> bool:
    """Returns whether a file or folder does not count because of its name; it is counted among the dropped ones."""
    if entry.name.startswith("."):
        dropped["hidden folders" if _is_folder(entry) else "hidden files", ""] += 1
    elif entry.name in FOREIGN:
        dropped["folders of other programs", entry.name] += 1
    else:
        return False
    return True


def _top(root: Path, suffixes: tuple[str, ...], dropped: Dropped) -> list[str]:
    names = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if _is_dropped(entry, dropped):
                    continue
                if _is_folder(entry):
                    names.append(entry.name)
                elif entry.name.lower().endswith(suffixes):
                    dropped["images beside the class folders", ""] += 1
    except OSError as error:
        raise _unreadable(error) from None
    return sorted(names)


def subfolders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, sorted; hidden ones and :data:`FOREIGN` ones do not count."""
    return _top(folder, (), Counter())


def list_classes(root: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, *, deep: bool = False) -> ClassFolders:
    """Returns the class folders of a folder and the files in them; hidden files and folders do not count.

    Args:
        root: the folder.
        suffixes: of the files that count, in small letters.
        deep: whether files in folders of a class folder count too. Links to folders are followed, as torchvision does,
            and each folder is read once for a class, so that links in a circle end.

    Raises:
        DataError: a folder cannot be read.
    """
    dropped: Dropped = Counter()
    names = _top(root, suffixes, dropped)
    files: list[str] = []
    try:
        for name in names:
            found = sorted(_class_files(root, name, suffixes, deep, dropped), key=lambda file: file.split("/"))
            if not found:
                dropped["class folders without an image", name] += 1
            files += found
    except OSError as error:
        raise _unreadable(error) from None
    return ClassFolders(tuple(names), tuple(files), dropped)


def _class_files(root: Path, name: str, suffixes: tuple[str, ...], deep: bool, dropped: Dropped) -> Iterable[str]:
    folders, seen = [name], set()
    links: list[str] = []
    while folders or links:
        # Links come last, so that a folder of the class has its own name and not that of a link to it.
        inside = folders.pop() if folders else links.pop(links.index(min(links)))
        if deep:
            status = os.stat(root / inside)
            if (status.st_dev, status.st_ino) in seen:
                dropped["links to folders that are read already", ""] += 1
                continue
            seen.add((status.st_dev, status.st_ino))
        with os.scandir(root / inside) as entries:
            for entry in entries:
                if _is_dropped(entry, dropped):
                    continue
                if _is_folder(entry):
                    if deep:
                        (links if entry.is_symlink() else folders).append(f"{inside}/{entry.name}")
                    else:
                        dropped["folders in class folders", ""] += 1
                elif entry.name.lower().endswith(suffixes):
                    yield f"{inside}/{entry.name}"
                else:
                    dropped["files of other kinds", os.path.splitext(entry.name)[1].lower() or "no suffix"] += 1


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
    """Returns what is in a folder that is not what was looked for, and which folder beside or in it might be meant."""
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
