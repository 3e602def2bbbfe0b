"""First-order attacks: FGSM, PGD and MI-FGSM, each a row of settings for the loop in ``ascent.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor
from typing_extensions import Unpack

from RobustART.core.ranges import Count, Natural, Range
from RobustART.errors import ConfigError
from RobustART.noise.attacks.ascent import REL_STEPSIZE, Course, Move, PgdOptions, first_order, sign_step, unit_step
from RobustART.noise.attacks.geometry import sparse_sign, spread, steepest_l1
from RobustART.noise.attacks.inputs import GradientOptions, LossOptions, attack
from RobustART.noise.attacks.victim import Model


@attack
def fgsm(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, random_start: bool = False,
    restarts: Count = 1, **common: Unpack[GradientOptions],
) -> Tensor:  # fmt: skip
    """Fast gradient sign method (Goodfellow 2015, https://arxiv.org/abs/1412.6572): one step of length eps in Linf.

    Args:
        model: and all arguments not named here as in :class:`GradientOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        random_start: whether to step from a random point of the ball (Wong 2020).
        restarts: tries per image; later ones start at random points.
        common: options of every attack.
    """
    options = PgdOptions(
        steps=1, step_size=None, rel_stepsize=1.0, random_start=random_start, restarts=restarts, loss="ce", **common
    )
    return first_order("fgsm", model, images, labels, eps, options, norm="Linf", move=sign_step)


@attack
def pgd_linf(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, **options: Unpack[PgdOptions]
) -> Tensor:
    """Projected gradient descent in Linf (Madry 2018, https://arxiv.org/abs/1706.06083), with the steps of foolbox."""
    return first_order("pgd_linf", model, images, labels, eps, options, norm="Linf", move=sign_step)


@attack
def pgd_l2(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, **options: Unpack[PgdOptions]
) -> Tensor:
    """Projected gradient descent in L2: steps along the normalised gradient."""
    return first_order("pgd_l2", model, images, labels, eps, options, norm="L2", move=unit_step)


@attack
def mim_linf(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, upstream_step: bool = False,
    decay: float = 1.0, **options: Unpack[PgdOptions],
) -> Tensor:  # fmt: skip
    """Momentum iterative FGSM (Dong 2018, https://arxiv.org/abs/1710.06081) in Linf.

    The gradient, divided by its mean absolute value, is accumulated with weight ``decay``, and its sign is the step. The
    start is clipped to [0, 1], which the original benchmark does not do before its first gradient.

    Args:
        model: and all arguments not named here as in :class:`PgdOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        upstream_step: whether to take the original benchmark's step of 0.002, whatever eps is.
        decay: weight of the earlier gradients.
        options: of projected gradient descent.
    """
    if upstream_step:
        options["step_size"] = _upstream(0.002, options["step_size"])
    return first_order(
        "mim_linf", model, images, labels, eps, options, norm="Linf", move=sign_step, decay=decay
    )  # fmt: skip


@attack
def pgd_l1(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, steps: Natural = 20,
    step_size: float | Tensor | None = None, rel_stepsize: float | None = None, upstream_step: bool = False,
    phases: tuple[float, ...] = (3, 2, 1), sparsity: Annotated[float, Range(0, 1, above=True)] | None = None,
    random_start: bool = False, restarts: Count = 1, n_targets: Natural = 5, **common: Unpack[LossOptions],
) -> Tensor:  # fmt: skip
    """Projected gradient descent in L1 with sparse steps and the exact projection onto ball and box.

    Step and projection are the exact ones for the ball and the box (Croce and Hein 2021,
    https://arxiv.org/abs/2103.01208), and as there the course begins in larger balls; the dense step of other toolboxes,
    the gradient over its L1 norm, hardly attacks. After the untargeted tries come ``n_targets`` targeted ones, since many
    images that withstand the loss of all classes yield to that of a single one (Gowal 2019,
    https://arxiv.org/abs/1910.09338).

    Args:
        model: and all arguments not named here as in :class:`LossOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        steps: gradient steps of each try.
        step_size: L1 length of all steps, a number or one per image.
        rel_stepsize: the same in units of eps. Without either, steps fall from the radius to a 50th of it in each phase.
        upstream_step: whether to take the original benchmark's step of 120, whatever eps is.
        phases: radii of the successive balls, in units of eps, falling to 1. With k of them all but the last get 0.6 / k of
            the steps each. ``(1,)`` is plain projected gradient descent.
        sparsity: None for the steepest step; a number in (0, 1] moves that fraction of the values by equal lengths instead
            (Tramer and Boneh 2019, https://arxiv.org/abs/1904.13000).
        random_start: whether every try starts at a random point of the ball; if not, the first and the targeted ones start
            at the image.
        restarts: untargeted tries per image; later ones start at random points and go to the images not yet fooled.
        n_targets: further tries, each towards one of the likeliest wrong classes, for the images not yet fooled; none if
            the attack is targeted itself. With ``loss="dlr"`` they descend the margin.
        common: options of every attack.
    """
    if not phases or phases[-1] != 1 or sorted(phases, reverse=True) != list(phases) or phases[0] == float("inf"):
        raise ConfigError(f"phases must be radii that fall to 1, such as (3, 2, 1), got {phases!r}")
    if upstream_step:
        step_size = _upstream(120.0, step_size)
    if step_size is not None and rel_stepsize is not None:
        raise ConfigError(f"give one of step_size and rel_stepsize, got {step_size!r} and {rel_stepsize!r}")
    falling = step_size is None and rel_stepsize is None
    options = PgdOptions(
        steps=steps, step_size=step_size, random_start=random_start, restarts=restarts, **common,
        rel_stepsize=1.0 if falling else REL_STEPSIZE if rel_stepsize is None else rel_stepsize,
    )  # fmt: skip
    return first_order(
        "pgd_l1", model, images, labels, eps, options, norm="L1", n_targets=n_targets,
        move=steepest_l1 if sparsity is None else _sparse_step(sparsity), course=_course(steps, phases, falling),
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


def _sparse_step(sparsity: float) -> Move:
    return lambda gradient, points, length: spread(length, points) * sparse_sign(gradient, points, sparsity)


def _upstream(fixed: float, step_size: float | Tensor | None) -> float:
    if step_size is not None:
        raise ConfigError("upstream_step=True sets the step; give it without step_size")
    return fixed
