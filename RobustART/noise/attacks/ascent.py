"""One ascent loop for all first-order attacks: the ball, the start, the direction made of a gradient, and the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import TypedDict

from RobustART.core.ranges import Count, Default, Natural
from RobustART.core.seeding import fold
from RobustART.errors import ConfigError
from RobustART.noise.attacks.geometry import bounds, normalize_l2, project, spread, where
from RobustART.noise.attacks.geometry import random_start as random_points
from RobustART.noise.attacks.inputs import LossOptions
from RobustART.noise.attacks.losses import cross_entropy, dlr, margin
from RobustART.noise.attacks.task import Rows, Task, attack_task
from RobustART.noise.attacks.victim import Model

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, K) and labels (N,) to one value per image, (N,)."""
Move = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Gradient and points (N, C, H, W) and lengths (N,) to steps of these lengths, (N, C, H, W)."""

LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dlr": dlr, "margin": margin}
REL_STEPSIZE = 3 / 40
"""Step of the benchmark in units of eps: twenty of them cross the ball one and a half times."""


@dataclass(frozen=True)
class Course:
    """Factors of the radius and of the length of each step."""

    radius: tuple[float, ...]
    """Of the ball around a step, in units of eps, by step; never growing, and 1 at the end."""
    pace: tuple[float, ...]
    """Of the length of a step, by step."""


def ascend(
    task: Task,
    index: Tensor,
    start: Tensor,
    labels: Tensor,
    *,
    towards: bool,
    steps: int,
    step_size: Tensor,
    loss: Loss,
    move: Move,
    decay: float | None = None,
    course: Course | None = None,
) -> Tensor:
    """Returns the points that ``steps`` steps of steepest ascent reach; each step is projected into ball and box.

    With ``task.stop == "first"`` an image leaves as soon as the pass that gives its gradient shows it fooled, and the
    next waiting image takes its place. The model is not asked about the last point: the caller asks once for all.

    Args:
        task: the call this belongs to.
        index: positions of the images to attack, (M,).
        start: where they start, (M, C, H, W).
        labels: classes that the loss is taken for, (M,).
        towards: whether to descend the loss, towards these classes, instead of climbing it.
        steps: number of gradient steps.
        step_size: length of a step, (M,).
        loss: what is climbed.
        move: makes a step of a gradient.
        decay: weight of the accumulated gradient of MI-FGSM; None for no accumulation.
        course: how radius and length of a step vary; None for constant ones.
    """
    final = start.clone()
    if steps == 0:
        return final
    pace = None if course is None else torch.tensor(course.pace).to(start)
    # The ball in which a step begins; the last one ends in the ball of eps.
    radius = None if course is None else torch.tensor([*course.radius, 1.0]).to(start)

    # With the same ball for all steps, the bounds of Linf are computed once.
    bounded = task.norm == "Linf" and radius is None

    def begin(items: Tensor) -> Rows:
        image = index[items]
        origin, eps = task.images[image], task.eps[image]
        rows = {
            "item": items, "x": start[items], "t": torch.zeros_like(items), "image": image, "label": labels[items],
            "length": step_size[items],
        }  # fmt: skip
        if bounded:
            rows["low"], rows["high"] = bounds(origin, eps)
        else:
            rows["origin"], rows["eps"] = origin, eps
        if decay is not None:
            rows["momentum"] = torch.zeros_like(rows["x"])
        return rows

    def step(rows: Rows, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits of the points and the next points, of rows at step ``t``, a number or one per row."""
        x, length, label = rows["x"], rows["length"], rows["label"]
        logits, losses, gradient = task.victim.gradient(
            x, rows["image"], lambda z: -loss(z, label) if towards else loss(z, label)
        )
        task.victim.watch.loss(rows["image"], losses)
        if decay is not None:
            gradient = rows["momentum"] = decay * rows["momentum"] + per_mean(gradient)
        if bounded:
            return logits, (x + move(gradient, x, length)).clamp_(rows["low"], rows["high"])
        origin, eps = rows["origin"], rows["eps"]
        if pace is None or radius is None:
            return logits, project(origin, x + move(gradient, x, length), eps, task.norm)
        new = project(origin, x + move(gradient, x, length * pace[t]), eps * radius[t], task.norm)
        if bool((radius[t + 1] < radius[t]).any()):
            new = project(origin, new, eps * radius[t + 1], task.norm)
        return logits, new

    def advance(rows: Rows) -> Tensor:
        x, t = rows["x"], rows["t"]
        logits, new = step(rows, t)
        fooled = task.fooled(logits, rows["image"], x)
        if radius is not None:
            fooled &= radius[t] <= 1  # a success in a larger ball does not count for the ball of eps
        new = where(fooled, x, new)
        finished = (t + 1 == steps) | fooled
        rows["x"], rows["t"] = new, t + 1
        if bool(finished.any()):
            final[rows["item"][finished]] = new[finished]
        return finished

    if task.stop == "first":
        task.run(index, begin, advance)
        return final
    for items in torch.arange(len(index), device=index.device).split(task.slots or len(index)):
        rows = begin(items)  # these rows end together
        for t in range(steps):
            rows["x"] = step(rows, t)[1]
        final[items] = rows["x"]
    return final


