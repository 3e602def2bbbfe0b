"""CIFAR-10-C and CIFAR-100-C from their arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from RobustART.benchmarks.building import Benchmark, Pass
from RobustART.benchmarks.corruption_sets import MEAN_ERROR, set_axes, set_summary
from RobustART.benchmarks.imagenet_c import ACCURACY_TABLE, EVERY, METRICS, OF_THESE
from RobustART.benchmarks.options import CorruptionName, PublishedView, Severity
from RobustART.benchmarks.stored import (
    LEVELS,
    PREPROCESSINGS,
    check_grades,
    corruption_grades,
    grade_coordinates,
    grade_name,
    grade_options,
    stored_cells,
)
from RobustART.core.imaging.npy import map_npy
from RobustART.core.published_set import PublishedSet
from RobustART.metrics.results import Summary
from RobustART.metrics.spec import BenchmarkSpec, add_benchmark
from RobustART.records.lines import Records

if TYPE_CHECKING:
    from RobustART.data import ImageDataset

NAME = "cifar_c"
LAYOUT = "{corruption}.npy and labels.npy"
CIFAR_10_C = PublishedSet("CIFAR-10-C", LAYOUT, "https://zenodo.org/record/2535967", 10000, 10)
CIFAR_100_C = PublishedSet("CIFAR-100-C", LAYOUT, "https://zenodo.org/record/3555552", 10000, 100)
CIFAR_C = dataclasses.replace(
    CIFAR_10_C, title="CIFAR-C", source=f"{CIFAR_10_C.source} (CIFAR-10-C) or /3555552 (CIFAR-100-C)"
)
"""Either of the two, before its labels are read."""
CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes of CIFAR-10 in the order of their labels."""


def build(
    dataset: ImageDataset,
    *,
    root_dir: str,
    corruptions: Sequence[CorruptionName] = EVERY,
    severities: Sequence[Severity] = LEVELS,
    preprocess: PublishedView = "crop",
) -> Benchmark:
    """Returns CIFAR-10-C or CIFAR-100-C from its ``.npy`` files (Hendrycks and Dietterich 2019).

    Args:
        dataset: not used; CIFAR-C is its own data set.
        root_dir: folder of ``{corruption}.npy``, uint8 (5 N, 32, 32, 3) with severity 1 first, and of ``labels.npy``,
            integers (5 N,), which repeat the labels for each severity, or (N,).
        corruptions: names of files; all 19 by default.
        severities: severities, from 1 (weakest) to 5.
        preprocess: ``crop`` (the stored images), ``resize256``, or ``model`` (the model's preprocessing of clean images).
    """
    from RobustART.data.folders import enumerate_names, what_is_there
    from RobustART.data.published import count_notes, existing_folder, looks_right, missing
    from RobustART.data.variants import StackedDataset

    grades = corruption_grades(NAME, corruptions, severities)
    adapt = PREPROCESSINGS[preprocess]
    root = existing_folder(CIFAR_C, root_dir, f"{NAME}.root_dir")
    names = list(dict.fromkeys(name for name, _ in grades))
    absent = [name for name in ("labels", *names) if not (root / f"{name}.npy").is_file()]
    if absent:
        found = what_is_there(root, looks_right(["labels.npy", *(f"{name}.npy" for name in names)]))
        raise missing(
            CIFAR_C,
            f"{root}/{enumerate_names([f'{name}.npy' for name in absent])}",
            f"{len(absent)} of {len(names) + 1} files are missing: {found}. Restrict the run to existing files by "
            "corruptions, or download the rest",
        )
    arrays = {name: _images(root / f"{name}.npy") for name in names}
    rows = {len(array) for array in arrays.values()}
    if len(rows) > 1:
        counts = ", ".join(f"{name}.npy {len(array)}" for name, array in arrays.items())
        raise missing(CIFAR_C, "the same number of images in every file", f"they have {counts}")
    count = rows.pop() // len(LEVELS)
    labels = _labels(root / "labels.npy", count)
    published = CIFAR_10_C if labels.max() < CIFAR_10_C.classes else CIFAR_100_C
    class_names = CIFAR_10 if published is CIFAR_10_C else tuple(f"class {i}" for i in range(published.classes))
    if labels.max() >= published.classes:
        raise missing(
            CIFAR_C,
            f"labels from 0 to {CIFAR_100_C.classes - 1} in {root / 'labels.npy'}",
            f"one is {labels.max()}",
        )
    images = StackedDataset(
        tuple(f"{i:05d}" for i in range(count)), tuple(labels.tolist()), root, class_names, name=published.title,
        folders={grade_name(grade): grade[0] for grade in grades},
        arrays={grade_name(grade): arrays[grade[0]] for grade in grades},
        offsets={grade_name(grade): (grade[1] - 1) * count for grade in grades},
    )  # fmt: skip
    part = Pass(images, stored_cells(images, grade_coordinates), preprocessing=adapt)
    return Benchmark(SPEC, (part,), grade_options(grades), notes=count_notes(published, images))


def _images(path: Path) -> NDArray[np.uint8]:
    """Returns the images of a file: uint8 (5 N, H, W, 3)."""
    from RobustART.data.published import missing

    array = map_npy(path)
    whole = array.ndim == 4 and array.shape[3] == 3 and len(array) > 0 and len(array) % len(LEVELS) == 0
    if array.dtype != np.uint8 or not whole:
        raise missing(
            CIFAR_C,
            f"uint8 ({len(LEVELS)} N, H, W, 3) in {path}, the severities one after another",
            f"it has {array.dtype} {array.shape}",
        )
    return array


def _labels(path: Path, count: int) -> NDArray[np.int64]:
    """Returns the label of each of ``count`` images; the file may repeat them for each severity."""
    from RobustART.data.published import missing

    array = map_npy(path)
    fits = array.shape in ((count,), (len(LEVELS) * count,))
    if not np.issubdtype(array.dtype, np.integer) or not fits:
        raise missing(
            CIFAR_C,
            f"integers ({count},) or ({len(LEVELS) * count},) in {path}, the labels of the images",
            f"it has {array.dtype} {array.shape}",
        )
    labels = array.astype(np.int64).reshape(-1, count)
    if (labels != labels[0]).any():
        level, image = np.argwhere(labels != labels[0])[0]
        raise missing(
            CIFAR_C,
            f"the same {count} labels for each severity in {path}",
            f"image {image} has the label {labels[0, image]} at severity 1 and {labels[level, image]} at {level + 1}",
        )
    if labels[0].min() < 0:
        raise missing(CIFAR_C, f"labels from 0 in {path}", f"one is {labels[0].min()}")
    return np.asarray(labels[0])


def summarize(records: Records) -> Summary:
    """Returns the mean top-1 error over all corruptions and over ImageNet-C's 15 scored ones; see ``set_summary``."""
    return set_summary(records, EVERY)


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, (*(spec for spec in METRICS if spec.name == "mean_error_15"), MEAN_ERROR, OF_THESE),
        title="CIFAR-C", tables=(ACCURACY_TABLE,), check=check_grades, coordinates=grade_coordinates,
        axes=set_axes(NAME), section="corruptions", evaluator="ImageNetCEvaluator",
    ),
)  # fmt: skip
