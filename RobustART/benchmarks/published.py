"""Published corruption sets in class folders: ImageNet-C, ImageNet-C-bar, ImageNet-3DCC."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from RobustART.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset
from RobustART.data.datasets import check_reader, from_meta_file
from RobustART.data.generated import read_generated
from RobustART.data.published import IMAGENET_3DCC, IMAGENET_C, IMAGENET_C_BAR, Published
from RobustART.data.variants import VariantDataset, listed_variants, scan_variants, variant_view
from RobustART.errors import ConfigError, DataError
from RobustART.metrics import summaries
from RobustART.metrics.baselines import C_3D, C_BAR
from RobustART.noise.corruptions import CORRUPTIONS, group_of

LEVELS = (1, 2, 3, 4, 5)


def crop_only(model: Preprocessing) -> Preprocessing:
    """Returns the official preprocessing of files that are stored at the input size already: the middle, no resize."""
    return dataclasses.replace(model, crop_mode="none")


def resize256(model: Preprocessing) -> Preprocessing:
    """Returns the original RobustART's preprocessing of those files: bilinear to 256, then the middle, 8/7 larger."""
    if model.input_size > 256:
        raise ConfigError(
            f"preprocess: resize256 makes 256 x 256 pixels, less than the model's input of {model.input_size}; say crop "
            "for files of that size, or model"
        )
    return dataclasses.replace(model, resize=256, interpolation="bilinear", crop_mode="center")


PREPROCESSINGS: dict[str, Callable[[Preprocessing], Preprocessing] | None] = {
    "crop": crop_only,
    "resize256": resize256,
    "model": None,
}
"""Values of the option ``preprocess``; ``model`` is the model's own preprocessing, as for photos."""


def stored_preprocessing(name: str, benchmark: str) -> Callable[[Preprocessing], Preprocessing] | None:
    """Returns the preprocessing of the option ``preprocess``, or raises a ConfigError that lists the values."""
    if not isinstance(name, str) or name not in PREPROCESSINGS:
        raise ConfigError(f"{benchmark}.preprocess must be one of {', '.join(PREPROCESSINGS)}, got {name!r}")
    return PREPROCESSINGS[name]


def stored_cells(dataset: VariantDataset) -> tuple[Cell, ...]:
    """Returns one cell for each version."""
    return tuple(Cell(name, functools.partial(variant_view, name=name)) for name in dataset.variants)


def corruption_cells(benchmark: str, corruptions: Any, severities: Any) -> list[tuple[str, int]]:
    """Returns corruption and severity of each cell from the two options, checked."""
    names = as_list(corruptions, str, f"{benchmark}.corruptions")
    levels = [int(level) for level in as_list(severities, (int, np.integer), f"{benchmark}.severities")]
    if not names or not levels:
        raise ConfigError(f"{benchmark} needs at least one corruption and one severity")
    for level in levels:
        if level not in LEVELS:
            raise ConfigError(f"{benchmark}.severities must be from 1 to 5, got {level!r}")
    for values, option in ((names, "corruptions"), (levels, "severities")):
        if len(set(values)) < len(values):
            raise ConfigError(f"{benchmark}.{option} names something twice: {values}")
    return [(name, level) for name in names for level in levels]


