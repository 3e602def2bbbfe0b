"""ImageNet-O: detection of images of unknown classes by low confidence."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from RobustART.benchmarks.building import STORED, Benchmark, Cell, Pass, class_list, clean_view
from RobustART.benchmarks.options import DecoderName
from RobustART.core.published_set import PublishedSet
from RobustART.errors import ConfigError, DataError, RecordError
from RobustART.metrics.detection import unknown_images
from RobustART.metrics.results import Summary
from RobustART.metrics.spec import BenchmarkSpec, MetricSpec, add_benchmark
from RobustART.records.lines import Records

if TYPE_CHECKING:
    from RobustART.data import ImageDataset

NAME = "imagenet_o"
PUBLISHED = PublishedSet(
    "ImageNet-O", "{wnid}/*.jpg", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar", 2000, 200
)
KNOWN_IMAGES = 10000
"""Number of images of known classes in the published protocol."""
METRICS = (
    MetricSpec(
        "aupr",
        "Area under the precision-recall curve of detecting unknown images by low confidence.",
        "high",
        headline=True,
    ),
    MetricSpec("auroc", "Area under the ROC curve of the same detection.", "high"),
    MetricSpec(
        "fpr95", "False positive rate at the threshold whose recall of unknown images is nearest to 95 %.", "low"
    ),
    MetricSpec("chance_aupr", "AUPR of an uninformative score: the share of unknown images."),
)


@functools.cache
def imagenet_o_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes in ImageNet-O's protocol, sorted; they differ from ImageNet-A's.

    Source: the WordNet ids of hendrycks/natural-adv-examples, eval.py, as indices into the 1,000 sorted ids.
    """
    return class_list(NAME)


def build(
    dataset: ImageDataset | None, *, root_dir: str, decoder: DecoderName = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-O, the detection of images of unknown classes by low confidence (Hendrycks et al. 2021).

    Only the 200 classes of ImageNet-O compete. The known images are those of the same 200 classes in the clean data set,
    selected by label.

    Args:
        dataset: clean images of ImageNet's validation set, with labels 0 to 999.
        root_dir: folder ``imagenet-o`` with one folder for each WordNet id.
        decoder: decoder of the files of ImageNet-O, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate them by their EXIF tag.
    """
    from RobustART.data.published import count_notes, wnid_folders

    classes = imagenet_o_classes()
    unknown = wnid_folders(PUBLISHED, root_dir, f"{NAME}.root_dir", classes, decoder, exif_orientation)
    if dataset is None:
        raise ConfigError(f"{NAME} needs known images: set data.test to ImageNet's validation set")
    ids = [i for i, label in enumerate(dataset.labels) if label in set(classes)]
    if dataset.class_names is not None or not ids:
        lack = "no images of them" if dataset.class_names is None else "other classes than ImageNet"
        raise DataError(
            f"{NAME} needs known images, those of ImageNet-O's 200 classes in {dataset.name}, which has {lack}; set "
            "data.test to ImageNet's validation set"
        )
    known = dataset.select(ids)
    notes = count_notes(PUBLISHED, unknown, classes)
    if len(known) != KNOWN_IMAGES:
        notes += (f"{NAME} compares with {len(known)} known images; the published protocol has {KNOWN_IMAGES}",)
    cells = (Cell(STORED, clean_view),)
    parts = (Pass(known, cells, classes, "known"), Pass(unknown, cells, classes, "unknown"))
    return Benchmark(SPEC, parts, notes=notes)


def check(records: Records, place: str) -> None:
    """Raises a RecordError unless the records have the passes ``known`` and ``unknown``, of one cell each."""
    found = [(table.name, len(table.cells)) for table in records.passes]
    if sorted(found) != [("known", 1), ("unknown", 1)]:
        raise RecordError(f"{place} needs the passes 'known' and 'unknown', of one cell each, but has {found}")


def summarize(records: Records) -> Summary:
    """Returns AUPR, AUROC and FPR at the recall nearest to 95 % from the passes ``known`` and ``unknown``.

    The score is the negative confidence among the 200 classes; unknown images are the positives. ``chance_aupr`` is the
    AUPR of an uninformative score, the share of unknown images.
    """
    by_name = {table.name: table.confidence[:, 0] for table in records.passes}
    if set(by_name) != {"known", "unknown"}:
        raise RecordError(f"ImageNet-O needs the passes 'known' and 'unknown', the records have {sorted(by_name)}")
    return unknown_images(by_name["known"], by_name["unknown"])


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, METRICS, title="ImageNet-O", check=check, classes=imagenet_o_classes,
        evaluator="ImageNetOEvaluator",
    ),
)  # fmt: skip
