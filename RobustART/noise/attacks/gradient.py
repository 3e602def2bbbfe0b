"""First-order attacks: one ascent loop, and on it FGSM, PGD and MI-FGSM.

Each attack is a table row of this loop: the ball, the start, the direction made of a gradient, and the size of a step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from RobustART.errors import ConfigError, nearest
from RobustART.noise.attacks.geometry import normalize_l2, project, random_start, sparse_sign, spread, steepest_l1
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.losses import cross_entropy, dlr, margin
from RobustART.noise.attacks.packing import Rows, drive, where
from RobustART.noise.attacks.task import Task, attack_task, check_count
from RobustART.noise.attacks.victim import Model
from RobustART.seeding import fold

Move = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Gradient and points (N, C, H, W) and lengths (N,) to steps of these lengths, (N, C, H, W)."""

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ce": cross_entropy, "dlr": dlr, "margin": margin}
REL_STEPSIZE = 3 / 40
"""Step of the benchmark in units of eps: twenty of them cross the ball one and a half times."""


def ascend(
    task: Task,
    index: Tensor,
    start: Tensor,
    *,
    steps: int,
    step_size: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    move: Move,
    decay: float | None = None,
) -> Tensor:
    """Returns the points that ``steps`` steps of steepest ascent reach; each step is projected into ball and box.

    With ``task.stop == "first"`` an image leaves as soon as the pass that gives its gradient shows it fooled, and the
    next waiting image takes its place. The last point is not asked about: who needs the verdict asks once for all.

    Args:
        task: the call this belongs to.
        index: positions of the images to attack, (M,).
        start: where they start, (M, C, H, W).
        steps: number of gradient steps.
        step_size: length of a step, (M,).
        loss: logits and labels to one value per image.
        move: what a step makes of the gradient.
        decay: weight of the accumulated gradient of MI-FGSM; None for no accumulation.
    """
    final = start.clone()
    if steps == 0:
        return final
    sign = -1.0 if task.targeted else 1.0

    def begin(items: Tensor) -> Rows:
        rows = {"item": items, "x": start[items], "t": torch.zeros_like(items)}
        if decay is not None:
            rows["momentum"] = torch.zeros_like(rows["x"])
        return rows

    def advance(rows: Rows) -> Tensor | None:
        item = rows["item"]
        image = index[item]
        labels = task.labels[image]
        logits, _, gradient = task.victim.gradient(rows["x"], image, lambda z: sign * loss(z, labels))
        if decay is not None:
            gradient = rows["momentum"] = decay * rows["momentum"] + per_mean(gradient)
        origin = task.images[image]
        x = rows["x"] + move(gradient, rows["x"], step_size[item])
        x = project(origin, x, task.eps[image], task.norm)
        rows["t"] = rows["t"] + 1
        done = rows["t"] == steps
        if task.stop == "first":
            fooled = task.fooled(logits, image)
            x = where(fooled, rows["x"], x)
            done = done | fooled
        rows["x"] = x
        final[item[done]] = x[done]
        return done

    drive(torch.arange(len(index), device=index.device), task.slots, begin, advance)
    return final


def per_mean(gradient: Tensor) -> Tensor:
    """Returns each image's gradient divided by its mean absolute value; a zero gradient stays zero, never NaN."""
    mean = gradient.flatten(1).abs().mean(1, dtype=torch.float64)
    # float64: a gradient of 1e-40 has a mean that float32 flushes to zero on some devices.
    scale = torch.where(mean > 0, mean, torch.ones_like(mean)).view(-1, *[1] * (gradient.ndim - 1))
    return (gradient.double() / scale).to(gradient.dtype)


def _sign(gradient: Tensor, _points: Tensor, length: Tensor) -> Tensor:
    return spread(length, gradient) * gradient.sign()


