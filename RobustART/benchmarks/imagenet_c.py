"""ImageNet-C: 15 corruptions (and 4 extra ones) at 5 severities (Hendrycks and Dietterich 2019)."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from RobustART.benchmarks.building import (
    Batched,
    Benchmark,
    Cell,
    Pass,
    build_benchmark,
    clean_view,
    refuse_without_files,
)
from RobustART.benchmarks.layout import Layout, Row, encoded_views
from RobustART.benchmarks.options import Backend, CorruptionName, DecoderName, PublishedView, Severity
from RobustART.benchmarks.stored import (
    LEVELS,
    PREPROCESSINGS,
    Grade,
    check_grades,
    corruption_grades,
    grade_coordinates,
    grade_name,
    grade_options,
    grades_of,
    stored_cells,
)
from RobustART.core.imaging import Array, JpegQuality, decode, encode_jpeg
from RobustART.core.published_set import PublishedSet
from RobustART.errors import ConfigError, DataError, RecordError
from RobustART.metrics.corrupted import corrupted
from RobustART.metrics.corruption import GROUPS, group_of
from RobustART.metrics.reading import check_one_model, has_imagenet_labels, matched_clean, single_pass
from RobustART.metrics.results import Summary, complement
from RobustART.metrics.spec import Axis, BenchmarkSpec, Companions, Entry, MetricSpec, TableSpec, add_benchmark
from RobustART.records.lines import CLEAN, Records

if TYPE_CHECKING:
    import torch

    from RobustART.data import ImageDataset, Sample
    from RobustART.data.variants import VariantDataset

NAME = "imagenet_c"
PUBLISHED = PublishedSet(
    "ImageNet-C", "{corruption}/{1..5}/{wnid}/*.JPEG", "https://zenodo.org/record/2235448", 50000, 1000
)
EVERY = tuple(name for names in GROUPS.values() for name in names)
"""The 19 corruptions."""

MEAN_ERROR = MetricSpec("mean error", "Mean top-1 error over the severities.", "low")
CE = MetricSpec("CE", "Error divided by AlexNet's, both summed over the severities.", "low", "ratio")
RELATIVE_CE = MetricSpec(
    "relative CE",
    "Increase of the error over clean images, divided by AlexNet's increase.",
    "low",
    "ratio",
    lowest=float("-inf"),
)
TOP1 = MetricSpec("top1", "Percentage of images whose true class has the highest score.", "high")
OF_THESE = MetricSpec(
    "mean_error_of_these_cells",
    "Mean top-1 error over the corruptions and severities that were run.",
    "low",
    headline=True,
)
METRICS = (
    MetricSpec(
        "mCE",
        "ImageNet-C's official score: the error of each corruption divided by AlexNet's, mean over the 15 scored ones.",
        "low",
        "ratio",
        headline=True,
    ),
    MetricSpec(
        "relative_mCE",
        "Increase of the error over clean images divided by AlexNet's increase, mean over the 15 scored corruptions.",
        "low",
        "ratio",
        lowest=float("-inf"),
    ),
    MetricSpec(
        "mean_error_15",
        "Mean top-1 error over the 15 scored corruptions and 5 severities, not normalised.",
        "low",
        headline=True,
    ),
    MetricSpec("mCE_19", "As mCE, over all 19 corruptions.", "low", "ratio"),
    MetricSpec("relative_mCE_19", "As relative_mCE, over all 19 corruptions.", "low", "ratio", lowest=float("-inf")),
    MetricSpec("mean_error_19", "Mean top-1 error over all 19 corruptions and 5 severities, not normalised.", "low"),
    OF_THESE,
)
ACCURACY_TABLE = TableSpec(
    "top1", "top-1 accuracy (%)", TOP1, "Top-1 accuracy by corruption and severity.", rows="corruption", heat=True
)
TABLES = (
    ACCURACY_TABLE,
    TableSpec(
        "corruption_errors", "errors by corruption (%)", (MEAN_ERROR, CE, RELATIVE_CE),
        "Mean error, CE (error divided by AlexNet's) and relative CE of each corruption; lower is better.",
        rows="corruption", listed=("mean error",), naming="{row} {column}",
    ),
    TableSpec(
        "group_errors", "errors by group (%)", (MEAN_ERROR, CE, RELATIVE_CE),
        "Mean error, CE (error divided by AlexNet's) and relative CE of each group of corruptions; lower is better.",
        rows="group", listed=("mean error",), naming="{row} {column}",
    ),
)  # fmt: skip


def corrupted_view(
    sample: Sample, rng: np.random.Generator, *, name: str, severity: int, quality: int | None, backend: str
) -> Array:
    """Returns the model's crop, corrupted. The official generator also crops first."""
    from RobustART.noise.corruptions import corrupt

    image: Array = corrupt(sample.crop, name, severity, rng, backend=backend)
    return image if quality is None else decode(encode_jpeg(image, quality))


