"""CIFAR-10-C and CIFAR-100-C from their arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from RobustART.benchmarks.core import BENCHMARKS, Benchmark, Pass
from RobustART.benchmarks.published import LEVELS, cell_options, corruption_cells, stored_cells, stored_preprocessing
from RobustART.data import ImageDataset
from RobustART.data.folders import enumerate_names, what_is_there
from RobustART.data.published import CIFAR_10_C, CIFAR_100_C, CIFAR_C, looks_right
from RobustART.data.variants import StackedDataset
from RobustART.errors import DataError
from RobustART.metrics import summaries
from RobustART.noise.corruptions import CORRUPTIONS

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes of CIFAR-10 in the order of their labels."""


@BENCHMARKS.register("cifar_c")
def cifar_c(
    dataset: ImageDataset,
    *,
    root_dir: str,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = LEVELS,
    preprocess: str = "crop",
) -> Benchmark:
    """Returns CIFAR-10-C or CIFAR-100-C from its ``.npy`` files (Hendrycks and Dietterich 2019).

    Args:
        dataset: not used; CIFAR-C is a data set of its own.
        root_dir: folder of ``{corruption}.npy``, uint8 (5 N, 32, 32, 3) with severity 1 first, and of ``labels.npy``,
            whole numbers (5 N,), which repeat the labels for each severity, or (N,).
        corruptions: names of files; all 19 by default.
        severities: from 1 to 5.
        preprocess: ``crop`` (the pictures as they are), ``resize256``, or ``model`` (its own, as for photos).
    """
    cells = corruption_cells("cifar_c", corruptions, severities)
    adapt = stored_preprocessing(preprocess, "cifar_c")
    root = CIFAR_C.folder(root_dir, "cifar_c.root_dir")
    names = list(dict.fromkeys(name for name, _ in cells))
    absent = [name for name in ("labels", *names) if not (root / f"{name}.npy").is_file()]
    if absent:
        found = what_is_there(root, looks_right(["labels.npy", *(f"{name}.npy" for name in names)]))
        raise CIFAR_C.missing(
            f"{root}/{enumerate_names([f'{name}.npy' for name in absent])}",
            f"{len(absent)} of {len(names) + 1} files are not there: {found}. Restrict the run to what is there with "
            "corruptions, or fetch the rest",
        )
    arrays = {name: _pictures(root / f"{name}.npy") for name in names}
    rows = {len(array) for array in arrays.values()}
    if len(rows) > 1:
        counts = ", ".join(f"{name}.npy {len(array)}" for name, array in arrays.items())
        raise CIFAR_C.missing("as many pictures in every file", f"they have {counts}")
    count = rows.pop() // len(LEVELS)
    labels = _labels(root / "labels.npy", count)
    spec = CIFAR_10_C if labels.max() < CIFAR_10_C.classes else CIFAR_100_C
    class_names = CIFAR_10 if spec is CIFAR_10_C else tuple(f"class {i}" for i in range(spec.classes))
    if labels.max() >= spec.classes:
        raise CIFAR_C.missing(
            f"labels from 0 to {CIFAR_100_C.classes - 1} in {root / 'labels.npy'}", f"one is {labels.max()}"
        )
    images = StackedDataset(
        tuple(f"{i:05d}" for i in range(count)), tuple(labels.tolist()), root, class_names, name=spec.title,
        folders={f"{name}/{level}": name for name, level in cells},
        arrays={f"{name}/{level}": arrays[name] for name, level in cells},
        offsets={f"{name}/{level}": (level - 1) * count for name, level in cells},
    )  # fmt: skip
    part = Pass(images, stored_cells(images), preprocessing=adapt)
    return Benchmark("cifar_c", (part,), summaries.corruption_errors, cell_options(cells), notes=spec.notes(images))


def _load(path: Path) -> NDArray[np.generic]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _pictures(path: Path) -> NDArray[np.uint8]:
    """Returns the pictures of a file: uint8 (5 N, H, W, 3)."""
    array = _load(path)
    whole = array.ndim == 4 and array.shape[3] == 3 and len(array) > 0 and len(array) % len(LEVELS) == 0
    if array.dtype != np.uint8 or not whole:
        raise CIFAR_C.missing(
            f"uint8 ({len(LEVELS)} N, H, W, 3) in {path}, the severities one after another",
            f"it holds {array.dtype} {array.shape}",
        )
    return array  # type: ignore[return-value]


def _labels(path: Path, count: int) -> NDArray[np.int64]:
    """Returns the label of each of ``count`` images; the file may repeat them for each severity."""
    array = _load(path)
    fits = array.shape in ((count,), (len(LEVELS) * count,))
    if not np.issubdtype(array.dtype, np.integer) or not fits:
        raise CIFAR_C.missing(
            f"whole numbers ({count},) or ({len(LEVELS) * count},) in {path}, labels of the pictures",
            f"it holds {array.dtype} {array.shape}",
        )
    labels = array.astype(np.int64).reshape(-1, count)
    if (labels != labels[0]).any():
        level, image = np.argwhere(labels != labels[0])[0]
        raise CIFAR_C.missing(
            f"the same {count} labels for each severity in {path}",
            f"image {image} has the label {labels[0, image]} at severity 1 and {labels[level, image]} at {level + 1}",
        )
    if labels[0].min() < 0:
        raise CIFAR_C.missing(f"labels from 0 in {path}", f"one is {labels[0].min()}")
    return np.asarray(labels[0])
