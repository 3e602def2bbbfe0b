"""How the images of a benchmark are stored: what ``robustart noise generate`` writes, as data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from RobustART.core.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

    from RobustART.benchmarks.building import Pass
    from RobustART.core.imaging import Array
    from RobustART.data import ImageDataset, Sample
    from RobustART.data.loader import View

    Store = Callable[[Sample, np.random.Generator], bytes]
Row = tuple[str, int]
"""Name of a stored image, ``class/name`` without the suffix, and its label."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A folder for each cell, in it class folders, in them a file for each image."""

    dataset: ImageDataset
    """The clean images, read as the benchmark reads them."""
    cells: Mapping[str, Store]
    """Name of each cell, which is its folder, to what makes its files: (sample, generator of image and cell) -> bytes."""
    suffix: str
    """Of the files."""
    libraries: tuple[str, ...]
    """Packages that make the images: other versions might make others."""
    keep_suffix: bool = False
    """Whether the source's own suffix stays in the name."""
    prepare: Callable[[Preprocessing], Preprocessing] | None = None
    """The procedure of a benchmark that resizes in its own way: only the input size can be chosen then."""
    lists: Callable[[Sequence[str], Sequence[Row]], Iterator[tuple[str, str]]] | None = None
    """(cells, images) -> names and texts of the lists that the original's format has beside the images."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All options, defaults too; filled in by :func:`RobustART.generation.layouts.build_layout`."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Fields of the preprocessing that the images depend on."""
        return ("input_size",) if self.prepare else ("input_size", "resize", "interpolation", "crop_mode")


def _store(sample: Sample, rng: np.random.Generator, *, view: View, encode: Callable[[Array], bytes]) -> bytes:
    return encode(view(sample, rng))


def encoded_views(part: Pass, encode: Callable[[Array], bytes]) -> dict[str, Store]:
    """Returns what makes the files of a pass: the view of each cell, encoded."""
    return {cell.name: functools.partial(_store, view=cell.view, encode=encode) for cell in part.cells}
