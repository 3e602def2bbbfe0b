"""Published data sets of natural images in class folders: ImageNet-A, -R, -Sketch, -V2."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from RobustART.benchmarks.building import STORED, Benchmark, Cell, Pass, class_list, clean_view
from RobustART.benchmarks.clean import TOP1, TOP5
from RobustART.benchmarks.clean import summarize as top1_and_top5
from RobustART.benchmarks.options import DecoderName
from RobustART.core.published_set import PublishedSet
from RobustART.metrics.calibration import calibration
from RobustART.metrics.reading import check_one_cell, single_pass
from RobustART.metrics.results import Summary
from RobustART.metrics.spec import BENCHMARKS, Axis, BenchmarkSpec, Entry, MetricSpec, add_benchmark
from RobustART.records.lines import Records

if TYPE_CHECKING:
    from RobustART.data import ImageDataset

A, R, SKETCH, V2 = "imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2"
IMAGENET_A = PublishedSet(
    "ImageNet-A", "{wnid}/*.jpg", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar", 7500, 200
)
IMAGENET_R = PublishedSet(
    "ImageNet-R", "{wnid}/*.jpg", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar", 30000, 200
)
IMAGENET_SKETCH = PublishedSet(
    "ImageNet-Sketch", "{wnid}/*.JPEG", "https://github.com/HaohanWang/ImageNet-Sketch", 50889, 1000
)
IMAGENET_V2 = PublishedSet(
    "ImageNet-V2", "{0..999}/*.jpeg", "https://huggingface.co/datasets/vaishaal/ImageNetV2", 10000, 1000
)
CALIBRATION = (
    MetricSpec(
        "rms_calibration_error",
        "Difference of confidence and accuracy, root mean square over bins of confidence.",
        "low",
    ),
    MetricSpec("ece", "Expected calibration error: difference of confidence and accuracy, mean over bins.", "low"),
    MetricSpec(
        "aurra", "Area under the response rate accuracy curve: accuracy of the most confident images, averaged.", "high"
    ),
)


@functools.cache
def imagenet_a_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes in ImageNet-A, sorted.

    Source: the WordNet ids of hendrycks/natural-adv-examples, eval.py, as indices into the 1,000 sorted ids.
    """
    return class_list(A)


