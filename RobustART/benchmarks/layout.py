"""The layout of a benchmark's files, which ``robustart noise generate`` writes."""

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
"""Name of a generated image, ``class/name`` without the suffix, and its label."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of a generated data set: a folder for each cell, with class folders that have a file for each image."""

    dataset: ImageDataset
    """The clean images, read as the benchmark reads them."""
    cells: Mapping[str, Store]
    """By name of a cell, which is its folder, the function that makes its files: (sample, generator) -> bytes."""
    suffix: str
    """Suffix of the files."""
    libraries: tuple[str, ...]
    """Packages that make the images; other versions may make other images."""
    keep_suffix: bool = False
    """Whether names keep the suffix of the source file."""
    prepare: Callable[[Preprocessing], Preprocessing] | None = None
    """Returns the benchmark's preprocessing from the model's; None uses the model's. If set, only the input size can be
    chosen."""
    lists: Callable[[Sequence[str], Sequence[Row]], Iterator[tuple[str, str]]] | None = None
    """(cells, images) -> names and contents of the lists that the original's format has beside the images."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All options, including defaults; set by :func:`RobustART.generation.layouts.build_layout`."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Fields of the preprocessing on which the images depend."""
        return ("input_size",) if self.prepare else ("input_size", "resize", "interpolation", "crop_mode")


def _store(sample: Sample, rng: np.random.Generator, *, view: View, encode: Callable[[Array], bytes]) -> bytes:
    return encode(view(sample, rng))


def encoded_views(part: Pass, encode: Callable[[Array], bytes]) -> dict[str, Store]:
    """Returns for each cell of a pass the function that makes its files, by encoding the view."""
    return {cell.name: functools.partial(_store, view=cell.view, encode=encode) for cell in part.cells}
