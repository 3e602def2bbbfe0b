"""First-order attacks: FGSM, PGD and MI-FGSM, each a row of settings for the loop in ``ascent.py``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from RobustART.errors import ConfigError
from RobustART.noise.attacks.ascent import REL_STEPSIZE, Course, Move, first_order, sign_step, unit_step
from RobustART.noise.attacks.geometry import sparse_sign, spread, steepest_l1
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.victim import Model


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
    amp: str | None = None,
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
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
    """
    return first_order(
        "fgsm", model, images, labels, eps=eps, seeds=seeds, norm="Linf", move=sign_step, steps=1, step_size=None,
        rel_stepsize=1.0, random_start=random_start, restarts=restarts, targeted=targeted, stop=stop,
        batch_size=batch_size, amp=amp, log=log,
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
    rel_stepsize: float = REL_STEPSIZE,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
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
        step_size: length of a step, a number or one per image; None takes
        rel_stepsize: the same in units of eps.
        random_start: whether to start at a uniform point of the ball instead of the image.
        restarts: tries per image; with more than one, later ones go to the images that still stand.
        targeted: whether to lead to ``labels`` instead of away from them.
        stop: None runs all steps on all images; ``"first"`` lets an image go as soon as it is fooled.
        batch_size: images in the batch at once, refilled as images leave; None for all.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
        loss: ``"ce"``, ``"dlr"`` or ``"margin"``.
    """
    return first_order(
        "pgd_linf", model, images, labels, eps=eps, seeds=seeds, norm="Linf", move=sign_step, steps=steps,
        step_size=step_size, rel_stepsize=rel_stepsize, random_start=random_start,
        restarts=restarts, targeted=targeted, stop=stop, batch_size=batch_size, amp=amp, log=log, loss=loss,
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
    rel_stepsize: float = REL_STEPSIZE,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
) -> Tensor:
    """Projected gradient descent in L2: steps along the normalised gradient; arguments as in :func:`pgd_linf`."""
    return first_order(
        "pgd_l2", model, images, labels, eps=eps, seeds=seeds, norm="L2", move=unit_step, steps=steps,
        step_size=step_size, rel_stepsize=rel_stepsize, random_start=random_start,
        restarts=restarts, targeted=targeted, stop=stop, batch_size=batch_size, amp=amp, log=log, loss=loss,
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
    phases: Sequence[float] = (3, 2, 1),
    share: float | None = None,
    random_start: bool = False,
    restarts: int = 1,
    n_targets: int = 5,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
    loss: str = "ce",
) -> Tensor:
    """Projected gradient descent in L1 with sparse steps and the exact projection onto ball and box.

    Step and projection are the exact ones for the ball and the box (Croce and Hein 2021,
    https://arxiv.org/abs/2103.01208), and as there the way begins in larger balls; the dense step of other toolboxes, the
    gradient over its L1 norm, hardly attacks. After the untargeted tries come ``n_targets`` targeted ones, since many images
    that withstand the loss of all classes fall to that of a single one (Gowal 2019, https://arxiv.org/abs/1910.09338).

    Args:
        model: and all arguments not named here as in :func:`pgd_linf`.
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,).
        steps: gradient steps.
        step_size: L1 length of all steps, a number or one per image; or
        rel_stepsize: the same in units of eps. By default steps fall from the radius to a 50th of it in each phase.
        upstream_step: whether to take the original benchmark's step of 120 whatever eps is.
        phases: radii of the balls that the steps go through, in units of eps, falling to 1. With k of them all but the last
            get 0.6 / k of the steps each. ``(1,)`` is plain projected gradient descent.
        share: None for the steepest step; a number in (0, 1] moves that part of the values by equal lengths instead
            (Tramer and Boneh 2019, https://arxiv.org/abs/1904.13000).
        random_start: whether every try starts at a random point of the ball; if not, the first and the targeted ones start
            at the image.
        restarts: untargeted tries per image; later ones start at random points and go to the images not yet fooled.
        n_targets: further tries, each towards one of the likeliest wrong classes, for the images not yet fooled; 0 for
            none, as with ``targeted``. With ``loss="dlr"`` they climb the margin.
        targeted: whether to lead to ``labels``.
        stop: None or ``"first"``.
        batch_size: images in the batch at once; None for all.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
        loss: ``"ce"``, ``"dlr"`` or ``"margin"``.
    """
    numbers = isinstance(phases, (list, tuple)) and all(isinstance(radius, (int, float)) for radius in phases)
    radii = [float(radius) for radius in phases] if numbers else []
    if not radii or radii[-1] != 1 or sorted(radii, reverse=True) != radii or radii[0] == float("inf"):
        raise ConfigError(f"phases must be radii that fall to 1, such as (3, 2, 1), got {phases!r}")
    if share is not None and not 0 < share <= 1:
        raise ConfigError(f"share must be None or in (0, 1], got {share!r}")
    if upstream_step:
        step_size = _upstream(120.0, step_size)
    if step_size is not None and rel_stepsize is not None:
        raise ConfigError(f"give one of step_size and rel_stepsize, got {step_size!r} and {rel_stepsize!r}")
    falling = step_size is None and rel_stepsize is None
    return first_order(
        "pgd_l1", model, images, labels, eps=eps, seeds=seeds, norm="L1",
        move=steepest_l1 if share is None else _share(share), steps=steps,
        step_size=step_size, rel_stepsize=1.0 if falling else REL_STEPSIZE if rel_stepsize is None else rel_stepsize,
        random_start=random_start, restarts=restarts, n_targets=n_targets,
        targeted=targeted, stop=stop, batch_size=batch_size, amp=amp, log=log, loss=loss,
        course=_course(steps, radii, falling),
    )  # fmt: skip


def _course(steps: int, phases: Sequence[float], falling: bool) -> Course:
    """Returns the radius of each step, and its length: from the radius to a 50th of it in each phase, if ``falling``."""
    part = int(0.6 * steps / len(phases))
    counts = [part] * (len(phases) - 1)
    counts.append(steps - sum(counts))
    radius = [value for value, count in zip(phases, counts, strict=True) for _ in range(count)]
    fall = [0.02 ** (i / max(count - 1, 1)) for count in counts for i in range(count)]
    pace = [r * f for r, f in zip(radius, fall, strict=True)] if falling else [1.0] * steps
    return Course(tuple(radius), tuple(pace))


def mim_linf(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    rel_stepsize: float = REL_STEPSIZE,
    upstream_step: bool = False,
    decay: float = 1.0,
    random_start: bool = True,
    restarts: int = 1,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
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
        step_size: length of a step, a number or one per image; None takes
        rel_stepsize: the same in units of eps.
        upstream_step: whether to take the original benchmark's step of 0.002 whatever eps is.
        decay: weight of the gradients before.
        random_start: whether to start at a uniform point of the ball instead of the image.
        restarts: tries per image.
        targeted: whether to lead to ``labels``.
        stop: None or ``"first"``.
        batch_size: images in the batch at once; None for all.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
        loss: ``"ce"``, ``"dlr"`` or ``"margin"``.
    """
    if upstream_step:
        step_size = _upstream(0.002, step_size)
    return first_order(
        "mim_linf", model, images, labels, eps=eps, seeds=seeds, norm="Linf", move=sign_step, steps=steps,
        step_size=step_size, rel_stepsize=rel_stepsize, random_start=random_start,
        restarts=restarts, targeted=targeted, stop=stop, batch_size=batch_size, amp=amp, log=log, loss=loss, decay=decay,
    )  # fmt: skip


def _share(share: float) -> Move:
    return lambda gradient, points, length: spread(length, points) * sparse_sign(gradient, points, share)


def _upstream(fixed: float, step_size: float | Tensor | None) -> float:
    if step_size is not None:
        raise ConfigError("upstream_step=True sets the step; give it without step_size")
    return fixed
