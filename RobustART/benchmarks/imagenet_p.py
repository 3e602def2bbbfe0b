"""ImageNet-P: stability of predictions over sequences of gradual perturbations, made on the fly or read from videos."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from RobustART.benchmarks.building import Benchmark, Cell, Pass, refuse_without_files
from RobustART.benchmarks.layout import Layout
from RobustART.benchmarks.options import PublishedView
from RobustART.benchmarks.stored import PREPROCESSINGS
from RobustART.core.imaging import Array
from RobustART.core.imaging.video import write_video
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.published_set import PublishedSet
from RobustART.errors import ConfigError, RecordError, UnknownNameError, nearest
from RobustART.metrics import stability
from RobustART.metrics.estimates import Sample as Values
from RobustART.metrics.reading import check_extra
from RobustART.metrics.results import Summary, complement
from RobustART.metrics.spec import Axis, BenchmarkSpec, Companions, Entry, MetricSpec, TableSpec, add_benchmark
from RobustART.metrics.stability import PUBLISHED_PERTURBATIONS, SCORED_PERTURBATIONS, is_noise, references
from RobustART.records.lines import Records
from RobustART.records.table import PassRecords

if TYPE_CHECKING:
    from torch import Tensor

    from RobustART.data import ImageDataset, Sample, View

NAME = "imagenet_p"
PUBLISHED = PublishedSet(
    "ImageNet-P", "{perturbation}/{wnid}/*.mp4", "https://zenodo.org/record/3565846", 50000, 1000, "videos"
)
"""One video of each of ImageNet's validation images, as the official generator make_imagenet_p.py makes them."""
DIFFICULTIES = (1, 2, 3)
FLIPS = MetricSpec("FP (%)", "Flip probability: how often the prediction changes between frames.", "low")
T5D = MetricSpec("T5D", "Distance by which the top five classes move between frames.", "low", "distance")
ZIPF = MetricSpec(
    "zipf", "Distance by which the whole ranking moves between frames, with most weight on the top.", "low", "distance"
)
_MEANS = (
    MetricSpec("mFP", "How often the prediction changes between frames (%), mean over {}.", "low", headline=True),
    MetricSpec(
        "mean_T5D", "Distance by which the top five classes move between frames, mean over {}.", "low", "distance"
    ),
    MetricSpec(
        "mean_zipf", "Distance by which the whole ranking moves between frames, mean over {}.", "low", "distance"
    ),
)
_RATIOS = (
    MetricSpec("mFR", "Flip probability divided by a baseline's, mean over {}.", "low", "ratio", headline=True),
    MetricSpec("mT5D", "Distance of the top five classes divided by a baseline's, mean over {}.", "low", "ratio"),
)
METRICS = tuple(
    dataclasses.replace(spec, name=f"{spec.name}{of}", meaning=spec.meaning.format(which))
    for spec in (_RATIOS[0], *_MEANS, _RATIOS[1])
    for of, which in (("", "the scored perturbations"), ("_of_these", "the perturbations that were run"))
)
TABLES = (TableSpec("stability", "stability", (FLIPS, T5D, ZIPF), "Stability by perturbation.", rows="perturbation"),)

NOT_COMPRESSED = (
    f"{NAME}: the frames are made from the clean images and are not compressed; those of files went through a video "
    "encoder (x264), so flip probabilities from files differ slightly"
)
"""Warning of the report for sequences that are made on the fly."""


def published_frames(perturbation: str) -> int:
    """Returns the number of frames in the published videos of a perturbation."""
    from RobustART.noise.perturbations import FRAMES, TRANSLATIONS

    return TRANSLATIONS if perturbation == "translate" else FRAMES


