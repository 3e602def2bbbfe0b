"""Attacks that look for the smallest L2 perturbation: DDN, Carlini and Wagner, DeepFool.

With ``eps`` a perturbation inside the ball is a success, and ``stop="first"`` ends with it; with ``eps=None`` the smallest
perturbation found is returned, and the image itself if none was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor
from typing_extensions import Unpack

from RobustART.core.ranges import Count, Natural, Positive, Range
from RobustART.core.seeding import normal
from RobustART.noise.attacks.geometry import norms, spread, where
from RobustART.noise.attacks.inputs import AttackOptions, GradientOptions, UntargetedGradientOptions, attack
from RobustART.noise.attacks.losses import cross_entropy, margin
from RobustART.noise.attacks.task import Rows, Task, attack_task
from RobustART.noise.attacks.victim import Model

Step = Callable[[Rows], Tensor]
"""Advances all rows and returns which are finished; keeps points and verdicts by :func:`keep`."""


def search(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    eps: float | Tensor | None,
    common: AttackOptions,
    prepare: Callable[[Task], tuple[Callable[[Rows], Rows], Step]],
    *,
    norm: str = "L2",
) -> Tensor:
    """Runs a step on the correctly classified images until it has finished them; the frame of minimal-norm attacks.

    ``prepare`` returns a function that gives the columns of an attack for fresh rows, and the step.
    """
    with attack_task(name, model, images, labels, eps, norm, common) as task:
        extend, step = prepare(task)

        def begin(items: Tensor) -> Rows:
            image = index[items]
            origin = task.images[image]
            distance = torch.full_like(task.eps[image], torch.inf)
            rows = {"image": image, "origin": origin, "best": origin, "distance": distance}
            return rows | {"t": torch.zeros_like(items)} | extend(rows)

        def advance(rows: Rows) -> Tensor:
            finished = step(rows)
            found = rows["distance"].isfinite() & (rows["distance"] <= task.eps[rows["image"]])
            claim = found & finished if task.stop is None else found
            if bool(claim.any()):
                task.claim(rows["image"], rows["best"], claim)
                finished = finished | task.broken[rows["image"]]
            return finished

        index = task.unbroken()
        if len(index):
            task.run(index, begin, advance)
    return task.adversarial


def keep(task: Task, rows: Rows, points: Tensor, logits: Tensor) -> Tensor:
    """Keeps the points that are adversarial and nearer than those before; returns which are adversarial."""
    fooled = task.fooled(logits, rows["image"], points)
    distance = norms(points - rows["origin"], "L2")
    closer = fooled & (distance < rows["distance"])
    rows["best"] = where(closer, points, rows["best"])
    rows["distance"] = torch.where(closer, distance, rows["distance"])
    return fooled


@attack
def ddn_l2(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor | None = None, steps: Natural = 100,
    gamma: Annotated[float, Range(0, 1, above=True, below=True)] = 0.05, init_norm: Positive = 1.0,
    **common: Unpack[GradientOptions],
) -> Tensor:  # fmt: skip
    """Decoupled direction and norm (Rony 2019, https://arxiv.org/abs/1811.09600).

    Args:
        model: and all arguments not named here as in :class:`GradientOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: largest L2 distance of a success, a number or one per image; None for the smallest perturbation.
        steps: gradient steps.
        gamma: by how much the norm shrinks after a success and grows after a failure.
        init_norm: the first norm.
        common: options of every attack; the seeds are for directions where the gradient is zero.
    """

    def prepare(task: Task) -> tuple[Callable[[Rows], Rows], Step]:
        sign = -1.0 if task.targeted else 1.0

        def extend(rows: Rows) -> Rows:
            return {"delta": torch.zeros_like(rows["origin"]), "norm": torch.full_like(rows["distance"], init_norm)}

        def step(rows: Rows) -> Tensor:
            points, target = rows["origin"] + rows["delta"], task.labels[rows["image"]]
            last = rows["t"] >= steps
            if bool(last.all()):
                keep(task, rows, points, task.victim.logits(points, rows["image"]))
                return last
            logits, _, gradient = task.victim.gradient(points, rows["image"], lambda z: sign * cross_entropy(z, target))
            fooled = keep(task, rows, points, logits)
            length = norms(gradient, "L2")
            if bool((length == 0).any()):
                noise = normal(task.seeds[rows["image"]], points.shape[1:], dtype=points.dtype)
                gradient, length = where(length == 0, noise, gradient), torch.where(length == 0, 1, length)
                gradient = gradient / spread(norms(gradient, "L2"), gradient) * spread(length, gradient)
            # The length of a step falls from 1 to 0.01 along half a cosine.
            pace = 0.01 + 0.99 * (1 + torch.cos(math.pi * rows["t"] / max(steps, 1))) / 2
            delta = rows["delta"] + gradient * spread(pace.to(length.dtype) / length, gradient)
            rows["norm"] = rows["norm"] * torch.where(fooled, 1 - gamma, 1 + gamma)
            delta = delta * spread(rows["norm"] / norms(delta, "L2").clamp(min=1e-12), delta)
            rows["delta"] = where(last, rows["delta"], (rows["origin"] + delta).clamp(0, 1) - rows["origin"])
            rows["t"] = rows["t"] + 1
            return last

        return extend, step

    return search("ddn_l2", model, images, labels, eps, common, prepare)


@attack
def cw_l2(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor | None = None, steps: Natural = 1000,
    search_steps: Count = 9, step_size: Positive = 0.01, initial_const: Positive = 1e-3, confidence: float = 0.0,
    abort_early: bool = True, **common: Unpack[GradientOptions],
) -> Tensor:  # fmt: skip
    """Carlini and Wagner's L2 attack (2017, https://arxiv.org/abs/1608.04644): Adam in tanh space.

    Args:
        model: and all arguments not named here as in :func:`ddn_l2`.
        images: (N, C, H, W).
        labels: (N,).
        eps: largest L2 distance of a success; None for the smallest perturbation.
        steps: steps of Adam for each weight.
        search_steps: weights tried per image, by tenfold growth and bisection.
        step_size: of Adam.
        initial_const: first weight of the margin against the squared distance.
        confidence: margin to reach.
        abort_early: whether a weight that has led to a success ends when a tenth of the steps brings no progress. The
            original looks at the whole batch's progress, which would make images depend on each other.
        common: options of every attack; nothing is random here, so the seeds have no effect.
    """

    def prepare(task: Task) -> tuple[Callable[[Rows], Rows], Step]:
        edge = 1 - 1e-6  # keeps arctanh finite at 0 and 1
        window = max(1, math.ceil(steps / 10))

        def restart(origin: Tensor) -> Rows:
            zero = torch.zeros_like(origin)
            inf = torch.full((len(origin),), torch.inf, dtype=origin.dtype, device=origin.device)
            return {"w": torch.atanh((2 * origin - 1) * edge), "m": zero, "v": zero, "mark": inf}

        def extend(rows: Rows) -> Rows:
            zero = torch.zeros_like(rows["distance"])
            return restart(rows["origin"]) | {
                "const": zero + initial_const, "low": zero, "high": zero + torch.inf,
                "hit": torch.zeros_like(rows["image"], dtype=torch.bool), "turn": torch.zeros_like(rows["image"]),
            }  # fmt: skip

        def step(rows: Rows) -> Tensor:
            squash = torch.tanh(rows["w"])
            points, target = ((squash / edge + 1) / 2).clamp(0, 1), task.labels[rows["image"]]
            const = rows["const"]

            def shortfall(logits: Tensor) -> Tensor:
                lead = margin(logits, target)
                return -const * (confidence - (-lead if task.targeted else lead)).clamp(min=0)

            logits, climbed, gradient = task.victim.gradient(points, rows["image"], shortfall)
            lead = margin(logits, target)
            fooled = keep(task, rows, points, logits)
            rows["hit"] = rows["hit"] | (fooled & ((-lead if task.targeted else lead) >= confidence))
            offset = points - rows["origin"]
            slope = (2 * offset - gradient) * (1 - squash**2) / 2
            t = spread(rows["t"] + 1, slope)
            rows["m"], rows["v"] = 0.9 * rows["m"] + 0.1 * slope, 0.999 * rows["v"] + 0.001 * slope**2
            rows["w"] = rows["w"] - step_size * (rows["m"] / (1 - 0.9**t)) / (
                (rows["v"] / (1 - 0.999**t)).sqrt() + 1e-8
            )
            rows["t"] = rows["t"] + 1
            ending = rows["t"] >= steps
            if abort_early:
                value = norms(offset, "L2") ** 2 - climbed.to(offset.dtype)
                mark = rows["t"] % window == 0
                ending = ending | (mark & rows["hit"] & (value > 0.9999 * rows["mark"]))
                rows["mark"] = torch.where(mark, value, rows["mark"])
            if bool(ending.any()):
                _next_weight(rows, ending)
                for column, fresh in restart(rows["origin"]).items():
                    rows[column] = where(ending, fresh, rows[column])
            return rows["turn"] >= search_steps

        return extend, step

    return search("cw_l2", model, images, labels, eps, common, prepare)


def _next_weight(rows: Rows, ending: Tensor) -> None:
    """Moves the rows at the end of a weight to the next one: less after a success, more after a failure."""
    const = rows["const"]
    rows["high"] = torch.where(ending & rows["hit"], const, rows["high"])
    rows["low"] = torch.where(ending & ~rows["hit"], const, rows["low"])
    middle = torch.where(rows["high"].isinf(), 10 * const, (rows["low"] + rows["high"]) / 2)
    rows["const"] = torch.where(ending, middle, const)
    rows["hit"] = rows["hit"] & ~ending
    rows["turn"] = rows["turn"] + ending
    rows["t"] = torch.where(ending, 0, rows["t"])


@attack
def deepfool_l2(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor | None = None, steps: Natural = 50,
    candidates: Annotated[int, Range(2)] = 10, overshoot: float = 0.02, stop: Literal["first"] | None = None,
    **common: Unpack[UntargetedGradientOptions],
) -> Tensor:  # fmt: skip
    """DeepFool in L2 (Moosavi-Dezfooli 2016, https://arxiv.org/abs/1511.04599), untargeted by its nature.

    Args:
        model: and all arguments not named here as in :func:`ddn_l2`.
        images: (N, C, H, W).
        labels: true classes (N,).
        eps: largest L2 distance of a success; None for the smallest perturbation.
        steps: largest number of linearisations; an image ends with the first that fools the model.
        candidates: likeliest classes among which the nearest boundary is searched, the true one included.
        overshoot: how far to step over it.
        stop: None or ``"first"``, which is the same here.
        common: options of every attack; nothing is random here, so the seeds have no effect.
    """

    def prepare(task: Task) -> tuple[Callable[[Rows], Rows], Step]:
        def extend(rows: Rows) -> Rows:
            assert task.clean_logits is not None
            source = task.labels[rows["image"]]
            logits = task.clean_logits[rows["image"]].scatter(1, source[:, None], -torch.inf)
            others = logits.topk(min(candidates, logits.shape[1]) - 1, dim=1).indices
            return {"x": rows["origin"], "total": torch.zeros_like(rows["origin"]), "others": others}

        def step(rows: Rows) -> Tensor:
            x, image = rows["x"], rows["image"]
            last = rows["t"] >= steps
            fooled = keep(task, rows, x, task.victim.logits(x, image))
            if bool((fooled | last).all()):
                return fooled | last
            nearest, move = torch.full_like(rows["distance"], torch.inf), torch.zeros_like(x)
            for value, slope in task.victim.class_gradients(x, image, task.labels[image], rows["others"]):
                length = norms(slope, "L2")
                reach = value.abs().to(length.dtype) / length.clamp(min=1e-12)
                closer = (reach < nearest) & (length > 0)
                nearest = torch.where(closer, reach, nearest)
                move = where(closer, slope * spread((reach + 1e-4) / length.clamp(min=1e-12), slope), move)
            rows["total"] = rows["total"] + move
            rows["x"] = (rows["origin"] + (1 + overshoot) * rows["total"]).clamp(0, 1)
            rows["t"] = rows["t"] + 1
            return fooled | last

        return extend, step

    return search(
        "deepfool_l2", model, images, labels, eps, GradientOptions(targeted=False, stop=stop, **common), prepare
    )