def cell_options(cells: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Returns the two options that :func:`corruption_cells` makes cells from, as lists."""
    names, levels = zip(*cells, strict=True)
    return {"corruptions": list(dict.fromkeys(names)), "severities": list(dict.fromkeys(levels))}


def stored_imagenet_c(
    root_dir: str | Path, meta: str | Path | None, preprocess: str, corruptions: Any, severities: Any, decoder: str,
    exif_orientation: bool,
) -> Benchmark:  # fmt: skip
    """Returns ImageNet-C from its published files; the options are those of ``imagenet_c``."""
    cells = corruption_cells("imagenet_c", corruptions, severities)
    for name, _ in cells:
        CORRUPTIONS[name]
    adapt = stored_preprocessing(preprocess, "imagenet_c")
    check_reader(decoder, exif_orientation)
    root = IMAGENET_C.folder(root_dir, "imagenet_c.root_dir")
    generated = read_generated(root, "imagenet_c")
    if meta is None:
        dataset = scan_variants(IMAGENET_C, root, {f"{c}/{s}": _severity_folder(root, c, s) for c, s in cells})
        dataset = generated.arrange(dataset) if generated else dataset
    elif isinstance(meta, (str, Path)):
        dataset = _from_meta(root, Path(meta), cells)
        dataset = generated.arrange(dataset, labelled=True) if generated else dataset
    else:
        raise ConfigError(f"imagenet_c.meta must be a file, got {meta!r}")
    dataset = dataclasses.replace(dataset, decoder=decoder, exif_orientation=exif_orientation)
    part = Pass(dataset, stored_cells(dataset), preprocessing=adapt)
    options = {**cell_options(cells), "backend": None, "jpeg_quality": None}
    return Benchmark(
        "imagenet_c", (part,), summaries.imagenet_c, options, notes=(generated or IMAGENET_C).notes(dataset),
        notes_on=generated.notes_on if generated else None,
    )  # fmt: skip


def _severity_folder(root: Path, corruption: str, severity: int) -> str:
    """Returns where a cell's images are: the tar files hold their corruptions under ``noise``, ``blur``, ..."""
    grouped = f"{group_of(corruption)}/{corruption}/{severity}"
    return grouped if not (root / corruption).is_dir() and (root / grouped).is_dir() else f"{corruption}/{severity}"


def _from_meta(root: Path, meta: Path, cells: Sequence[tuple[str, int]]) -> VariantDataset:
    """Returns the images that the original's meta file names: {group: {corruption: {severity: JSON-lines file}}}."""
    try:
        groups = json.loads(meta.read_text(encoding="utf-8"))
        files = {
            (c, int(s)): str(file) for group in groups.values() for c, row in group.items() for s, file in row.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"the meta file {meta} must hold JSON {{group: {{corruption: {{severity: file}}}}}}: {error}"
        ) from None
    lists = {}
    for corruption, severity in cells:
        if (corruption, severity) not in files:
            known = ", ".join(sorted({c for c, _ in files}))
            raise IMAGENET_C.missing(
                f"{corruption}/{severity} in {meta}", f"it names other cells (corruptions: {known})"
            )
        path = files[corruption, severity]
        place = next((p for p in (meta.parent / path, root / path) if p.is_file()), meta.parent / path)
        listed = from_meta_file(root, place)
        lists[f"{corruption}/{severity}"] = list(zip(listed.files, listed.labels, strict=True))
    return listed_variants(IMAGENET_C, root, {name: name for name in lists}, lists)


def _corruption_set(name: str, spec: Published, known: tuple[str, ...]) -> None:
    @BENCHMARKS.register(name)
    def build(
        dataset: ImageDataset,
        *,
        root_dir: str,
        corruptions: Sequence[str] = known,
        severities: Sequence[int] = LEVELS,
        preprocess: str = "crop",
        decoder: str = "pil",
        exif_orientation: bool = False,
    ) -> Benchmark:
        cells = corruption_cells(name, corruptions, severities)
        adapt = stored_preprocessing(preprocess, name)
        check_reader(decoder, exif_orientation)
        root = spec.folder(root_dir, f"{name}.root_dir")
        read_generated(root, name)  # refuses one of another benchmark
        images = scan_variants(spec, root, {f"{c}/{s}": f"{c}/{s}" for c, s in cells})
        images = dataclasses.replace(images, decoder=decoder, exif_orientation=exif_orientation)
        part = Pass(images, stored_cells(images), preprocessing=adapt)
        return Benchmark(name, (part,), summaries.corruption_errors, cell_options(cells), notes=spec.notes(images))

    build.__doc__ = f"""Returns {spec.title} from its published folder, with the mean of top-1 error over its cells.

    Args:
        dataset: not used; {spec.title} is a data set of its own.
        root_dir: its folder, ``{spec.layout}``.
        corruptions: names of folders; all {len(known)} by default.
        severities: from 1 to 5.
        preprocess: ``crop`` (the middle, no resize), ``resize256``, or ``model`` (its own, as for photos).
        decoder: of its files, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """


_corruption_set("imagenet_c_bar", IMAGENET_C_BAR, C_BAR)
_corruption_set("imagenet_3dcc", IMAGENET_3DCC, C_3D)
