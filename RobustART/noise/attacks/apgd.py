"""Auto-PGD on three losses: cross-entropy, difference of logits ratio (DLR), and targeted DLR over several classes."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from RobustART.errors import ConfigError
from RobustART.noise.attacks.auto_pgd import auto_pgd
from RobustART.noise.attacks.geometry import check_norm
from RobustART.noise.attacks.options import AttackOptions, attack, check_count, check_positive
from RobustART.noise.attacks.task import attack_task
from RobustART.noise.attacks.victim import Model


@attack
def apgd_ce(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, norm: str = "Linf", steps: int = 100,
    restarts: int = 1, rho: float = 0.75, eot_iter: int = 1, large_reps: bool | None = None,
    **common: Unpack[AttackOptions],
) -> Tensor:  # fmt: skip
    """Auto-PGD on the cross-entropy (Croce and Hein 2020, https://arxiv.org/abs/2003.01690).

    Args:
        model: and all arguments not named here as in :class:`AttackOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        steps: iterations of each restart.
        restarts: tries per image, from random starts; later ones go to the images not yet fooled.
        rho: fraction of improving iterations below which the step is halved.
        eot_iter: gradients averaged per iteration, for randomised models.
        large_reps: whether to begin in balls of 3 and 2 eps; None for L1 only, as AutoAttack does.
        common: options of every attack.
    """
    return _attack(
        "apgd_ce", model, images, labels, eps, norm, common, loss="ce", steps=steps, restarts=restarts, n_targets=1,
        rho=rho, eot_iter=eot_iter, large_reps=large_reps,
    )  # fmt: skip


@attack
def apgd_dlr(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, norm: str = "Linf", steps: int = 100,
    restarts: int = 1, rho: float = 0.75, eot_iter: int = 1, large_reps: bool | None = None,
    **common: Unpack[AttackOptions],
) -> Tensor:  # fmt: skip
    """Auto-PGD on the difference of logits ratio, which is invariant to the scale of the logits.

    The arguments are those of :func:`apgd_ce`.
    """
    return _attack(
        "apgd_dlr", model, images, labels, eps, norm, common, loss="dlr", steps=steps, restarts=restarts, n_targets=1,
        rho=rho, eot_iter=eot_iter, large_reps=large_reps,
    )  # fmt: skip


@attack
def apgd_t(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, norm: str = "Linf", steps: int = 100,
    restarts: int = 1, n_targets: int = 9, rho: float = 0.75, eot_iter: int = 1, large_reps: bool | None = None,
    **common: Unpack[AttackOptions],
) -> Tensor:  # fmt: skip
    """Auto-PGD on the targeted difference of logits ratio, towards each of the likeliest wrong classes in turn.

    With ``targeted`` the given class is the only target, and the model's own prediction is the class to leave. The
    arguments are those of :func:`apgd_ce`, with ``restarts`` for each target class and ``n_targets``, the number of
    target classes, at most one less than the model has.
    """
    return _attack(
        "apgd_t", model, images, labels, eps, norm, common, loss="targeted_dlr", steps=steps, restarts=restarts,
        n_targets=n_targets, rho=rho, eot_iter=eot_iter, large_reps=large_reps,
    )  # fmt: skip


def _attack(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    eps: float | Tensor,
    norm: str,
    common: AttackOptions,
    *,
    loss: str,
    steps: int,
    restarts: int,
    n_targets: int,
    rho: float,
    eot_iter: int,
    large_reps: bool | None,
) -> Tensor:
    for option, value in (("restarts", restarts), ("eot_iter", eot_iter), ("n_targets", n_targets)):
        check_count(option, value, 1)
    check_count("steps", steps)
    check_positive("rho", rho)
    if large_reps is None:
        large_reps = check_norm(norm) == "L1"
    if large_reps and norm != "L1":
        raise ConfigError(f"large_reps is for norm 'L1', got {norm!r}")
    with attack_task(name, model, images, labels, eps, check_norm(norm), common) as task:
        index = task.unbroken()
        if len(index) and steps:
            targets = None
            if task.targeted and loss != "ce":
                loss = "targeted_dlr"
            if loss == "targeted_dlr":
                targets = task.target_classes(index, n_targets).repeat_interleave(restarts, 1)
            auto_pgd(
                task, index, loss=loss, targets=targets, rounds=restarts if targets is None else targets.shape[1],
                steps=steps, rho=rho, eot_iter=eot_iter, large_reps=large_reps,
            )  # fmt: skip
    return task.adversarial
