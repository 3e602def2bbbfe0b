"""Facts about a published data set: its layout, source and counts."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PublishedSet:
    """One published data set; :mod:`RobustART.data.published` reads it."""

    title: str
    """Name in papers."""
    layout: str
    """Layout of its folder."""
    source: str
    """Where it is published."""
    images: int
    """Number of images, in each cell if there are several."""
    classes: int
    """Number of classes."""
    unit: str = "images"
    """Unit of the counts, for messages."""
