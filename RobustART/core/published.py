"""What is known of a published data set: its layout, source and counts."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PublishedSet:
    """One published data set; :mod:`RobustART.data.published` reads it."""

    title: str
    """As papers call it."""
    layout: str
    """What its folder holds."""
    source: str
    """Where it comes from."""
    images: int
    """Images, in each cell where it has several."""
    classes: int
    """Classes they are of."""
    unit: str = "images"
    """What is counted."""
