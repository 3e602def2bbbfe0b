"""ImageNet-P: how steady are predictions over sequences of slowly changing perturbations, made here or read from videos?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from RobustART.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list, refuse_without_files
from RobustART.benchmarks.published import stored_preprocessing
from RobustART.core.imaging import Array
from RobustART.data import ImageDataset, Sample
from RobustART.data.generated import read_generated
from RobustART.data.published import IMAGENET_P
from RobustART.data.video import frame_view, video_folders
from RobustART.errors import ConfigError, UnknownNameError, nearest
from RobustART.metrics import summaries
from RobustART.metrics.stability import PUBLISHED_PERTURBATIONS, SCORED_PERTURBATIONS, is_noise, references
from RobustART.noise.perturbations import FRAMES, perturb

NOT_COMPRESSED = (
    "imagenet_p: the frames are made from the clean images and are not compressed; those of files went through a video "
    "encoder (x264), so flip probabilities from files differ a little"
)
"""What the report says of sequences that are made on the fly."""


def published_frames(perturbation: str) -> int:
    """Returns how many frames the published videos of a perturbation have: 31, and 41 of ``translate``."""
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
    order = logits.double().cpu().argsort(dim=-1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(-1, order, torch.arange(1, order.shape[-1] + 1).expand_as(order))
    weight = 1.0 / ranks.double()
    reference = weight[:, references(logits.shape[1], noise=noise, stride=stride)]
    return {"top5": order[..., :5], "zipf": ((reference - weight).abs() * reference).sum(dim=-1)}


def rankings_of_rows(
    views: Tensor, logits: Tensor, *, lengths: Sequence[int], rows: Sequence[tuple[bool, int]]
) -> dict[str, Tensor]:
    """Returns :func:`rankings` of several sequences that stand one after another.

    Args:
        views: not used.
        logits: (N, all frames, K).
        lengths: frames of each sequence.
        rows: ``noise`` and ``stride`` of each.
    """
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
        if sample.last_made is None or sample.last_made[0] != self.draws:
            sample.last_made = self.draws, perturb(sample.image, self.draws, size=sample.size, rng=rng)
        return sample.last_made[1][self.index]


def imagenet_p_folders(perturbations: Any = SCORED_PERTURBATIONS, difficulty: Any = 1) -> dict[str, str]:
    """Returns the folder of each perturbation, from the options of ``imagenet_p``, checked.

    Args:
        perturbations: one name or a list of them; noise has a folder of its own for each difficulty.
        difficulty: 1 to 3.

    Raises:
        ConfigError, UnknownNameError: what their names say.
    """
    names = as_list(perturbations, str, "imagenet_p.perturbations")
    for name in names:
        if name not in PUBLISHED_PERTURBATIONS:
            known = ", ".join(PUBLISHED_PERTURBATIONS)
            raise UnknownNameError(
                f"unknown perturbation {name!r}{nearest(name, PUBLISHED_PERTURBATIONS) or ';'} Known: {known}"
            )
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"imagenet_p.perturbations must name each perturbation once, and at least one, got {names}")
    if type(difficulty) is not int or difficulty not in (1, 2, 3):
        raise ConfigError(f"imagenet_p.difficulty must be 1, 2 or 3, got {difficulty!r}")
    return {name: f"{name}_{difficulty}" if is_noise(name) and difficulty > 1 else name for name in names}


@BENCHMARKS.register("imagenet_p")
def imagenet_p(
    dataset: ImageDataset,
    *,
    perturbations: Sequence[str] = SCORED_PERTURBATIONS,
    difficulty: int = 1,
    root_dir: str | None = None,
    preprocess: str = "crop",
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
    folders = imagenet_p_folders(perturbations, difficulty)
    adapt = stored_preprocessing(preprocess, "imagenet_p")
    rows = {name: (is_noise(name), 1 if is_noise(name) else difficulty) for name in folders}
    options: dict[str, Any] = {"perturbations": list(folders)}
    notes: list[str] = []
    if root_dir is None:
        refuse_without_files("imagenet_p", preprocess=preprocess)
        for folder in folders.values():  # a missing library ends the run before its first image
            perturb(np.zeros((32, 32, 3), np.uint8), folder, size=28)
        lengths = {name: published_frames(name) for name in folders}
        cells = [
            Cell(f"{name}/{t}", SequenceView(folder, t))
            for name, folder in folders.items()
            for t in range(lengths[name])
        ]
        measure = functools.partial(rankings_of_rows, lengths=list(lengths.values()), rows=list(rows.values()))
        part = Pass(dataset, tuple(cells), measure=measure)
        return Benchmark("imagenet_p", (part,), summaries.imagenet_p, options, notes=(NOT_COMPRESSED,))
    root = IMAGENET_P.folder(root_dir, "imagenet_p.root_dir")
    generated = read_generated(root, "imagenet_p")
    parts = []
    for name, videos in video_folders(IMAGENET_P, root, folders).items():
        noise, stride = rows[name]
        if videos.length <= stride:
            raise IMAGENET_P.missing(
                f"videos of {published_frames(name)} frames in {videos.root}",
                f"the first has {videos.length}, so no two are {stride} apart",
            )
        if videos.length != published_frames(name):
            notes.append(
                f"ImageNet-P's videos of {name} have {videos.length} frames here; the published ones have "
                f"{published_frames(name)}"
            )
        videos = generated.arrange(videos) if generated else videos
        cells = [Cell(f"{name}/{t}", functools.partial(frame_view, index=t)) for t in range(videos.length)]
        measure = functools.partial(rankings, noise=noise, stride=stride)
        parts.append(Pass(videos, tuple(cells), None, name, preprocessing=adapt, measure=measure))
    notes += (generated or IMAGENET_P).notes(parts[0].dataset)
    return Benchmark(
        "imagenet_p", tuple(parts), summaries.imagenet_p, options, notes=tuple(notes),
        notes_on=generated.notes_on if generated else None,
    )  # fmt: skip