def made_cells(
    grades: Sequence[Grade], view: Callable[..., Array], device: torch.device | None = None
) -> tuple[Cell, ...]:
    """Returns the cells of corruptions that are made on the fly.

    Args:
        grades: corruption and severity of each cell.
        view: view of an image, a function of ``name`` and ``severity``.
        device: device for the corruptions that support batches; None makes all of them in the loader processes.
    """
    from RobustART.noise.corruptions.device import BATCHED, corrupt_batch

    cells = []
    for name, severity in grades:
        batched = None
        if device is not None and name in BATCHED:
            change = functools.partial(corrupt_batch, corruption=name, severity=severity, device=device)
            batched = Batched(clean_view, CLEAN, change)
        own = functools.partial(view, name=name, severity=severity)
        cell = grade_name((name, severity))
        cells.append(Cell(cell, own, grade_coordinates(cell), batched=batched))
    return tuple(cells)


def build(
    dataset: ImageDataset,
    *,
    corruptions: Sequence[CorruptionName] = EVERY,
    severities: Sequence[Severity] = LEVELS,
    jpeg_quality: JpegQuality | None = None,
    backend: Backend = "robustart",
    root_dir: str | None = None,
    meta: str | None = None,
    preprocess: PublishedView = "crop",
    decoder: DecoderName = "pil",
    exif_orientation: bool = False,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Benchmark:
    """Returns ImageNet-C, made on the fly from clean images or read from its files (Hendrycks and Dietterich 2019).

    Args:
        dataset: clean images; not used with ``root_dir``.
        corruptions: names in ``CORRUPTIONS``; all 19 by default.
        severities: severities, from 1 (weakest) to 5.
        jpeg_quality: quality of a JPEG compression after the corruption; null has none, the published files have 85.
        backend: implementation of the corruptions: ``robustart``, or the library ``imagecorruptions``.
        root_dir: folder of the published files, ``{corruption}/{1..5}/{wnid}/*``; null makes the images on the fly.
        meta: the original's ``meta/all.json``, whose lists name the files to use and their labels; null uses all files.
        preprocess: preprocessing of published files. ``crop``, the official one, only crops, since they are 224 x 224;
            ``resize256``, the original RobustART's, resizes first, which enlarges by 8/7; ``model`` is the model's.
        decoder: decoder of published files, one of ``imaging.DECODERS``.
        exif_orientation: whether to rotate published files by their EXIF tag.
        device: device of the corruptions: ``cpu``, in the loader processes, or ``cuda``, in batches on the GPU, with
            differences of at most one grey level. ``glass_blur``, ``jpeg_compression``, ``spatter`` and a user's own
            corruptions remain on the CPU.

    Source: https://arxiv.org/abs/1903.12261.
    """
    if root_dir is not None:
        for option, value, default, done in (
            ("device", device, "cpu", "corrupted"), ("backend", backend, "robustart", "corrupted"),
            ("jpeg_quality", jpeg_quality, None, "stored"),
        ):  # fmt: skip
            if value != default:
                raise ConfigError(f"{NAME}.{option} is {value!r}, but files in root_dir are {done} already")
        return _stored(root_dir, meta, preprocess, corruptions, severities, decoder, exif_orientation)

    import torch

    from RobustART.noise.corruptions import CORRUPTIONS, check_backend
    from RobustART.noise.corruptions.weather import frost_folder

    refuse_without_files(NAME, meta=meta, preprocess=preprocess, decoder=decoder, exif_orientation=exif_orientation)
    grades = corruption_grades(NAME, corruptions, severities)
    names = list(dict.fromkeys(name for name, _ in grades))
    functions = tuple(CORRUPTIONS[name] for name in names)
    check_backend(backend, names, f"{NAME}.backend")
    if "frost" in names and backend == "robustart":
        frost_folder()
    if device == "cuda":
        if backend != "robustart" or jpeg_quality is not None:
            raise ConfigError(f"{NAME}.device is cuda, but backend: imagecorruptions and jpeg_quality need the CPU")
        if not torch.cuda.is_available():
            raise ConfigError(f"{NAME}.device is cuda, but this machine has no GPU")
    view = functools.partial(corrupted_view, quality=jpeg_quality, backend=backend)
    cells = made_cells(grades, view, None if device == "cpu" else torch.device(device))
    return Benchmark(SPEC, (Pass(dataset, cells),), grade_options(grades), uses=functions)


def _stored(
    root_dir: str | Path, meta: str | None, preprocess: str, corruptions: Any, severities: Any, decoder: str,
    exif_orientation: bool,
) -> Benchmark:  # fmt: skip
    """Returns ImageNet-C from its published files; the options are those of :func:`build`."""
    from RobustART.data.datasets import check_reader
    from RobustART.data.generated import read_generated
    from RobustART.data.published import count_notes, existing_folder
    from RobustART.data.variants import scan_variants
    from RobustART.noise.corruptions import CORRUPTIONS

    grades = corruption_grades(NAME, corruptions, severities)
    for name, _ in grades:
        CORRUPTIONS[name]
    adapt = PREPROCESSINGS[preprocess]
    check_reader(decoder, exif_orientation)
    root = existing_folder(PUBLISHED, root_dir, f"{NAME}.root_dir")
    generated = read_generated(root, NAME)
    if meta is None:
        dataset = scan_variants(
            PUBLISHED, root, {grade_name(grade): _severity_folder(root, *grade) for grade in grades}
        )
        dataset = generated.arrange(dataset) if generated else dataset
    else:
        dataset = _from_meta(root, Path(meta), grades)
        dataset = generated.arrange(dataset, labelled=True) if generated else dataset
    dataset = dataclasses.replace(dataset, decoder=decoder, exif_orientation=exif_orientation)
    part = Pass(dataset, stored_cells(dataset, grade_coordinates), preprocessing=adapt)
    options = {**grade_options(grades), "backend": None, "jpeg_quality": None}
    notes = generated.notes(dataset) if generated else count_notes(PUBLISHED, dataset)
    return Benchmark(SPEC, (part,), options, notes=notes, notes_on=generated.notes_on if generated else None)


def _severity_folder(root: Path, corruption: str, severity: int) -> str:
    """Returns the folder of a cell; in the published archives, corruptions are in folders ``noise``, ``blur``, ..."""
    grouped = f"{group_of(corruption)}/{corruption}/{severity}"
    return grouped if not (root / corruption).is_dir() and (root / grouped).is_dir() else f"{corruption}/{severity}"


def _from_meta(root: Path, meta: Path, grades: Sequence[Grade]) -> VariantDataset:
    """Returns the images in the original's meta file, {group: {corruption: {severity: JSON-lines file}}}."""
    from RobustART.data.datasets import from_meta_file
    from RobustART.data.published import missing
    from RobustART.data.variants import listed_variants

    try:
        groups = json.loads(meta.read_text(encoding="utf-8-sig"))
        files = {
            (c, int(s)): str(file) for group in groups.values() for c, row in group.items() for s, file in row.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"the meta file {meta} must be JSON {{group: {{corruption: {{severity: file}}}}}}: {error}"
        ) from None
    lists = {}
    for grade in grades:
        if grade not in files:
            known = ", ".join(sorted({c for c, _ in files}))
            raise missing(PUBLISHED, f"{grade_name(grade)} in {meta}", f"it has other cells (corruptions: {known})")
        path = files[grade]
        place = next((p for p in (meta.parent / path, root / path) if p.is_file()), meta.parent / path)
        listed = from_meta_file(root, place)
        lists[grade_name(grade)] = list(zip(listed.files, listed.labels, strict=True))
    return listed_variants(PUBLISHED, root, {name: name for name in lists}, lists)


def layout(
    dataset: ImageDataset,
    *,
    corruptions: Sequence[CorruptionName] = EVERY,
    severities: Sequence[Severity] = LEVELS,
    jpeg_quality: JpegQuality = 85,
    backend: Backend = "robustart",
) -> Layout:
    """Returns ImageNet-C as JPEG files, with the original's meta files; the options are those of :func:`build`."""
    options = {"corruptions": corruptions, "severities": severities, "backend": backend}
    part = build_benchmark(NAME, dataset, options).passes[0]
    encode = functools.partial(encode_jpeg, quality=jpeg_quality)
    encode(np.zeros((8, 8, 3), np.uint8))
    libraries = ("numpy", "scipy", "pillow", "opencv-python", "opencv-python-headless", "imagecorruptions-imaug")
    return Layout(part.dataset, encoded_views(part, encode), ".JPEG", libraries, lists=_meta_files)


def _meta_files(cells: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for cell in cells:
        place = grade_coordinates(cell)
        corruption, severity = place["corruption"], place["severity"]
        group = group_of(corruption) or "other"
        file = f"{group}-{corruption}-{severity}.jsonl"
        lines = (json.dumps({"filename": f"{cell}/{name}.JPEG", "label": label}) + "\n" for name, label in rows)
        yield f"meta/{file}", "".join(lines)
        groups.setdefault(group, {}).setdefault(corruption, {})[str(severity)] = file
    yield "meta/all.json", json.dumps(groups, indent=2) + "\n"


def summarize(records: Records, companions: Companions | None = None) -> Summary:
    """Returns ImageNet-C's numbers, see :func:`~RobustART.metrics.corrupted.corrupted`.

    ``relative_mCE`` needs the clean records of the same model and images among ``companions``. If they are of other images,
    the summary has a note.
    """
    table, grades, imagenet = single_pass(records), grades_of(records), has_imagenet_labels(records)
    clean = (companions or Companions()).run.get(CLEAN)
    if clean is None:
        return corrupted(grades, table.correct, imagenet=imagenet)
    check_one_model({"the result file": records, "the clean result file": clean})
    try:
        without_noise = matched_clean(table, clean)
    except RecordError as error:
        summary = corrupted(grades, table.correct, imagenet=imagenet)
        return dataclasses.replace(summary, notes=(*summary.notes, f"{NAME} has no relative mCE: {error}"))
    return corrupted(grades, table.correct, without_noise, imagenet)


def _axes(entry: Entry) -> Iterator[Axis]:
    """Yields the mean accuracy of each scored group of corruptions, without an interval if the group is incomplete."""
    whole, single = entry["tables"].get("group_errors", {}), entry["tables"].get("top1", {})
    for group, names in GROUPS.items():
        means = [single[name]["mean"] for name in names if "mean" in single.get(name, {})]
        if group == "extra":
            continue
        if "mean error" in whole.get(group, {}):
            what = f"mean top-1 accuracy over {len(names)} corruptions"
            yield Axis(group, what, complement(whole[group]["mean error"]))
        elif means:
            value = sum(float(mean["value"]) for mean in means) / len(means)
            of = "" if len(means) == len(names) else f"{len(means)} of "
            what = f"mean top-1 accuracy over {of}{len(names)} corruptions"
            yield Axis(group, what, {"value": value, "low": None, "high": None, "n": means[0]["n"]})


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, METRICS, title="ImageNet-C", tables=TABLES, companions=True, check=check_grades,
        coordinates=grade_coordinates, axes=_axes, section="corruptions", groups=GROUPS, layout=layout,
        evaluator="ImageNetCEvaluator",
    ),
)  # fmt: skip
