"""ImageNet-P: how steady are predictions over videos of slowly changing perturbations?"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from RobustART.data import ImageDataset
from RobustART.data.published import IMAGENET_P
from RobustART.data.video import frame_view, video_folder
from RobustART.errors import ConfigError, UnknownNameError, nearest
from RobustART.evaluation.benchmarks.core import BENCHMARKS, Benchmark, Cell, Pass, as_list
from RobustART.evaluation.benchmarks.published import stored_preprocessing
from RobustART.metrics import summaries
from RobustART.metrics.stability import PUBLISHED_PERTURBATIONS, SCORED_PERTURBATIONS, is_noise, references


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


@BENCHMARKS.register("imagenet_p")
def imagenet_p(
    dataset: ImageDataset,
    *,
    root_dir: str,
    perturbations: Sequence[str] = SCORED_PERTURBATIONS,
    difficulty: int = 1,
    preprocess: str = "crop",
) -> Benchmark:
    """Returns ImageNet-P from its published videos (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261).

    Args:
        dataset: not used; ImageNet-P is a data set of its own.
        root_dir: its folder, ``{perturbation}/{wnid}/*.mp4``.
        perturbations: names of folders; the 10 scored ones by default. Extra ones: ``speckle_noise``, ``gaussian_blur``,
            ``spatter``, ``shear``.
        difficulty: 1 to 3. Noise is read from ``{perturbation}_{difficulty}`` above 1; of the others, frames this many
            steps apart are compared.
        preprocess: ``crop`` (the middle of each frame, no resize), ``resize256``, or ``model`` (its own, as for photos).
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
    adapt = stored_preprocessing(preprocess, "imagenet_p")
    root = IMAGENET_P.folder(root_dir, "imagenet_p.root_dir")
    parts, counts = [], {}
    for name in names:
        noise = is_noise(name)
        videos = video_folder(IMAGENET_P, root / (f"{name}_{difficulty}" if noise and difficulty > 1 else name))
        if videos.length <= difficulty:
            raise IMAGENET_P.missing(f"videos of 31 frames in {videos.root}", f"the first has {videos.length}")
        cells = tuple(Cell(f"{name}/{t}", functools.partial(frame_view, index=t)) for t in range(videos.length))
        measure = functools.partial(rankings, noise=noise, stride=1 if noise else difficulty)
        parts.append(Pass(videos, cells, None, name, preprocessing=adapt, measure=measure))
        counts[name] = len(videos)
    notes: tuple[str, ...] = ()
    if len(set(counts.values())) > 1:
        notes = (f"ImageNet-P is not whole: its perturbations have different numbers of videos, {counts}",)
    return Benchmark("imagenet_p", tuple(parts), summaries.imagenet_p, notes=notes)