def ranking(logits: Tensor, *, noise: bool, stride: int) -> dict[str, Tensor]:
    r"""Returns the extra numbers that stability needs beside the predictions.

    Args:
        logits: logits of the frames of videos, (N, T, K).
        noise: whether the reference is the first frame, instead of the one ``stride`` frames before.
        stride: distance of the reference frame.

    Returns:
        ``top5``, the five classes with the highest scores in each frame, (N, T, 5); and ``zipf``, the Zipf distance of each
        frame from its reference, (N, T): :math:`\sum_{i=1}^{K} \frac{1}{i} |\frac{1}{i} - \frac{1}{\sigma(i)}|`, where
        :math:`\sigma(i)` is the rank in the frame of the class with rank :math:`i` in the reference.
    """
    import torch

    order = logits.double().cpu().argsort(dim=-1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(-1, order, torch.arange(1, order.shape[-1] + 1).expand_as(order))
    weight = 1.0 / ranks.double()
    reference = weight[:, references(logits.shape[1], noise=noise, stride=stride)]
    return {"top5": order[..., :5], "zipf": ((reference - weight).abs() * reference).sum(dim=-1)}


def rankings(
    views: Tensor, logits: Tensor, *, lengths: Sequence[int], rows: Sequence[tuple[bool, int]]
) -> dict[str, Tensor]:
    """Returns :func:`ranking` of several concatenated sequences.

    Args:
        views: not used; the engine passes them to every such function.
        logits: logits of all frames, (N, frames, K).
        lengths: number of frames in each sequence.
        rows: ``noise`` and ``stride`` of each sequence.
    """
    import torch

    parts = [
        ranking(part, noise=noise, stride=stride)
        for part, (noise, stride) in zip(logits.split(list(lengths), dim=1), rows, strict=True)
    ]
    return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}


