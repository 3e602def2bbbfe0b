"""Published sets of other photos of ImageNet's classes, ImageNet-R, -V2 and -Sketch, and of none of them, ImageNet-O."""

from __future__ import annotations

import re
from collections.abc import Sequence

from RobustART.benchmarks.core import BENCHMARKS, STORED, Benchmark, Cell, Pass, clean_view
from RobustART.data import ImageDataset
from RobustART.data.datasets import check_reader
from RobustART.data.folders import class_files, enumerate_names, subfolders, what_is_there
from RobustART.data.published import (
    IMAGENET_O,
    IMAGENET_R,
    IMAGENET_SKETCH,
    IMAGENET_V2,
    Published,
    wnid_folders,
)
from RobustART.errors import ConfigError, DataError
from RobustART.metrics import summaries
from RobustART.metrics.baselines import imagenet_o_classes, imagenet_r_classes


def _photos(name: str, spec: Published, images: ImageDataset, classes: Sequence[int], masked: bool) -> Benchmark:
    part = Pass(images, (Cell(STORED, clean_view),), tuple(classes) if masked else None)
    return Benchmark(name, (part,), summaries.classification, notes=spec.notes(images, classes))


@BENCHMARKS.register("imagenet_r")
def imagenet_r(
    dataset: ImageDataset,
    *,
    root_dir: str,
    masked: bool = True,
    decoder: str = "pil",
    exif_orientation: bool = False,
) -> Benchmark:
    """Returns ImageNet-R from its published folder (Hendrycks et al. 2021, https://arxiv.org/abs/2006.16241).

    Args:
        dataset: not used; ImageNet-R is a data set of its own.
        root_dir: the folder ``imagenet-r`` with one folder per WordNet id.
        masked: whether only its 200 classes compete, as in the official evaluation.
        decoder: of its files, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """
    if not isinstance(masked, bool):
        raise ConfigError(f"imagenet_r.masked must be true or false, got {masked!r}")
    classes = imagenet_r_classes()
    images = wnid_folders(IMAGENET_R, root_dir, "imagenet_r.root_dir", classes, decoder, exif_orientation)
    return _photos("imagenet_r", IMAGENET_R, images, classes, masked)


@BENCHMARKS.register("imagenet_sketch")
def imagenet_sketch(
    dataset: ImageDataset, *, root_dir: str, decoder: str = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-Sketch from its published folder (Wang et al. 2019, https://arxiv.org/abs/1905.13549).

    Args:
        dataset: not used; ImageNet-Sketch is a data set of its own.
        root_dir: its folder with one folder per WordNet id.
        decoder: of its files, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """
    every = range(1000)
    images = wnid_folders(IMAGENET_SKETCH, root_dir, "imagenet_sketch.root_dir", every, decoder, exif_orientation)
    return _photos("imagenet_sketch", IMAGENET_SKETCH, images, every, masked=False)


@BENCHMARKS.register("imagenet_v2")
def imagenet_v2(
    dataset: ImageDataset, *, root_dir: str, decoder: str = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-V2 from its published folder (Recht et al. 2019, https://arxiv.org/abs/1902.10811).

    Its folders are named by the number of the class. They are read as numbers: in the order of their names, 10 stands
    before 2.

    Args:
        dataset: not used; ImageNet-V2 is a data set of its own.
        root_dir: the folder of one of its three variants, such as ``imagenetv2-matched-frequency-format-val``.
        decoder: of its files, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """
    spec, option = IMAGENET_V2, "imagenet_v2.root_dir"
    check_reader(decoder, exif_orientation)
    root = spec.folder(root_dir, option)
    folders = subfolders(root)
    if folders and all(map(_is_wnid, folders)):
        images = wnid_folders(spec, root, option, range(1000), decoder, exif_orientation)
        return _photos("imagenet_v2", spec, images, range(1000), masked=False)
    odd = [folder for folder in folders if not _is_class(folder)]
    if odd or not folders:
        there = what_is_there(root, lambda place: any(_is_class(name) or _is_wnid(name) for name in subfolders(place)))
        if len(odd) < len(folders):
            there = f"of its {len(folders)} folders these are no such numbers: {enumerate_names(odd)}"
        raise spec.missing(f"folders {root}/{{0..999}}", there)
    files = sorted(class_files(root), key=lambda file: (int(file.split("/", 1)[0]), file))
    if not files:
        raise spec.missing(f"{root}/{{0..999}}/*.jpeg", "the folders are empty")
    labels = tuple(int(file.split("/", 1)[0]) for file in files)
    images = ImageDataset(
        tuple(files), labels, root, name=spec.title, decoder=decoder, exif_orientation=exif_orientation
    )
    return _photos("imagenet_v2", spec, images, range(1000), masked=False)


def _is_class(folder: str) -> bool:
    return re.fullmatch(r"\d{1,3}", folder) is not None


def _is_wnid(folder: str) -> bool:
    return re.fullmatch(r"n\d{8}", folder) is not None


@BENCHMARKS.register("imagenet_o")
def imagenet_o(
    dataset: ImageDataset | None, *, root_dir: str, decoder: str = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-O: are photos of unknown things told apart by their confidence? (Hendrycks et al. 2021).

    The 200 classes of ImageNet-O compete alone. The known photos are those of the same 200 classes in the clean data set,
    chosen by their labels; no folder of links is needed.

    Args:
        dataset: clean images of ImageNet's validation set, labels 0 to 999.
        root_dir: the folder ``imagenet-o`` with one folder per WordNet id.
        decoder: of the files of ImageNet-O, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """
    classes = imagenet_o_classes()
    unknown = wnid_folders(IMAGENET_O, root_dir, "imagenet_o.root_dir", classes, decoder, exif_orientation)
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
    notes = IMAGENET_O.notes(unknown, classes)
    if len(known) != 10000:
        notes += (f"imagenet_o compares with {len(known)} known photos; the published protocol has 10000",)
    cells = (Cell(STORED, clean_view),)
    parts = (Pass(known, cells, classes, "known"), Pass(unknown, cells, classes, "unknown"))
    return Benchmark("imagenet_o", parts, summaries.imagenet_o, notes=notes)
