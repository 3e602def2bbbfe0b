"""ImageNet-P: how steady are predictions over sequences of slowly changing perturbations, made here or read from videos?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from RobustART.benchmarks.building import Benchmark, Cell, Pass, refuse_without_files
from RobustART.benchmarks.layout import Layout
from RobustART.benchmarks.options import PublishedView
from RobustART.benchmarks.stored import PREPROCESSINGS
from RobustART.core.imaging import Array
from RobustART.core.imaging.video import write_video
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.published import PublishedSet
from RobustART.errors import ConfigError, RecordError, UnknownNameError, nearest
from RobustART.metrics import stability
from RobustART.metrics.estimates import Sample as Values
from RobustART.metrics.reading import check_extra
from RobustART.metrics.results import Summary, complement
from RobustART.metrics.spec import Axis, BenchmarkSpec, Companions, Entry, MetricSpec, TableSpec, add_benchmark
from RobustART.metrics.stability import PUBLISHED_PERTURBATIONS, SCORED_PERTURBATIONS, is_noise, references
from RobustART.metrics.steadiness import steadiness
from RobustART.records.lines import Records
from RobustART.records.table import PassRecords

if TYPE_CHECKING:
    from torch import Tensor

    from RobustART.data import ImageDataset, Sample

NAME = "imagenet_p"
PUBLISHED = PublishedSet(
    "ImageNet-P", "{perturbation}/{wnid}/*.mp4", "https://zenodo.org/record/3565846", 50000, 1000, "videos"
)
"""One video of each of ImageNet's validation images: the official generator, make_imagenet_p.py, runs over all of them."""
DIFFICULTIES = (1, 2, 3)
FLIPS = MetricSpec("FP (%)", "Flip probability: how often the prediction changes between frames.", "low")
T5D = MetricSpec("T5D", "How far the top five places move between frames.", "low", "distance")
ZIPF = MetricSpec("zipf", "How far the whole ranking moves between frames, the top weighted most.", "low", "distance")
_MEANS = (
    MetricSpec("mFP", "How often the prediction changes between frames (%), mean over {}.", "low", headline=True),
    MetricSpec("mean_T5D", "How far the top five places move, mean over {}.", "low", "distance"),
    MetricSpec("mean_zipf", "How far the whole ranking moves, the top weighted most, mean over {}.", "low", "distance"),
)
_RATIOS = (
    MetricSpec("mFR", "The flip probability over a baseline's, mean over {}.", "low", "ratio", headline=True),
    MetricSpec("mT5D", "The distance of the top five over a baseline's, mean over {}.", "low", "ratio"),
)
METRICS = tuple(
    dataclasses.replace(spec, name=f"{spec.name}{of}", meaning=spec.meaning.format(which))
    for spec in (_RATIOS[0], *_MEANS, _RATIOS[1])
    for of, which in (("", "the scored perturbations"), ("_of_these", "the perturbations that were run"))
)
TABLES = (TableSpec("stability", "stability", (FLIPS, T5D, ZIPF), "Each perturbation's numbers.", rows="perturbation"),)

NOT_COMPRESSED = (
    f"{NAME}: the frames are made from the clean images and are not compressed; those of files went through a video "
    "encoder (x264), so flip probabilities from files differ a little"
)
"""The report's warning on sequences that are made on the fly."""


def published_frames(perturbation: str) -> int:
    """Returns how many frames the published videos of a perturbation have: 31, and 41 of ``translate``."""
    from RobustART.noise.perturbations import FRAMES

    return 41 if perturbation == "translate" else FRAMES


def rankings(views: Tensor, logits: Tensor, *, noise: bool, stride: int) -> dict[str, Tensor]:
    """Returns what stability is measured by, beside the predictions.

    Args:
        views: not used.
        logits: (N, T, K), of the frames of videos.
        noise: whether frames are compared with the first, not with the one before.
        stride: frames between a frame and the one before it.

    Returns:
        ``top5``, the five highest classes of each frame, (N, T, 5); and ``zipf``, each frame's Zipf distance to its
        reference, (N, T), which takes the ranks of all classes: the sum over ranks i of the reference of
        |1/i - 1/sigma(i)| / i, sigma(i) being that class's rank in the frame (Hendrycks and Dietterich 2019).
    """
    import torch

    order = logits.double().cpu().argsort(dim=-1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(-1, order, torch.arange(1, order.shape[-1] + 1).expand_as(order))
    weight = 1.0 / ranks.double()
    reference = weight[:, references(logits.shape[1], noise=noise, stride=stride)]
    return {"top5": order[..., :5], "zipf": ((reference - weight).abs() * reference).sum(dim=-1)}


def rankings_of_rows(
    views: Tensor, logits: Tensor, *, lengths: Sequence[int], rows: Sequence[tuple[bool, int]]
) -> dict[str, Tensor]:
    """Returns :func:`rankings` of several sequences that follow one another.

    Args:
        views: not used.
        logits: (N, all frames, K).
        lengths: frames of each sequence.
        rows: ``noise`` and ``stride`` of each.
    """
    import torch

    parts = [
        rankings(views, part, noise=noise, stride=stride)
        for part, (noise, stride) in zip(logits.split(list(lengths), dim=1), rows, strict=True)
    ]
    return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}