@dataclasses.dataclass(frozen=True)
class SequenceView:
    """One frame of a sequence made from an image; consecutive frames of an image reuse the sequence."""

    draws: str
    """Name of the sequence in ``noise.perturbations.PERTURBATIONS``; all its frames share the random draws of that name."""
    index: int
    """Index of the frame, from 0."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Array:
        """Returns the frame, uint8 (S, S, 3)."""
        from RobustART.noise.perturbations import perturb

        if sample.last_made is None or sample.last_made[0] != self.draws:
            sample.last_made = self.draws, perturb(sample.image, self.draws, size=sample.size, rng=rng)
        return sample.last_made[1][self.index]


def perturbation_folders(perturbations: Sequence[str] = SCORED_PERTURBATIONS, difficulty: int = 1) -> dict[str, str]:
    """Returns the folder of each perturbation.

    Args:
        perturbations: names of perturbations; noise has a separate folder for each difficulty.
        difficulty: difficulty, from 1 to 3.

    Raises:
        UnknownNameError: a perturbation is unknown.
        ConfigError: there are no perturbations, or one occurs twice.
    """
    for name in perturbations:
        if name not in PUBLISHED_PERTURBATIONS:
            known = ", ".join(PUBLISHED_PERTURBATIONS)
            raise UnknownNameError(
                f"unknown perturbation {name!r}{nearest(name, PUBLISHED_PERTURBATIONS) or ';'} Known: {known}"
            )
    if not perturbations or len(set(perturbations)) < len(perturbations):
        raise ConfigError(
            f"{NAME}.perturbations must name at least one perturbation, and none twice, got {list(perturbations)}"
        )
    return {name: f"{name}_{difficulty}" if is_noise(name) and difficulty > 1 else name for name in perturbations}


def build(
    dataset: ImageDataset,
    *,
    perturbations: Sequence[str] = SCORED_PERTURBATIONS,
    difficulty: Literal[1, 2, 3] = 1,
    root_dir: str | None = None,
    preprocess: PublishedView = "crop",
) -> Benchmark:
    """Returns ImageNet-P, made on the fly or read from its videos (Hendrycks and Dietterich 2019).

    On the fly, the sequences are those that ``robustart noise generate`` writes with the same seed, but not compressed.
    Published and generated files went through a video encoder (x264), which smooths changes between frames, so flip
    probabilities from files differ slightly (EfficientNet-Lite0, 20 images: mFP 6.05 on the fly, 5.50 from generated files;
    mean T5D 2.24 and 2.16).

    Args:
        dataset: clean images; not used with ``root_dir``.
        perturbations: names of perturbations; the 10 scored ones by default. The extra ones are ``speckle_noise``,
            ``gaussian_blur``, ``spatter`` and ``shear``.
        difficulty: difficulty, from 1 to 3. Noise becomes stronger (files: ``{perturbation}_{difficulty}``); for other
            perturbations it is the distance of the frames that are compared.
        root_dir: folder of the published videos, ``{perturbation}/{wnid}/*.mp4``; null makes the sequences on the fly.
        preprocess: preprocessing of published videos. ``crop`` (a center crop of each frame), ``resize256``, or ``model``
            (the model's preprocessing of clean images).

    Source: https://arxiv.org/abs/1903.12261, section 4.3.
    """
    folders = perturbation_folders(perturbations, difficulty)
    rows = {name: (is_noise(name), 1 if is_noise(name) else difficulty) for name in folders}
    if root_dir is not None:
        return _stored(root_dir, folders, rows, PREPROCESSINGS[preprocess])
    from RobustART.noise.perturbations import perturb

    refuse_without_files(NAME, preprocess=preprocess)
    for folder in folders.values():  # raises for a missing library before the first image
        perturb(np.zeros((32, 32, 3), np.uint8), folder, size=28)
    lengths = {name: published_frames(name) for name in folders}
    cells = [
        cell
        for name, folder in folders.items()
        for cell in _cells(name, lengths[name], functools.partial(SequenceView, folder))
    ]
    measure = functools.partial(rankings, lengths=list(lengths.values()), rows=list(rows.values()))
    part = Pass(dataset, tuple(cells), measure=measure)
    return Benchmark(SPEC, (part,), {"perturbations": list(folders)}, notes=(NOT_COMPRESSED,))


def _cells(perturbation: str, frames: int, view: Callable[[int], View]) -> list[Cell]:
    return [Cell(f"{perturbation}/{t}", view(t), {"perturbation": perturbation, "frame": t}) for t in range(frames)]


def _stored(
    root_dir: str,
    folders: Mapping[str, str],
    rows: Mapping[str, tuple[bool, int]],
    adapt: Callable[[Preprocessing], Preprocessing] | None,
) -> Benchmark:
    """Returns the benchmark of videos in a folder."""
    from RobustART.data.generated import read_generated
    from RobustART.data.published import count_notes, existing_folder, missing
    from RobustART.data.video import frame_view, video_folders

    root = existing_folder(PUBLISHED, root_dir, f"{NAME}.root_dir")
    generated = read_generated(root, NAME)
    parts, notes = [], []
    for name, videos in video_folders(PUBLISHED, root, folders).items():
        frames, published, (_, stride) = videos.length, published_frames(name), rows[name]
        if frames <= stride:
            raise missing(
                PUBLISHED,
                f"videos of {published} frames in {videos.root}",
                f"the first has {frames}, too few for a distance of {stride}",
            )
        if frames != published:
            notes.append(f"ImageNet-P's videos of {name} have {frames} frames; the published ones have {published}")
        videos = generated.arrange(videos) if generated else videos
        cells = _cells(name, frames, lambda t: functools.partial(frame_view, index=t))
        measure = functools.partial(rankings, lengths=[frames], rows=[rows[name]])
        parts.append(Pass(videos, tuple(cells), None, name, preprocessing=adapt, measure=measure))
    images = parts[0].dataset
    notes += generated.notes(images) if generated else count_notes(PUBLISHED, images)
    return Benchmark(
        SPEC, tuple(parts), {"perturbations": list(folders)}, notes=tuple(notes),
        notes_on=generated.notes_on if generated else None,
    )  # fmt: skip


def layout(
    dataset: ImageDataset, *, perturbations: Sequence[str] = SCORED_PERTURBATIONS, difficulty: Literal[1, 2, 3] = 1
) -> Layout:
    """Returns ImageNet-P as MP4 files; the options are those of :func:`build`."""
    folders = perturbation_folders(perturbations, difficulty).values()
    cells = {folder: functools.partial(_video, perturbation=folder) for folder in folders}
    libraries = ("numpy", "scipy", "pillow", "opencv-python", "opencv-python-headless", "av", "imagecorruptions-imaug")
    return Layout(dataset, cells, ".mp4", libraries, prepare=_still)


def _still(model: Preprocessing) -> Preprocessing:
    """Returns a preprocessing with the model's input size; :func:`perturb` resizes the image itself."""
    return Preprocessing(input_size=model.input_size, resize=model.input_size)


def _video(sample: Sample, rng: np.random.Generator, *, perturbation: str) -> bytes:
    """Returns a sequence encoded like the official ones: x264 with grain tuning for noise, else with rate factor 20."""
    from RobustART.noise.perturbations import perturb

    frames = perturb(sample.image, perturbation, size=sample.size, rng=rng)
    return write_video(frames, crf=23, tune="grain") if is_noise(perturbation) else write_video(frames, crf=20)


def coordinates(cell: str) -> dict[str, Any]:
    """Returns the coordinates of a cell named ``perturbation/frame``."""
    name, _, frame = cell.rpartition("/")
    return {"perturbation": name, "frame": int(frame) if frame.isdecimal() else frame}


def _rows(table: PassRecords) -> dict[str, list[int]]:
    """Returns the columns of each perturbation's frames, in the order of the file."""
    columns: dict[str, list[int]] = {}
    for column, place in enumerate(table.coordinates):
        columns.setdefault(str(place.get("perturbation")), []).append(column)
    return columns


def check(records: Records, place: str) -> None:
    """Raises a RecordError unless the cells are frames of known perturbations and their rankings are recorded."""
    difficulty = records.header["conditions"]["options"].get("difficulty", 1)
    if type(difficulty) is not int or difficulty not in DIFFICULTIES:
        raise RecordError(f"{place} has the option difficulty {difficulty!r}; allowed are 1, 2, 3")
    seen: set[str] = set()
    for table in records.passes:
        for name, columns in _rows(table).items():
            if name not in PUBLISHED_PERTURBATIONS:
                known = ", ".join(PUBLISHED_PERTURBATIONS)
                raise RecordError(f"{place} has a cell {table.cells[columns[0]]!r}; perturbations are {known}")
            frames = [table.coordinates[column].get("frame") for column in columns]
            if frames != list(range(len(frames))) or not all(type(frame) is int for frame in frames):
                raise RecordError(f"{place} must have the frames of {name} in order from 0, but has {frames[:5]}")
            if name in seen:
                raise RecordError(f"{place} has {name} in two passes")
            if len(frames) <= (1 if is_noise(name) else difficulty):
                raise RecordError(
                    f"{place} has {len(frames)} frames of {name}, too few for the difficulty {difficulty}"
                )
            seen.add(name)
        check_extra(table, "top5", 3, 2**31 - 1, place)
        check_extra(table, "zipf", 2, 2, place)  # above the maximum, stability.ZIPF_MAX


def summarize(records: Records, companions: Companions | None = None) -> Summary:
    """Returns ImageNet-P's numbers, see :func:`~RobustART.metrics.stability.summarize`.

    ``mFR`` and ``mT5D`` need a baseline among ``companions``: they are means over perturbations of ratios to the baseline.
    The bootstrap resamples videos of the same file name together, including the baseline's.

    Raises:
        RecordError: the baseline has another difficulty or preprocessing.
    """
    baseline = (companions or Companions()).baseline
    for option in ("difficulty", "preprocess") if baseline is not None else ():
        mine, theirs = (r.header["conditions"]["options"].get(option) for r in (records, baseline) if r is not None)
        if mine != theirs:
            raise RecordError(f"the baseline of {NAME} has {option} {theirs}, but the result has {mine}")
    return stability.summarize(_values(records), None if baseline is None else _values(baseline))


def _values(records: Records) -> Mapping[str, Mapping[str, Values]]:
    """Returns the values of the videos by perturbation and column of the table."""
    difficulty = int(records.header["conditions"]["options"].get("difficulty", 1))
    found = {}
    for table in records.passes:
        for name, own in _rows(table).items():
            noise = is_noise(name)
            stride = 1 if noise else difficulty
            videos = tuple("/".join(part for part in file.split("/") if part != name) for file in table.files)
            values = {
                FLIPS.name: stability.flip_probability(table.prediction[:, own], noise=noise, stride=stride),
                T5D.name: stability.top5_distance(table.extra["top5"][:, own], noise=noise, stride=stride),
                ZIPF.name: stability.mean_over_pairs(table.extra["zipf"][:, own], noise=noise, stride=stride),
            }
            found[name] = {column: Values(row, videos) for column, row in values.items()}
    return found


def _axes(entry: Entry) -> Iterator[Axis]:
    flips = entry["metrics"].get("mFP", entry["metrics"].get("mFP_of_these"))
    if flips is not None:
        yield Axis("steadiness", "100 - flip probability on ImageNet-P's videos", complement(flips))


SPEC = add_benchmark(
    BenchmarkSpec(
        NAME, build, summarize, METRICS, title="ImageNet-P", tables=TABLES, companions=True, baseline=True, check=check,
        coordinates=coordinates, axes=_axes, layout=layout, evaluator="ImageNetPEvaluator",
    ),
)  # fmt: skip
