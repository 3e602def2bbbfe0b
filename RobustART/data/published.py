"""Reading published robustness data sets, and the errors for those that are missing or incomplete."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

from RobustART.core.published_set import PublishedSet
from RobustART.data.datasets import ImageDataset, check_reader, read_class_folders
from RobustART.data.folders import enumerate_names, subfolders, what_is_there
from RobustART.data.imagenet import imagenet_class_names, imagenet_wnids
from RobustART.errors import ConfigError, DataError


def missing(published: PublishedSet, expected: str, found: str) -> DataError:
    """Returns the error for a data set that is missing or incomplete."""
    return DataError(
        f"{published.title}: expected {expected}, but {found}. Its layout is {published.layout}; its source is "
        f"{published.source}"
    )


def existing_folder(published: PublishedSet, path: object, option: str) -> Path:
    """Returns a folder that exists, or raises an error that says how to get it."""
    if not isinstance(path, (str, Path)):
        raise ConfigError(f"{option} must be a folder, got {path!r}")
    root = Path(path)
    if not root.is_dir():
        raise missing(published, str(path), what_is_there(root, lambda _: False))
    return root


def count_notes(
    published: PublishedSet, dataset: ImageDataset, classes: Collection[int] | None = None
) -> tuple[str, ...]:
    """Returns a warning if a data set has another number of images or classes than the published one."""
    found = set(dataset.labels)
    if (len(dataset), len(found)) == (published.images, published.classes):
        return ()
    absent = sorted(set(classes or ()) - found)
    wnids = imagenet_wnids() if 0 < len(absent) <= 5 else []
    none_of = f"; none are of {', '.join(wnids[label] for label in absent)}" if wnids else ""
    return (
        f"{published.title} has {len(dataset)} {published.unit} of {len(found)} classes here; the published set has "
        f"{published.images} of {published.classes}{none_of}",
    )


def wnid_folders(
    published: PublishedSet,
    path: object,
    option: str,
    classes: Collection[int] = range(1000),
    decoder: str = "pil",
    exif_orientation: bool = False,
) -> ImageDataset:
    """Returns the images of a published folder of WordNet folders, with the labels of ImageNet-1k, 0 to 999.

    Args:
        published: the published set.
        path: its folder.
        option: what to call the path in errors.
        classes: of ImageNet's 1,000, those that the set has; a folder of another is refused.
        decoder: one of ``imaging.DECODERS``.
        exif_orientation: rotate and mirror images as their EXIF tag says.

    Raises:
        DataError: it is missing, or its folders are not of these classes.
    """
    check_reader(decoder, exif_orientation)
    root, wnids = existing_folder(published, path, option), imagenet_wnids()
    allowed = {wnids[label] for label in classes}
    folders = subfolders(root)
    foreign = [folder for folder in folders if folder not in allowed]
    if not folders or foreign:
        there = what_is_there(root, lambda place: bool(allowed.intersection(subfolders(place))))
        if len(foreign) < len(folders):
            names = dict(zip(wnids, imagenet_class_names(), strict=True))
            named = [f"{folder} ({names[folder]})" if folder in names else folder for folder in foreign]
            there = f"of its {len(folders)} folders these are of none of them: {enumerate_names(named)}"
        raise missing(published, f"folders of its {len(allowed)} classes, {root}/{{wnid}}", there)
    try:
        images = read_class_folders(root, published.title)
    except DataError as error:
        raise missing(published, f"{root}/{{wnid}}/*", str(error)) from None
    return dataclasses.replace(
        images, decoder=decoder, exif_orientation=exif_orientation, labelled_by=f"classes of {published.title}"
    )


def looks_right(folders: Collection[str]) -> Callable[[Path], bool]:
    """Returns whether a place holds any of the folders (or files) of a published set."""
    return lambda place: any((place / folder).exists() for folder in folders)