@dataclasses.dataclass(frozen=True)
class SequenceView:
    """One frame of a sequence that is made from a photo; the frames that follow it are taken from the same making."""

    draws: str
    """The sequence: a name in ``noise.perturbations.PERTURBATIONS``; all its frames have the draws of that name."""
    index: int
    """Number of the frame."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Array:
        """Returns the frame, uint8 (S, S, 3)."""
        from RobustART.noise.perturbations import perturb

        if sample.last_made is None or sample.last_made[0] != self.draws:
            sample.last_made = self.draws, perturb(sample.image, self.draws, size=sample.size, rng=rng)
        return sample.last_made[1][self.index]


def perturbation_folders(perturbations: Sequence[str] = SCORED_PERTURBATIONS, difficulty: int = 1) -> dict[str, str]:
    """Returns the folder of each perturbation, from the options of ``imagenet_p``, checked.

    Args:
        perturbations: names; noise has a folder of its own for each difficulty.
        difficulty: 1 to 3.

    Raises:
        ConfigError, UnknownNameError: what their names say.
    """
    for name in perturbations:
        if name not in PUBLISHED_PERTURBATIONS:
            known = ", ".join(PUBLISHED_PERTURBATIONS)
            raise UnknownNameError(
                f"unknown perturbation {name!r}{nearest(name, PUBLISHED_PERTURBATIONS) or ';'} Known: {known}"
            )
    if not perturbations or len(set(perturbations)) < len(perturbations):
        raise ConfigError(
            f"{NAME}.perturbations must name each perturbation once, and at least one, got {list(perturbations)}"
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

    On the fly the sequences are those that ``robustart noise generate`` writes with the same seed, before they are
    compressed: published and generated files went through a video encoder (x264), which smooths what changes from frame to
    frame, so flip probabilities from files differ a little from those made here (EfficientNet-Lite0, 20 photos: mFP 6.05
    made here, 5.50 from generated files; mean T5D 2.24 and 2.16).

    Args:
        dataset: clean images; not used with ``root_dir``.
        perturbations: the 10 scored ones by default. Extra ones: ``speckle_noise``, ``gaussian_blur``, ``spatter``,
            ``shear``.
        difficulty: 1 to 3. Noise is stronger (files: ``{perturbation}_{difficulty}``); of the others, frames this many
            steps apart are compared.
        root_dir: folder of the published videos, ``{perturbation}/{wnid}/*.mp4``; null makes the sequences on the fly.
        preprocess: of published videos. ``crop`` (the middle of each frame, no resize), ``resize256``, or ``model`` (its
            own, as for photos).

    Source: https://arxiv.org/abs/1903.12261, section 4.3.
    """
    from RobustART.data.generated import read_generated
    from RobustART.data.published import count_notes, existing_folder, missing
    from RobustART.data.video import frame_view, video_folders
    from RobustART.noise.perturbations import perturb

    folders = perturbation_folders(perturbations, difficulty)
    adapt = PREPROCESSINGS[preprocess]
    rows = {name: (is_noise(name), 1 if is_noise(name) else difficulty) for name in folders}
    options: dict[str, Any] = {"perturbations": list(folders)}
    notes: list[str] = []
    if root_dir is None:
        refuse_without_files(NAME, preprocess=preprocess)
        for folder in folders.values():  # a missing library ends the run before its first image
            perturb(np.zeros((32, 32, 3), np.uint8), folder, size=28)
        lengths = {name: published_frames(name) for name in folders}
        cells = [
            Cell(f"{name}/{t}", SequenceView(folder, t), {"perturbation": name, "frame": t})
            for name, folder in folders.items()
            for t in range(lengths[name])
        ]
        measure = functools.partial(rankings_of_rows, lengths=list(lengths.values()), rows=list(rows.values()))
        part = Pass(dataset, tuple(cells), measure=measure)
        return Benchmark(SPEC, (part,), options, notes=(NOT_COMPRESSED,))
    root = existing_folder(PUBLISHED, root_dir, f"{NAME}.root_dir")
    generated = read_generated(root, NAME)
    parts = []
    for name, videos in video_folders(PUBLISHED, root, folders).items():
        noise, stride = rows[name]
        if videos.length <= stride:
            raise missing(
                PUBLISHED,
                f"videos of {published_frames(name)} frames in {videos.root}",
                f"the first has {videos.length}, so no two are {stride} apart",
            )
        if videos.length != published_frames(name):
            notes.append(
                f"ImageNet-P's videos of {name} have {videos.length} frames here; the published ones have "
                f"{published_frames(name)}"
            )
        videos = generated.arrange(videos) if generated else videos
        cells = [
            Cell(f"{name}/{t}", functools.partial(frame_view, index=t), {"perturbation": name, "frame": t})
            for t in range(videos.length)
        ]
        measure = functools.partial(rankings, noise=noise, stride=stride)
        parts.append(Pass(videos, tuple(cells), None, name, preprocessing=adapt, measure=measure))
    images = parts[0].dataset
    notes += generated.notes(images) if generated else count_notes(PUBLISHED, images)
    return Benchmark(
        SPEC, tuple(parts), options, notes=tuple(notes), notes_on=generated.notes_on if generated else None
    )