def per_mean(gradient: Tensor) -> Tensor:
    """Returns each image's gradient divided by its mean absolute value; a zero gradient stays zero, never NaN."""
    mean = gradient.flatten(1).abs().mean(1, dtype=torch.float64)
    # float64: a gradient of 1e-40 has a mean that float32 flushes to zero on some devices.
    scale = torch.where(mean > 0, mean, torch.ones_like(mean)).view(-1, *[1] * (gradient.ndim - 1))
    return (gradient.double() / scale).to(gradient.dtype)


def sign_step(gradient: Tensor, _points: Tensor, length: Tensor) -> Tensor:
    """Returns steps of the given Linf lengths (N,) along the signs of the gradient (N, C, H, W)."""
    return spread(length, gradient) * gradient.sign()


def unit_step(gradient: Tensor, _points: Tensor, length: Tensor) -> Tensor:
    """Returns steps of the given L2 lengths (N,) along the gradient (N, C, H, W)."""
    return spread(length, gradient) * normalize_l2(gradient)


class _Steps(TypedDict, total=False):
    steps: Annotated[Natural, Default(20)]
    """Gradient steps."""
    step_size: float | Tensor | None
    """Length of a step, a number or one per image; None for ``rel_stepsize``."""
    rel_stepsize: Annotated[float, Default(REL_STEPSIZE)]
    """Length of a step in units of eps."""
    random_start: Annotated[bool, Default(True)]
    """Whether to start at a uniform point of the ball instead of the image."""
    restarts: Annotated[Count, Default(1)]
    """Tries per image; later ones start at random points and go to the images not yet fooled."""


class PgdOptions(_Steps, LossOptions, total=False):
    """Options of projected gradient descent."""


def first_order(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    eps: float | Tensor,
    options: PgdOptions,
    *,
    norm: str,
    move: Move,
    n_targets: int = 0,
    decay: float | None = None,
    course: Course | None = None,
) -> Tensor:
    """Runs :func:`ascend` once per try on the images not yet broken; the frame of all first-order attacks.

    The tries are ``restarts``, of which those after the first begin at a random point whatever ``random_start`` is,
    and then ``n_targets``, which begin as the first and lead to the likeliest wrong classes in turn. A targeted attack
    has only the restarts.
    """
    step_size, rel_stepsize, loss = options["step_size"], options["rel_stepsize"], options["loss"]
    random_start, restarts, targeted = options["random_start"], options["restarts"], options["targeted"]
    if step_size is not None and rel_stepsize != REL_STEPSIZE:
        raise ConfigError(f"give one of step_size and rel_stepsize, got {step_size!r} and {rel_stepsize!r}")
    if targeted and loss == "dlr":
        raise ConfigError("loss 'dlr' is for untargeted attacks; targeted=True needs 'ce' or 'margin'")
    tries = restarts + (0 if targeted else n_targets)
    # Without a random start the first gradient is taken at the image itself and gives the clean verdict without a pass.
    skip_clean = random_start or tries > 1 or options["stop"] is None or course is not None
    widest = max(course.radius, default=1.0) if course is not None else 1.0
    with attack_task(
        name, model, images, labels, eps, norm, options, keep_score=tries > 1, skip_clean=skip_clean
    ) as task:  # fmt: skip
        length = _step_length(task.eps, step_size, rel_stepsize)
        for number in range(tries):
            index, target = task.unbroken(), number - restarts
            if not len(index):
                break
            start, classes = task.images[index], task.labels[index]
            if random_start or 0 < number < restarts:
                start = random_points(start, task.eps[index] * widest, norm, fold(task.seeds[index], number))
            if target >= 0:
                likeliest = task.target_classes(index, n_targets)
                if target >= likeliest.shape[1]:
                    break
                classes = likeliest[:, target]
            points = ascend(
                task, index, start, classes, towards=targeted or target >= 0, steps=options["steps"],
                step_size=length[index], loss=LOSSES["margin" if target >= 0 and loss == "dlr" else loss], move=move,
                decay=decay, course=course,
            )  # fmt: skip
            task.settle(index, points)
    return task.adversarial


def _step_length(eps: Tensor, step_size: float | Tensor | None, rel_stepsize: float) -> Tensor:
    """Returns the length of each image's steps, (N,)."""
    if step_size is None:
        length = eps * rel_stepsize
    else:
        length = torch.as_tensor(step_size, dtype=eps.dtype, device=eps.device).expand_as(eps)
    if not bool((length >= 0).all()):
        raise ConfigError(f"step sizes must be at least 0, got step_size={step_size}, rel_stepsize={rel_stepsize}")
    return length