def _unit(gradient: Tensor, _points: Tensor, length: Tensor) -> Tensor:
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
    rel_stepsize: float | None,
    random_start: bool,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
    decay: float | None = None,
) -> Tensor:
    """Runs :func:`ascend` once per restart on the images not yet broken; the frame of all attacks in this file."""
    check_count("steps", steps)
    check_count("restarts", restarts, 1)
    if loss not in LOSSES:
        raise ConfigError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}{nearest(loss, LOSSES)}")
    if targeted and loss == "dlr":
        raise ConfigError("loss 'dlr' is for untargeted attacks; targeted=True needs 'ce' or 'margin'")
    if (step_size is None) == (rel_stepsize is None):
        raise ConfigError(f"give one of step_size and rel_stepsize, got {step_size!r} and {rel_stepsize!r}")
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
        log=log,
        keep_score=restarts > 1,
        # Without a random start the first gradient is taken at the image itself and shows the clean verdict by the way.
        skip_clean=random_start or restarts > 1 or stop is None,
    ) as task:
        length = _step_length(task.eps, step_size, rel_stepsize)
        for restart in range(restarts):
            index = task.standing()
            if not len(index):
                break
            start = task.images[index]
            if random_start:
                start = _random_start(task, index, restart)
            points = ascend(
                task,
                index,
                start,
                steps=steps,
                step_size=length[index],
                loss=LOSSES[loss],
                move=move,
                decay=decay,
            )
            task.settle(index, points)
    return task.adversarial


def _step_length(eps: Tensor, step_size: float | Tensor | None, rel_stepsize: float | None) -> Tensor:
    """Returns the length of each image's steps, (N,)."""
    if rel_stepsize is not None:
        length = eps * rel_stepsize
    else:
        length = torch.as_tensor(step_size, dtype=eps.dtype, device=eps.device).expand_as(eps)
    if not bool((length >= 0).all()):
        raise ConfigError(f"step sizes must be at least 0, got step_size={step_size}, rel_stepsize={rel_stepsize}")
    return length


def _random_start(task: Task, index: Tensor, restart: int) -> Tensor:
    return random_start(task.images[index], task.eps[index], task.norm, fold(task.seeds[index], restart))


def fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    targeted: bool = False,
    random_start: bool = False,
    restarts: int = 1,
    stop: str | None = None,
    batch_size: int | None = None,
    log: AttackLog | None = None,
) -> Tensor:
    """Fast gradient sign method (Goodfellow 2015, https://arxiv.org/abs/1412.6572): one step of length eps in Linf.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,), for the random start.
        targeted: whether to lead to ``labels`` instead of away from them.
        random_start: whether to step from a random point of the ball (Wong 2020).
        restarts: tries per image.
        stop: None, or ``"first"`` to spend nothing on images that are wrong already.
        batch_size: images in the batch at once; None for all.
        log: filled with what happened to each image.
    """
    return first_order(
        "fgsm", model, images, labels, eps=eps, seeds=seeds, norm="Linf", move=_sign, steps=1, step_size=None,
        rel_stepsize=1.0, random_start=random_start, restarts=restarts, targeted=targeted, stop=stop,
        batch_size=batch_size, log=log,
    )  # fmt: skip


def pgd_linf(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    rel_stepsize: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
) -> Tensor:
    """Projected gradient descent in Linf (Madry 2018, https://arxiv.org/abs/1706.06083), with the steps of foolbox.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,), for the random starts.
        steps: gradient steps.
        step_size: length of a step, a number or one per image; or
        rel_stepsize: the same in units of eps, by default 3/40.
        random_start: whether to start at a uniform point of the ball instead of the image.
        restarts: tries per image; with more than one, later ones go to the images that still stand.
        targeted: whether to lead to ``labels`` instead of away from them.
        stop: None runs all steps on all images; ``"first"`` lets an image go as soon as it is fooled.
        batch_size: images in the batch at once, refilled as images leave; None for all.
        log: filled with what happened to each image.
        loss: ``"ce"``, ``"dlr"`` or ``"margin"``.
    """
    return first_order(
        "pgd_linf", model, images, labels, eps=eps, seeds=seeds, norm="Linf", move=_sign, steps=steps,
        step_size=step_size, rel_stepsize=_default_rel(step_size, rel_stepsize), random_start=random_start,
        restarts=restarts, targeted=targeted, stop=stop, batch_size=batch_size, log=log, loss=loss,
    )  # fmt: skip


def pgd_l2(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    rel_stepsize: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
) -> Tensor:
    """Projected gradient descent in L2: steps along the normalised gradient; arguments as in :func:`pgd_linf`."""
    return first_order(
        "pgd_l2", model, images, labels, eps=eps, seeds=seeds, norm="L2", move=_unit, steps=steps,
        step_size=step_size, rel_stepsize=_default_rel(step_size, rel_stepsize), random_start=random_start,
        restarts=restarts, targeted=targeted, stop=stop, batch_size=batch_size, log=log, loss=loss,
    )  # fmt: skip


