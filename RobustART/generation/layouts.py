"""Builds the layout of a benchmark: the files that :mod:`RobustART.generation.generate` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from RobustART.benchmarks import BENCHMARKS, Layout
from RobustART.core.options import checked, option_defaults
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError, DataError


def build_layout(benchmark: str, dataset: ImageDataset, options: Mapping[str, Any] | None) -> Layout:
    """Returns the layout of a benchmark; errors as in :func:`build_benchmark`."""
    function = BENCHMARKS[benchmark].layout
    if function is None:
        known = ", ".join(spec.name for spec in BENCHMARKS.values() if spec.layout)
        raise ConfigError(f"{benchmark} cannot be generated; these can: {known}")
    given = checked(function, {} if options is None else options, f"generating {benchmark}")
    return dataclasses.replace(function(dataset, **given), options={**option_defaults(function), **given})


def published_names(dataset: ImageDataset, ids: Sequence[int], keep_suffix: bool) -> list[str]:
    """Returns ``class/name`` of source images: the first folder of the path, then the rest of the path as one name."""
    names: dict[str, str] = {}
    for file in (dataset.files[i] for i in ids):
        path = PurePosixPath(file if keep_suffix else PurePosixPath(file).with_suffix(""))
        if len(path.parts) < 2 or path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{file!r} of {dataset.name} is not in a class folder; a published layout has one for each class"
            )
        name = f"{path.parts[0]}/{'_'.join(path.parts[1:])}"
        if len(name.encode(errors="ignore").decode()) < len(name) or len(name.splitlines()) != 1:
            raise DataError(
                f"{file!r} of {dataset.name} has bytes in its name that are not UTF-8, or a line break; lists of images "
                "cannot name it, so rename it"
            )
        if name in names:
            raise DataError(f"{names[name]} and {file} would both be written as {name}; rename one of them")
        names[name] = file
    return list(names)
