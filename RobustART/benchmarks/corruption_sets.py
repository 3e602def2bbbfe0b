"""Published corruption sets other than ImageNet-C, in class folders: ImageNet-C-bar and ImageNet-3DCC."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from RobustART.benchmarks.building import Benchmark, Pass
from RobustART.benchmarks.imagenet_c import ACCURACY_TABLE, OF_THESE
from RobustART.benchmarks.options import DecoderName, PublishedView, Severity
from RobustART.benchmarks.stored import (
    LEVELS,
    PREPROCESSINGS,
    check_grades,
    corruption_grades,
    grade_coordinates,
    grade_name,
    grade_options,
    grades_of,
    stored_cells,
)
from RobustART.core.published_set import PublishedSet
from RobustART.metrics import estimates
from RobustART.metrics.corruption import SCORED
from RobustART.metrics.reading import single_pass
from RobustART.metrics.results import Estimate, Summary, Table, complement
from RobustART.metrics.spec import BENCHMARKS, Axis, BenchmarkSpec, Entry, MetricSpec, add_benchmark
from RobustART.records.lines import Records

if TYPE_CHECKING:
    from RobustART.data import ImageDataset

C_BAR = (
    "blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout", "cocentric_sine_waves",
    "inverse_sparkles", "perlin_noise", "plasma_noise", "single_frequency_greyscale", "sparkles",
)  # fmt: skip
"""The corruptions of ImageNet-C-bar (Mintun et al. 2021, https://arxiv.org/abs/2102.11273)."""
C_3D = (
    "near_focus", "far_focus", "bit_error", "color_quant", "flash", "fog_3d", "h265_abr", "h265_crf", "iso_noise",
    "low_light", "xy_motion_blur", "z_motion_blur",
)  # fmt: skip
"""The corruptions of ImageNet-3DCC (Kar et al. 2022, https://arxiv.org/abs/2203.01441)."""
MEAN_ERROR = MetricSpec(
    "mean_error", "Mean top-1 error over all corruptions and severities of the set.", "low", headline=True
)


def set_summary(records: Records, corruptions: Collection[str]) -> Summary:
    """Returns the mean top-1 error over corruptions and severities, and each cell's top-1 accuracy.

    ``mean_error`` is the mean over the whole set. ``mean_error_15`` is the mean over ImageNet-C's 15 scored corruptions, if
    the set contains them and others. A number is present only if all its cells are; without either,
    ``mean_error_of_these_cells`` is the mean over the cells that were run.

    Args:
        records: records of one pass.
        corruptions: all corruptions of the set, each at severities 1 to 5.
    """
    table, grades = single_pass(records), grades_of(records)
    wrong = 100.0 * ~table.correct
    rows: Table = {}
    for column, (name, severity) in enumerate(grades):
        rows.setdefault(name, {})[str(severity)] = estimates.accuracy(table.correct[:, column])
    complete = [name for name, row in rows.items() if sorted(row) == [str(level) for level in LEVELS]]

    def mean_error(names: Collection[str]) -> Estimate:
        columns = [column for column, (name, _) in enumerate(grades) if name in names]
        return estimates.mean(wrong[:, columns].mean(axis=1))

    metrics: dict[str, Estimate] = {}
    if set(rows) == set(complete) == set(corruptions):
        metrics["mean_error"] = mean_error(corruptions)
    if set(SCORED) < set(corruptions) and set(SCORED) <= set(complete):
        metrics["mean_error_15"] = mean_error(SCORED)
    if not metrics:
        metrics["mean_error_of_these_cells"] = mean_error(rows)
    return Summary(metrics, {"top1": rows})


def set_axes(name: str) -> Callable[[Entry], Iterator[Axis]]:
    """Returns a function that yields the radar axis of a set, 100 minus its mean error."""

    def axes(entry: Entry) -> Iterator[Axis]:
        if "mean_error" in entry["metrics"]:
            yield Axis(name, f"100 - mean error of {name}", complement(entry["metrics"]["mean_error"]))

    return axes


def _add(name: str, published: PublishedSet, known: tuple[str, ...]) -> None:
    def build(
        dataset: ImageDataset,
        *,
        root_dir: str,
        corruptions: Sequence[str] = known,
        severities: Sequence[Severity] = LEVELS,
        preprocess: PublishedView = "crop",
        decoder: DecoderName = "pil",
        exif_orientation: bool = False,
    ) -> Benchmark:
        from RobustART.data.datasets import check_reader
        from RobustART.data.generated import read_generated
        from RobustART.data.published import count_notes, existing_folder
        from RobustART.data.variants import scan_variants

        grades = corruption_grades(name, corruptions, severities)
        adapt = PREPROCESSINGS[preprocess]
        check_reader(decoder, exif_orientation)
        root = existing_folder(published, root_dir, f"{name}.root_dir")
        read_generated(root, name)  # raises if the folder was generated for another benchmark
        images = scan_variants(published, root, {grade_name(grade): grade_name(grade) for grade in grades})
        images = dataclasses.replace(images, decoder=decoder, exif_orientation=exif_orientation)
        part = Pass(images, stored_cells(images, grade_coordinates), preprocessing=adapt)
        return Benchmark(BENCHMARKS[name], (part,), grade_options(grades), notes=count_notes(published, images))

    build.__doc__ = f"""Returns {published.title} from its published folder, with the mean top-1 error over its cells.

    Args:
        dataset: not used; {published.title} is its own data set.
        root_dir: folder of the data set, ``{published.layout}``.
        corruptions: names of folders; all {len(known)} by default.
        severities: severities, from 1 (weakest) to 5.
        preprocess: ``crop`` (a center crop), ``resize256``, or ``model`` (the model's preprocessing of clean images).
        decoder: decoder of the files, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate images by their EXIF tag.
    """

    def summarize(records: Records) -> Summary:
        return set_summary(records, known)

    add_benchmark(
        BenchmarkSpec(
            name, build, summarize, (MEAN_ERROR, OF_THESE), title=published.title, tables=(ACCURACY_TABLE,),
            check=check_grades, coordinates=grade_coordinates, axes=set_axes(name), section="corruptions",
            evaluator="ImageNetCEvaluator",
        ),
    )  # fmt: skip


_add(
    "imagenet_c_bar",
    PublishedSet(
        "ImageNet-C-bar", "{corruption}/{1..5}/{wnid}/*.JPEG",
        "https://dl.fbaipublicfiles.com/inc_bar/imagenet_c_bar.tar.gz", 50000, 1000,
    ),
    C_BAR,
)  # fmt: skip
_add(
    "imagenet_3dcc",
    PublishedSet(
        "ImageNet-3DCC", "{corruption}/{1..5}/{wnid}/*.JPEG", "https://3dcommoncorruptions.epfl.ch", 50000, 1000
    ),
    C_3D,
)
