"""One ascent loop for all first-order attacks: the ball, the start, the direction made of a gradient, and the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from RobustART.core.seeding import fold
from RobustART.errors import ConfigError, nearest
from RobustART.noise.attacks.geometry import normalize_l2, project, random_start, spread
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.losses import cross_entropy, dlr, margin
from RobustART.noise.attacks.packing import Rows, drive, where
from RobustART.noise.attacks.task import Task, attack_task, check_count
from RobustART.noise.attacks.victim import Model

Move = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Gradient and points (N, C, H, W) and lengths (N,) to steps of these lengths, (N, C, H, W)."""

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ce": cross_entropy, "dlr": dlr, "margin": margin}
REL_STEPSIZE = 3 / 40
"""Step of the benchmark in units of eps: twenty of them cross the ball one and a half times."""


def ascend(
    task: Task,
    index: Tensor,
    start: Tensor,
    labels: Tensor,
    *,
    towards: bool,
    steps: int,
    step_size: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    move: Move,
    decay: float | None = None,
    course: Course | None = None,
) -> Tensor:
    """Returns the points that ``steps`` steps of steepest ascent reach; each step is projected into ball and box.

    With ``task.stop == "first"`` an image leaves as soon as the pass that gives its gradient shows it fooled, and the
    next waiting image takes its place. The last point is not asked about: who needs the verdict asks once for all.

    Args:
        task: the call this belongs to.
        index: positions of the images to attack, (M,).
        start: where they start, (M, C, H, W).
        labels: classes that the loss is taken for, (M,).
        towards: whether to go down the loss, towards these classes, instead of up.
        steps: number of gradient steps.
        step_size: length of a step, (M,).
        loss: logits and labels to one value per image.
        move: what a step makes of the gradient.
        decay: weight of the accumulated gradient of MI-FGSM; None for no accumulation.
        course: by how much the radius and the length of a step differ from step to step; None for not at all.
    """
    final = start.clone()
    if steps == 0:
        return final
    sign = -1.0 if towards else 1.0
    pace = None if course is None else torch.tensor(course.pace).to(start)
    # The ball in which a step begins; what comes out of the last one is in the ball of eps.
    radius = None if course is None else torch.tensor([*course.radius, 1.0]).to(start)

    def begin(items: Tensor) -> Rows:
        image = index[items]
        rows = {
            "item": items, "x": start[items], "t": torch.zeros_like(items), "image": image, "label": labels[items],
            "origin": task.images[image], "eps": task.eps[image], "length": step_size[items],
        }  # fmt: skip
        if decay is not None:
            rows["momentum"] = torch.zeros_like(rows["x"])
        return rows

    def advance(rows: Rows) -> Tensor | None:
        image = rows["image"]
        logits, _, gradient = task.victim.gradient(rows["x"], image, lambda z: sign * loss(z, rows["label"]))
        if decay is not None:
            gradient = rows["momentum"] = decay * rows["momentum"] + per_mean(gradient)
        origin, length, eps, t = rows["origin"], rows["length"], rows["eps"], rows["t"]
        if pace is None or radius is None:
            x = project(origin, rows["x"] + move(gradient, rows["x"], length), eps, task.norm)
        else:
            x = project(origin, rows["x"] + move(gradient, rows["x"], length * pace[t]), eps * radius[t], task.norm)
            if bool((radius[t + 1] < radius[t]).any()):
                x = project(origin, x, eps * radius[t + 1], task.norm)
        rows["t"] = t + 1
        done = rows["t"] == steps
        if task.stop == "first":
            fooled = task.fooled(logits, image, rows["x"])
            if radius is not None:
                fooled &= radius[t] <= 1  # in a larger ball it does not count
            x = where(fooled, rows["x"], x)
            done = done | fooled
        rows["x"] = x
        if bool(done.any()):
            final[rows["item"][done]] = x[done]
        return done

    drive(torch.arange(len(index), device=index.device), task.slots, begin, advance)
    return final


@dataclass(frozen=True)
class Course:
    """Factors of the radius and of the length of each step."""

    radius: tuple[float, ...]
    """Of the ball around a step, in units of eps, by step; never growing, and 1 at the end."""
    pace: tuple[float, ...]
    """Of the length of a step, by step."""


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


def first_order(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None,
    norm: str,
    move: Move,
    steps: int,
    step_size: float | Tensor | None,
    rel_stepsize: float,
    random_start: bool,
    restarts: int = 1,
    n_targets: int = 0,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
    decay: float | None = None,
    course: Course | None = None,
) -> Tensor:
    """Runs :func:`ascend` once per try on the images not yet broken; the frame of all first-order attacks.

    The tries are ``restarts``, of which those after the first begin at a random point whatever ``random_start`` says,
    and then ``n_targets``, which begin as the first and lead to the likeliest wrong classes in turn. A targeted attack
    has only the restarts.
    """
    check_count("steps", steps)
    check_count("restarts", restarts, 1)
    check_count("n_targets", n_targets)
    if loss not in LOSSES:
        raise ConfigError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}{nearest(loss, LOSSES)}")
    if step_size is not None and rel_stepsize != REL_STEPSIZE:
        raise ConfigError(f"give one of step_size and rel_stepsize, got {step_size!r} and {rel_stepsize!r}")
    if targeted and loss == "dlr":
        raise ConfigError("loss 'dlr' is for untargeted attacks; targeted=True needs 'ce' or 'margin'")
    tries = restarts + (0 if targeted else n_targets)
    with attack_task(
        name,
        model,
        images,
        labels,
        eps=eps,
        norm=norm,
        seeds=seeds,
        targeted=targeted,
        stop=stop,
        batch_size=batch_size,
        amp=amp,
        log=log,
        keep_score=tries > 1,
        # Without a random start the first gradient is taken at the image itself and shows the clean verdict by the way.
        skip_clean=random_start or tries > 1 or stop is None or course is not None,
    ) as task:
        length = _step_length(task.eps, step_size, rel_stepsize)
        for number in range(tries):
            index = task.standing()
            if not len(index):
                break
            start, labels, climbed = task.images[index], task.labels[index], loss
            if random_start or 0 < number < restarts:
                start = _random_start(task, index, number, 1.0 if course is None else max(course.radius, default=1.0))
            if number >= restarts:
                targets = task.target_classes(index, n_targets)
                if number - restarts >= targets.shape[1]:
                    break
                labels, climbed = targets[:, number - restarts], "margin" if loss == "dlr" else loss
            points = ascend(
                task,
                index,
                start,
                labels,
                towards=targeted or number >= restarts,
                steps=steps,
                step_size=length[index],
                loss=LOSSES[climbed],
                move=move,
                decay=decay,
                course=course,
            )
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


def _random_start(task: Task, index: Tensor, number: int, radius: float) -> Tensor:
    return random_start(task.images[index], task.eps[index] * radius, task.norm, fold(task.seeds[index], number))
