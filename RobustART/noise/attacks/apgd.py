"""Auto-PGD on three losses: cross-entropy, difference of logits ratio (DLR), and targeted DLR over several classes."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from typing_extensions import TypedDict, Unpack

from RobustART.core.ranges import Count, Default, Natural, Positive
from RobustART.errors import ConfigError
from RobustART.noise.attacks.auto_pgd import auto_pgd
from RobustART.noise.attacks.geometry import Norm
from RobustART.noise.attacks.inputs import GradientOptions, attack
from RobustART.noise.attacks.task import attack_task
from RobustART.noise.attacks.victim import Model


class _Iterations(TypedDict, total=False):
    norm: Annotated[Norm, Default("Linf")]
    """Norm of the ball."""
    steps: Annotated[Natural, Default(100)]
    """Iterations of each restart."""
    restarts: Annotated[Count, Default(1)]
    """Tries per image and target class, from random starts; later ones go to the images not yet fooled."""
    rho: Annotated[Positive, Default(0.75)]
    """Fraction of improving iterations below which the step is halved."""
    large_reps: bool | None
    """Whether to begin in balls of 3 and 2 eps; None for L1 only, as AutoAttack does."""


class ApgdOptions(_Iterations, GradientOptions, total=False):
    """Options of Auto-PGD."""


@attack
def apgd_ce(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, **options: Unpack[ApgdOptions]
) -> Tensor:
    """Auto-PGD on the cross-entropy (Croce and Hein 2020, https://arxiv.org/abs/2003.01690)."""
    return _attack("apgd_ce", model, images, labels, eps, "ce", options)


@attack
def apgd_dlr(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, **options: Unpack[ApgdOptions]
) -> Tensor:
    """Auto-PGD on the difference of logits ratio, which is invariant to the scale of the logits."""
    return _attack("apgd_dlr", model, images, labels, eps, "dlr", options)


@attack
def apgd_t(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, n_targets: Count = 9,
    **options: Unpack[ApgdOptions],
) -> Tensor:  # fmt: skip
    """Auto-PGD on the targeted difference of logits ratio, towards each of the likeliest wrong classes in turn.

    With ``targeted`` the given class is the only target, and the model's own prediction is the class to leave.

    Args:
        model: and all arguments not named here as in :class:`ApgdOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        n_targets: number of target classes, at most one less than the model has.
        options: of Auto-PGD.
    """
    return _attack("apgd_t", model, images, labels, eps, "targeted_dlr", options, n_targets)


def _attack(
    name: str, model: Model, images: Tensor, labels: Tensor, eps: float | Tensor, loss: str, options: ApgdOptions,
    n_targets: int = 1,
) -> Tensor:  # fmt: skip
    norm, large_reps, restarts = options["norm"], options["large_reps"], options["restarts"]
    if large_reps and norm != "L1":
        raise ConfigError(f"large_reps is for norm 'L1', got {norm!r}")
    with attack_task(name, model, images, labels, eps, norm, options) as task:
        index = task.unbroken()
        if len(index) and options["steps"]:
            targets = None
            if loss != "ce" and task.targeted:
                loss = "targeted_dlr"
            if loss == "targeted_dlr":
                targets = task.target_classes(index, n_targets).repeat_interleave(restarts, 1)
            auto_pgd(
                task, index, loss=loss, targets=targets, rounds=restarts if targets is None else targets.shape[1],
                steps=options["steps"], rho=options["rho"],
                large_reps=norm == "L1" if large_reps is None else large_reps,
            )  # fmt: skip
    return task.adversarial