@functools.cache
def imagenet_r_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes in ImageNet-R, sorted; they differ from ImageNet-A's.

    Source: the WordNet ids of hendrycks/imagenet-r, eval.py, as indices into the 1,000 sorted ids.
    """
    return class_list(R)


def build_imagenet_a(
    dataset: ImageDataset,
    *,
    root_dir: str,
    masked: bool = True,
    decoder: DecoderName = "pil",
    exif_orientation: bool = False,
) -> Benchmark:
    """Returns ImageNet-A from its published folder (Hendrycks et al. 2021, https://arxiv.org/abs/1907.07174).

    Args:
        dataset: not used; ImageNet-A is its own data set.
        root_dir: folder ``imagenet-a`` with one folder for each WordNet id.
        masked: whether only ImageNet-A's 200 classes compete, as in the official evaluation.
        decoder: decoder of the files, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate images by their EXIF tag.
    """
    return _of_wnids(BENCHMARKS[A], IMAGENET_A, root_dir, imagenet_a_classes(), masked, decoder, exif_orientation)


def build_imagenet_r(
    dataset: ImageDataset,
    *,
    root_dir: str,
    masked: bool = True,
    decoder: DecoderName = "pil",
    exif_orientation: bool = False,
) -> Benchmark:
    """Returns ImageNet-R from its published folder (Hendrycks et al. 2021, https://arxiv.org/abs/2006.16241).

    Args:
        dataset: not used; ImageNet-R is its own data set.
        root_dir: folder ``imagenet-r`` with one folder for each WordNet id.
        masked: whether only ImageNet-R's 200 classes compete, as in the official evaluation.
        decoder: decoder of the files, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate images by their EXIF tag.
    """
    return _of_wnids(BENCHMARKS[R], IMAGENET_R, root_dir, imagenet_r_classes(), masked, decoder, exif_orientation)


def build_imagenet_sketch(
    dataset: ImageDataset, *, root_dir: str, decoder: DecoderName = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-Sketch from its published folder (Wang et al. 2019, https://arxiv.org/abs/1905.13549).

    Args:
        dataset: not used; ImageNet-Sketch is its own data set.
        root_dir: folder of the data set, with one folder for each WordNet id.
        decoder: decoder of the files, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate images by their EXIF tag.
    """
    spec = BENCHMARKS[SKETCH]
    return _of_wnids(spec, IMAGENET_SKETCH, root_dir, range(1000), False, decoder, exif_orientation)


def build_imagenet_v2(
    dataset: ImageDataset, *, root_dir: str, decoder: DecoderName = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-V2 from its published folder (Recht et al. 2019, https://arxiv.org/abs/1902.10811).

    The names of its folders are indices of classes, which are read as integers: as strings, 10 would precede 2.

    Args:
        dataset: not used; ImageNet-V2 is its own data set.
        root_dir: folder of one of the three variants, such as ``imagenetv2-matched-frequency-format-val``.
        decoder: decoder of the files, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate images by their EXIF tag.
    """
    from RobustART.data import ImageDataset
    from RobustART.data.datasets import check_reader
    from RobustART.data.folders import dropped_note, enumerate_names, list_classes, subfolders, what_is_there
    from RobustART.data.imagenet import NUMBERS
    from RobustART.data.published import existing_folder, missing

    check_reader(decoder, exif_orientation)
    root = existing_folder(IMAGENET_V2, root_dir, f"{V2}.root_dir")
    folders = subfolders(root)
    if folders and all(map(_is_wnid, folders)):
        return _of_wnids(BENCHMARKS[V2], IMAGENET_V2, root_dir, range(1000), False, decoder, exif_orientation)
    odd = [folder for folder in folders if not _is_class(folder)]
    if odd or not folders:
        there = what_is_there(root, lambda place: any(_is_class(name) or _is_wnid(name) for name in subfolders(place)))
        if len(odd) < len(folders):
            there = f"of its {len(folders)} folders these are not indices of classes: {enumerate_names(odd)}"
        raise missing(IMAGENET_V2, f"folders {root}/{{0..999}}", there)
    listed = list_classes(root)
    files = sorted(listed.files, key=lambda file: (int(file.split("/", 1)[0]), file))
    if not files:
        raise missing(IMAGENET_V2, f"{root}/{{0..999}}/*.jpeg", "the folders are empty")
    labels = tuple(int(file.split("/", 1)[0]) for file in files)
    images = ImageDataset(
        tuple(files), labels, root, name=IMAGENET_V2.title, decoder=decoder, exif_orientation=exif_orientation,
        note=dropped_note(IMAGENET_V2.title, listed.dropped), labelled_by=NUMBERS,
    )  # fmt: skip
    return _benchmark(BENCHMARKS[V2], IMAGENET_V2, images, range(1000), masked=False)


def _is_class(folder: str) -> bool:
    return re.fullmatch(r"[0-9]{1,3}", folder) is not None


def _is_wnid(folder: str) -> bool:
    return re.fullmatch(r"n[0-9]{8}", folder) is not None


def _of_wnids(
    spec: BenchmarkSpec, published: PublishedSet, root_dir: object, classes: Sequence[int], masked: bool, decoder: str,
    exif_orientation: bool,
) -> Benchmark:  # fmt: skip
    from RobustART.data.published import wnid_folders

    images = wnid_folders(published, root_dir, f"{spec.name}.root_dir", classes, decoder, exif_orientation)
    return _benchmark(spec, published, images, classes, masked)


def _benchmark(
    spec: BenchmarkSpec, published: PublishedSet, images: ImageDataset, classes: Sequence[int], masked: bool
) -> Benchmark:
    from RobustART.data.published import count_notes

    part = Pass(images, (Cell(STORED, clean_view),), tuple(classes) if masked else None)
    return Benchmark(spec, (part,), notes=count_notes(published, images, classes))


def calibrated(records: Records) -> Summary:
    """Returns top-1 accuracy, RMS calibration error, expected calibration error and AURRA of the first cell.

    The records are restricted to the 200 classes of ImageNet-A already if the benchmark was run with ``masked``.
    """
    table = single_pass(records)
    return calibration(table.confidence[:, 0], table.correct[:, 0])


def _add(
    name: str, title: str, build: Callable[..., Benchmark], *, short: str = "", summarize: Callable[..., Summary],
    metrics: tuple[MetricSpec, ...], evaluator: str = "ImageNetEvaluator",
    classes: Callable[[], tuple[int, ...]] | None = None,
) -> None:  # fmt: skip
    def axes(entry: Entry) -> Iterator[Axis]:
        yield Axis(short or title, f"top-1 accuracy on {short or title}", entry["metrics"]["top1"])

    add_benchmark(
        BenchmarkSpec(
            name, build, summarize, metrics, title=title, check=check_one_cell, axes=axes, evaluator=evaluator,
            classes=classes,
        ),
    )  # fmt: skip


_add(
    A, "ImageNet-A", build_imagenet_a, summarize=calibrated, metrics=(TOP1, *CALIBRATION), classes=imagenet_a_classes,
    evaluator="ImageNetAEvaluator",
)  # fmt: skip
_add(R, "ImageNet-R", build_imagenet_r, summarize=top1_and_top5, metrics=(TOP1, TOP5), classes=imagenet_r_classes)
_add(SKETCH, "ImageNet-Sketch", build_imagenet_sketch, summarize=top1_and_top5, metrics=(TOP1, TOP5), short="Sketch")
_add(V2, "ImageNet-V2", build_imagenet_v2, summarize=top1_and_top5, metrics=(TOP1, TOP5))