def pgd_l1(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    rel_stepsize: float | None = None,
    upstream_step: bool = False,
    share: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
) -> Tensor:
    """Projected gradient descent in L1 with sparse steps and the exact projection onto ball and box.

    Step and projection are the exact ones for the ball and the box (Croce and Hein 2021,
    https://arxiv.org/abs/2103.01208); the dense step of other toolboxes, the gradient over its L1 norm, hardly attacks.

    Args:
        model: and all arguments not named here as in :func:`pgd_linf`.
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,).
        steps: gradient steps.
        step_size: L1 length of a step, a number or one per image; or
        rel_stepsize: the same in units of eps, by default 3/40.
        upstream_step: whether to take the original benchmark's step of 120 whatever eps is.
        share: None for the steepest step; a number in (0, 1] moves that part of the values by equal lengths instead
            (Tramer and Boneh 2019, https://arxiv.org/abs/1904.13000).
        random_start: whether to start at a uniform point of the ball instead of the image.
        restarts: tries per image.
        targeted: whether to lead to ``labels``.
        stop: None or ``"first"``.
        batch_size: images in the batch at once; None for all.
        log: filled with what happened to each image.
        loss: ``"ce"``, ``"dlr"`` or ``"margin"``.
    """
    if share is not None and not 0 < share <= 1:
        raise ConfigError(f"share must be None or in (0, 1], got {share!r}")
    if upstream_step:
        step_size = _upstream(120.0, step_size, rel_stepsize)
    return first_order(
        "pgd_l1", model, images, labels, eps=eps, seeds=seeds, norm="L1",
        move=steepest_l1 if share is None else _share(share), steps=steps, step_size=step_size,
        rel_stepsize=_default_rel(step_size, rel_stepsize), random_start=random_start, restarts=restarts,
        targeted=targeted, stop=stop, batch_size=batch_size, log=log, loss=loss,
    )  # fmt: skip


def mim_linf(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    rel_stepsize: float | None = None,
    upstream_step: bool = False,
    decay: float = 1.0,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
) -> Tensor:
    """Momentum iterative FGSM (Dong 2018, https://arxiv.org/abs/1710.06081) in Linf.

    The gradient, divided by its mean absolute value, is accumulated with weight ``decay`` and its sign is the step. The
    start is clipped to [0, 1], which the original benchmark does not do before its first gradient.

    Args:
        model: and all arguments not named here as in :func:`pgd_linf`.
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,).
        steps: gradient steps.
        step_size: length of a step, a number or one per image; or
        rel_stepsize: the same in units of eps, by default 3/40.
        upstream_step: whether to take the original benchmark's step of 0.002 whatever eps is.
        decay: weight of the gradients before.
        random_start: whether to start at a uniform point of the ball instead of the image.
        restarts: tries per image.
        targeted: whether to lead to ``labels``.
        stop: None or ``"first"``.
        batch_size: images in the batch at once; None for all.
        log: filled with what happened to each image.
        loss: ``"ce"``, ``"dlr"`` or ``"margin"``.
    """
    if upstream_step:
        step_size = _upstream(0.002, step_size, rel_stepsize)
    return first_order(
        "mim_linf", model, images, labels, eps=eps, seeds=seeds, norm="Linf", move=_sign, steps=steps,
        step_size=step_size, rel_stepsize=_default_rel(step_size, rel_stepsize), random_start=random_start,
        restarts=restarts, targeted=targeted, stop=stop, batch_size=batch_size, log=log, loss=loss, decay=decay,
    )  # fmt: skip


def _share(share: float) -> Move:
    return lambda gradient, points, length: spread(length, points) * sparse_sign(gradient, points, share)


def _default_rel(step_size: float | Tensor | None, rel_stepsize: float | None) -> float | None:
    return REL_STEPSIZE if step_size is None and rel_stepsize is None else rel_stepsize


def _upstream(fixed: float, step_size: float | Tensor | None, rel_stepsize: float | None) -> float:
    if step_size is not None or rel_stepsize is not None:
        raise ConfigError("upstream_step=True sets the step; give it without step_size and rel_stepsize")
    return fixed
