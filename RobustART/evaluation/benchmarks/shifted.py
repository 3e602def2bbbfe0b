"""Published sets of other photos of ImageNet's classes, ImageNet-R, -V2 and -Sketch, and of none of them, ImageNet-O."""

from __future__ import annotations

import re
from pathlib import Path

from RobustART.data import ImageDataset
from RobustART.data.datasets import IMAGE_SUFFIXES
from RobustART.data.published import (
    IMAGENET_O,
    IMAGENET_R,
    IMAGENET_SKETCH,
    IMAGENET_V2,
    Published,
    wnid_folders,
)
from RobustART.errors import ConfigError, DataError
from RobustART.evaluation.benchmarks.core import BENCHMARKS, STORED, Benchmark, Cell, Pass, clean_view
from RobustART.metrics import summaries
from RobustART.metrics.baselines import imagenet_o_classes


def _photos(name: str, spec: Published, images: ImageDataset, masked: bool) -> Benchmark:
    if not isinstance(masked, bool):
        raise ConfigError(f"{name}.masked must be true or false, got {masked!r}")
    classes = tuple(sorted(set(images.labels)))
    mask = classes if masked and len(classes) < 1000 else None
    part = Pass(images, (Cell(STORED, clean_view),), mask)
    return Benchmark(name, (part,), summaries.classification, notes=spec.notes(images))


@BENCHMARKS.register("imagenet_r")
def imagenet_r(dataset: ImageDataset, *, root_dir: str, masked: bool = True) -> Benchmark:
    """Returns ImageNet-R from its published folder (Hendrycks et al. 2021, https://arxiv.org/abs/2006.16241).

    Args:
        dataset: not used; ImageNet-R is a data set of its own.
        root_dir: the folder ``imagenet-r`` with one folder per WordNet id.
        masked: whether only the classes of its folders (200) compete, as in the official evaluation.
    """
    return _photos("imagenet_r", IMAGENET_R, wnid_folders(IMAGENET_R, root_dir, "imagenet_r.root_dir"), masked)


@BENCHMARKS.register("imagenet_sketch")
def imagenet_sketch(dataset: ImageDataset, *, root_dir: str) -> Benchmark:
    """Returns ImageNet-Sketch from its published folder (Wang et al. 2019, https://arxiv.org/abs/1905.13549).

    Args:
        dataset: not used; ImageNet-Sketch is a data set of its own.
        root_dir: its folder with one folder per WordNet id.
    """
    images = wnid_folders(IMAGENET_SKETCH, root_dir, "imagenet_sketch.root_dir")
    return _photos("imagenet_sketch", IMAGENET_SKETCH, images, masked=False)


@BENCHMARKS.register("imagenet_v2")
def imagenet_v2(dataset: ImageDataset, *, root_dir: str) -> Benchmark:
    """Returns ImageNet-V2 from its published folder (Recht et al. 2019, https://arxiv.org/abs/1902.10811).

    Its folders are named by the number of the class. They are read as numbers: in the order of their names, 10 stands
    before 2.

    Args:
        dataset: not used; ImageNet-V2 is a data set of its own.
        root_dir: the folder of one of its three variants, such as ``imagenetv2-matched-frequency-format-val``.
    """
    root = IMAGENET_V2.folder(root_dir, "imagenet_v2.root_dir")
    folders = [p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
    if folders and all(re.fullmatch(r"n\d{8}", folder) for folder in folders):
        return _photos(
            "imagenet_v2", IMAGENET_V2, wnid_folders(IMAGENET_V2, root, "imagenet_v2.root_dir"), masked=False
        )
    odd = [folder for folder in folders if not re.fullmatch(r"\d{1,3}", folder)]
    if odd or not folders:
        raise IMAGENET_V2.missing(f"{root}/{{0..999}}/*", f"it holds {odd[0] if odd else 'no folders'}")
    files = [
        f"{folder}/{path.name}"
        for folder in sorted(folders, key=int)
        for path in sorted((root / folder).iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not files:
        raise IMAGENET_V2.missing(f"{root}/{{0..999}}/*.jpeg", "the folders are empty")
    labels = tuple(int(file.split("/", 1)[0]) for file in files)
    return _photos("imagenet_v2", IMAGENET_V2, ImageDataset(tuple(files), labels, root, name=root.name), masked=False)


@BENCHMARKS.register("imagenet_o")
def imagenet_o(dataset: ImageDataset | None, *, root_dir: str) -> Benchmark:
    """Returns ImageNet-O: are photos of unknown things told apart by their confidence? (Hendrycks et al. 2021).

    The 200 classes of ImageNet-O compete alone. The known photos are those of the same 200 classes in the clean data set,
    chosen by their labels; no folder of links is needed.

    Args:
        dataset: clean images of ImageNet's validation set, labels 0 to 999.
        root_dir: the folder ``imagenet-o`` with one folder per WordNet id.
    """
    if not isinstance(root_dir, (str, Path)):
        raise ConfigError(f"imagenet_o.root_dir must be a folder, got {root_dir!r}")
    unknown = wnid_folders(IMAGENET_O, root_dir, "imagenet_o.root_dir")
    classes = imagenet_o_classes()
    foreign = sorted(set(unknown.labels) - set(classes))
    if foreign:
        raise DataError(f"{root_dir} must hold folders of ImageNet-O's 200 classes; class {foreign[0]} is none of them")
    if dataset is None:
        raise ConfigError("imagenet_o needs known photos: name ImageNet's validation set in data.test")
    ids = [i for i, label in enumerate(dataset.labels) if label in set(classes)]
    if dataset.class_names is not None or not ids:
        lack = "no photos of them" if dataset.class_names is None else "other classes than ImageNet"
        raise DataError(
            f"imagenet_o needs known photos: those of ImageNet-O's 200 classes in {dataset.name}, which has {lack}; name "
            "ImageNet's validation set in data.test"
        )
    known = dataset.select(ids)
    notes = IMAGENET_O.notes(unknown)
    if len(known) != 10000:
        notes += (f"imagenet_o compares with {len(known)} known photos; the published protocol has 10000",)
    cells = (Cell(STORED, clean_view),)
    parts = (Pass(known, cells, classes, "known"), Pass(unknown, cells, classes, "unknown"))
    return Benchmark("imagenet_o", parts, summaries.imagenet_o, notes=notes)
