"""ImageNet's classes: their WordNet ids, their names, and which labels class folders stand for."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence


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


def class_index(folders: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """Returns the label of each class folder, and the names of the classes where the folders fix all of them.

    Folders are numbered in their order; WordNet ids of ImageNet-1k have its own labels, and then there are no names.
    """
    if all(re.fullmatch(r"n\d{8}", folder) for folder in folders):
        positions = {wnid: i for i, wnid in enumerate(imagenet_wnids())}
        if all(folder in positions for folder in folders):
            return {folder: positions[folder] for folder in folders}, None
    return {folder: i for i, folder in enumerate(folders)}, tuple(folders)
