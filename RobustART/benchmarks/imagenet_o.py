"""ImageNet-O: images of unknown things, and whether low confidence finds them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from RobustART.benchmarks.building import STORED, Benchmark, Cell, Pass, class_list, clean_view
from RobustART.benchmarks.options import DecoderName
from RobustART.core.published import PublishedSet
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
"""Images of known classes in the published protocol."""
METRICS = (
    MetricSpec(
        "aupr", "Area under precision and recall of finding unknown images by low confidence.", "high", headline=True
    ),
    MetricSpec("auroc", "Area under the ROC curve of the same.", "high"),
    MetricSpec(
        "fpr95", "False positives at the threshold that finds a share of the unknown images nearest to 95 %.", "low"
    ),
    MetricSpec("chance_aupr", "AUPR of a score that says nothing: the share of unknown images."),
)


@functools.cache
def imagenet_o_classes() -> tuple[int, ...]:
    """Returns the 200 of ImageNet's 1,000 classes that ImageNet-O's protocol compares, sorted; not those of ImageNet-A.

    Source: the WordNet ids of hendrycks/natural-adv-examples, eval.py, as numbers in the order of the 1,000 ids.
    """
    return class_list(NAME)


def build(
    dataset: ImageDataset | None, *, root_dir: str, decoder: DecoderName = "pil", exif_orientation: bool = False
) -> Benchmark:
    """Returns ImageNet-O: does low confidence find images of unknown things? (Hendrycks et al. 2021).

    The 200 classes of ImageNet-O compete alone. The known images are those of the same 200 classes in the clean data set,
    chosen by their labels; no folder of links is needed.

    Args:
        dataset: clean images of ImageNet's validation set, labels 0 to 999.
        root_dir: the folder ``imagenet-o`` with one folder per WordNet id.
        decoder: of the files of ImageNet-O, one of ``imaging.DECODERS``.
        exif_orientation: turn them as their EXIF tag says.
    """
    from RobustART.data.published import count_notes, wnid_folders

    classes = imagenet_o_classes()
    unknown = wnid_folders(PUBLISHED, root_dir, f"{NAME}.root_dir", classes, decoder, exif_orientation)
    if dataset is None:
        raise ConfigError(f"{NAME} needs known photos: name ImageNet's validation set in data.test")
    ids = [i for i, label in enumerate(dataset.labels) if label in set(classes)]
    if dataset.class_names is not None or not ids:
        lack = "no photos of them" if dataset.class_names is None else "other classes than ImageNet"
        raise DataError(
            f"{NAME} needs known photos: those of ImageNet-O's 200 classes in {dataset.name}, which has {lack}; name "
            "ImageNet's validation set in data.test"
        )
    known = dataset.select(ids)
    notes = count_notes(PUBLISHED, unknown, classes)
    if len(known) != KNOWN_IMAGES:
        notes += (f"{NAME} compares with {len(known)} known photos; the published protocol has {KNOWN_IMAGES}",)
    cells = (Cell(STORED, clean_view),)
    parts = (Pass(known, cells, classes, "known"), Pass(unknown, cells, classes, "unknown"))
    return Benchmark(SPEC, parts, notes=notes)


def check(records: Records, place: str) -> None:
    """Raises a RecordError if records have not the passes ``known`` and ``unknown``, of one cell each."""
    found = [(table.name, len(table.cells)) for table in records.passes]
    if sorted(found) != [("known", 1), ("unknown", 1)]:
        raise RecordError(f"{place} needs the passes 'known' and 'unknown', of one cell each, but has {found}")


def summarize(records: Records) -> Summary:
    """Returns AUPR, AUROC and FPR at the recall nearest to 95 % from the passes ``known`` and ``unknown``.

    The score is minus the confidence among the 200 classes; unknown images are what is to be found. ``chance_aupr`` is
    what a score that says nothing would get: the share of unknown images.
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
