"""ImageNet's classes: their WordNet ids, their names, and the labels that the names of class folders state."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

from RobustART.errors import DataError


@functools.cache
def imagenet_wnids() -> tuple[str, ...]:
    """Returns the 1,000 WordNet ids of ImageNet-1k in the order of the classes."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


@functools.cache
def imagenet_class_names() -> tuple[str, ...]:
    """Returns a short English name for each class of ImageNet-1k."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(i).split(",")[0] for i in range(1000))


WNIDS = "WordNet ids of the class folders"
NUMBERS = "numbers of the class folders"
ORDER = "order of the class folders' names"
"""Where labels come from that class folders state, see :func:`folder_labels`."""


ORDERED = (
    "number them in the order of their names, as torchvision's ImageFolder does: data.test.classes: folder (and "
    "data.train.classes), in Python create_dataset(..., classes='folder')"
)
"""Advice on class folders whose names do not state the model's classes."""


@dataclasses.dataclass(frozen=True)
class FolderLabels:
    """The labels that the names of class folders state."""

    index: Mapping[str, int]
    """Name of each folder to its label."""
    names: tuple[str, ...] | None
    """Names of the classes where the folders fix all of them."""
    rule: str
    """:data:`WNIDS`, :data:`NUMBERS` or :data:`ORDER`."""


def folder_labels(folders: Sequence[str], place: str | None, *, ordered: bool = False) -> FolderLabels:
    """Returns the labels of class folders by the first of these rules that fits all of them.

    1. WordNet ids of ImageNet-1k have its labels, 0 to 999, also where only some of the classes are there.
    2. Integers from 0 without leading zeros are the labels, also where only some of the classes are there.
    3. Other folders are numbered from 0 in the order of their names. Zero-padded numbers, which this order fits, are too.

    Args:
        folders: their names, sorted.
        place: the folder that they are in, for messages; None if the third rule is to decide on 1 to N.
        ordered: number them by the third rule, as torchvision's ``ImageFolder`` does with all names.

    Raises:
        DataError: the folders are 1 to N, so that the label of the first may be 0 or 1.
    """
    if not ordered and all(re.fullmatch(r"n[0-9]{8}", folder) for folder in folders):
        positions = {wnid: i for i, wnid in enumerate(imagenet_wnids())}
        if all(folder in positions for folder in folders):
            return FolderLabels({folder: positions[folder] for folder in folders}, None, WNIDS)
    if not ordered and all(re.fullmatch(r"0|[1-9][0-9]*", folder) for folder in folders):
        numbers = {folder: int(folder) for folder in folders}
        from_one = sorted(numbers.values()) == list(range(1, len(numbers) + 1))
        if not from_one:
            return FolderLabels(numbers, None, NUMBERS)
        if place is not None:
            raise DataError(
                f"the class folders of {place} are 1 to {len(numbers)}, without 0, so the label of 1 may be 0 or 1. Name "
                f"them from 0, or state the labels in a meta_file, or {ORDERED} (as text: 1, 10, 11, ..., 2)"
            )
    return FolderLabels({folder: i for i, folder in enumerate(folders)}, tuple(folders), ORDER)
