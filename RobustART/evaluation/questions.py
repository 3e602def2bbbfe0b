"""Asks the models of a run about a handful of images before it starts: may their numbers be misleading?"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from RobustART.benchmarks import Benchmark, Pass
from RobustART.core.determinism import exact_arithmetic
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import load_views
from RobustART.errors import UserError
from RobustART.evaluation.blocks import shipped_views
from RobustART.evaluation.scoring import to_float
from RobustART.metrics.trust import UNDER_EVALUATION
from RobustART.noise.attacks.flags import IMAGES, check_answers, check_model

Signs = dict[str, dict[str, str]]
"""Flags by model, name and meaning, as a header has them."""
Plan = tuple[Benchmark, Sequence[Sequence[int]]]
"""A benchmark and the image ids of each pass."""


def questions(
    plans: Sequence[Plan], model: nn.Module, preprocessing: Preprocessing, device: torch.device, seed: int
) -> Callable[[Benchmark], Signs]:
    """Returns a function from a benchmark to the signs that its models show; the model under evaluation is asked once.

    The answers are those of the same images in every process and every resumed run.

    Args:
        plans: all benchmarks of the run.
        model: the model under evaluation, on ``device``, in evaluation mode.
        preprocessing: preprocessing of the models.
        device: device of the models.
        seed: seed of the evaluation.
    """

    @functools.cache
    def handful(attacked: bool) -> tuple[Tensor, Tensor]:
        found = next((part, ids) for plan in plans for part, ids in parts(*plan) if not attacked or victims(part))
        return first_images(*found, preprocessing, seed)

    def flags(network: nn.Module, attacked: bool) -> dict[str, str]:
        try:
            images, labels = (value.to(device) for value in handful(attacked))
            with exact_arithmetic():
                return check_model(network, images, labels) if attacked else check_answers(network, images)
        except (UserError, RuntimeError, ValueError, AssertionError):
            return {}  # the run itself raises it, and names the cell and the image

    own = functools.cache(functools.partial(flags, model))

    def ask(benchmark: Benchmark) -> Signs:
        attacked = {name for part in benchmark.passes for name in victims(part)}
        others: Mapping[str | None, nn.Module] = benchmark.models
        found = {UNDER_EVALUATION: own(None in attacked)}
        found |= {str(name): flags(other, name in attacked) for name, other in others.items()}
        return {name: signs for name, signs in found.items() if signs}

    return ask


def parts(benchmark: Benchmark, chosen: Sequence[Sequence[int]]) -> list[tuple[Pass, Sequence[int]]]:
    """Returns the passes of a benchmark that have images, with their ids."""
    return [(part, ids) for part, ids in zip(benchmark.passes, chosen, strict=True) if ids]


def victims(part: Pass) -> set[str | None]:
    """Returns the names of the models that a pass attacks."""
    return {cell.victim for cell in part.cells if cell.attack}


def first_images(
    part: Pass, ids: Sequence[int], preprocessing: Preprocessing, seed: int, count: int = IMAGES
) -> tuple[Tensor, Tensor]:
    """Returns the first images of a pass in their first view, (N, 3, S, S) in [0, 1], and their labels."""
    some = list(ids[:count])
    views = shipped_views(part.cells[:1])[0]
    loaded = load_views(
        part.dataset, [some], views, part.prepare(preprocessing).apply, size=preprocessing.input_size, seed=seed,
        workers=0, pin_memory=False,
    )  # fmt: skip
    with contextlib.closing(loaded):
        pixels, _ = next(loaded)
    return to_float(pixels[:, 0]), torch.tensor([part.dataset.labels[i] for i in some])