def layout(
    dataset: ImageDataset, *, perturbations: Sequence[str] = SCORED_PERTURBATIONS, difficulty: Literal[1, 2, 3] = 1
) -> Layout:
    """Returns ImageNet-P as MP4 files; the options are those of :func:`build`."""
    folders = perturbation_folders(perturbations, difficulty).values()
    cells = {folder: functools.partial(_video, perturbation=folder) for folder in folders}
    libraries = ("numpy", "scipy", "pillow", "opencv-python", "opencv-python-headless", "av", "imagecorruptions-imaug")
    return Layout(dataset, cells, ".mp4", libraries, prepare=_still)


def _still(model: Preprocessing) -> Preprocessing:
    """Returns the preprocessing that has the model's input size; :func:`perturb` resizes the image by itself."""
    return Preprocessing(input_size=model.input_size, resize=model.input_size)


def _video(sample: Sample, rng: np.random.Generator, *, perturbation: str) -> bytes:
    """Returns a sequence, encoded as the official ones: x264's grain tuning for noise, its rate 20 for the others."""
    from RobustART.noise.perturbations import perturb

    frames = perturb(sample.image, perturbation, size=sample.size, rng=rng)
    return write_video(frames, crf=23, tune="grain") if is_noise(perturbation) else write_video(frames, crf=20)


def coordinates(cell: str) -> dict[str, Any]:
    """Returns the coordinates of a cell named ``perturbation/frame``."""
    name, _, frame = cell.rpartition("/")
    return {"perturbation": name, "frame": int(frame) if frame.isdecimal() else frame}


def _rows(table: PassRecords) -> dict[str, list[int]]:
    """Returns the columns of each perturbation's frames, in their order in the file."""
    columns: dict[str, list[int]] = {}
    for column, place in enumerate(table.coordinates):
        columns.setdefault(str(place.get("perturbation")), []).append(column)
    return columns


def check(records: Records, place: str) -> None:
    """Raises a RecordError if the cells are not the frames of known perturbations, or their rankings are missing."""
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
                raise RecordError(f"{place} must have the frames of {name} from 0 on, in order, but has {frames[:5]}")
            if name in seen:
                raise RecordError(f"{place} has {name} in two passes")
            if len(frames) <= (1 if is_noise(name) else difficulty):
                raise RecordError(
                    f"{place} has {len(frames)} frames of {name}, too few for the difficulty {difficulty}"
                )
            seen.add(name)
        check_extra(table, "top5", 3, 2**31 - 1, place)
        check_extra(table, "zipf", 2, 2, place)  # no ranking is further, see stability.ZIPF_MAX


def summarize(records: Records, companions: Companions | None = None) -> Summary:
    """Returns ImageNet-P's numbers, see :func:`~RobustART.metrics.steadiness.steadiness`.

    With a baseline among ``companions`` there are ``mFR`` and ``mT5D``: means over perturbations of a number over the
    baseline's. Videos of one file name are drawn together in the bootstrap, also the baseline's.

    Raises:
        RecordError: the baseline has another difficulty or preprocessing.
    """
    baseline = (companions or Companions()).baseline
    for option in ("difficulty", "preprocess") if baseline is not None else ():
        mine, theirs = (r.header["conditions"]["options"].get(option) for r in (records, baseline) if r is not None)
        if mine != theirs:
            raise RecordError(f"the baseline of {NAME} has {option} {theirs}, the result that is divided has {mine}")
    return steadiness(_values(records), None if baseline is None else _values(baseline))


def _values(records: Records) -> Mapping[str, Mapping[str, Values]]:
    """Returns the numbers of each video by perturbation and column of the table."""
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
