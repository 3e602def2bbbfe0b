"""Auto-PGD on three losses: cross-entropy, difference of logits ratio (DLR), and targeted DLR over several classes."""

from __future__ import annotations

from torch import Tensor

from RobustART.errors import ConfigError
from RobustART.noise.attacks.auto_pgd import auto_pgd
from RobustART.noise.attacks.geometry import check_norm
from RobustART.noise.attacks.log import AttackLog
from RobustART.noise.attacks.task import attack_task, check_count, check_positive
from RobustART.noise.attacks.victim import Model


def apgd_ce(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    norm: str = "Linf",
    steps: int = 100,
    restarts: int = 1,
    rho: float = 0.75,
    eot_iter: int = 1,
    large_reps: bool | None = None,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
) -> Tensor:
    """Auto-PGD on the cross-entropy (Croce and Hein 2020, https://arxiv.org/abs/2003.01690).

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,), for the random starts.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        steps: iterations of each restart.
        restarts: tries per image; later ones go to the images that still stand.
        rho: share of improving iterations below which the step is halved.
        eot_iter: gradients averaged per iteration, for randomised models.
        large_reps: whether to begin in balls of 3 and 2 eps; None for L1 only, as AutoAttack does.
        targeted: whether to lead to ``labels`` instead of away from them.
        stop: None runs all iterations; ``"first"`` lets an image go as soon as it is fooled.
        batch_size: images in the batch at once, refilled as images leave; None for all.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
    """
    return _attack(
        "apgd_ce", model, images, labels, eps=eps, seeds=seeds, norm=norm, loss="ce", steps=steps,
        restarts=restarts, n_targets=1, rho=rho, eot_iter=eot_iter, large_reps=large_reps, targeted=targeted,
        stop=stop, batch_size=batch_size, amp=amp, log=log,
    )  # fmt: skip


def apgd_dlr(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    norm: str = "Linf",
    steps: int = 100,
    restarts: int = 1,
    rho: float = 0.75,
    eot_iter: int = 1,
    large_reps: bool | None = None,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
) -> Tensor:
    """Auto-PGD on the difference of logits ratio, which does not change with the scale of the logits.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,), for the random starts.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        steps: iterations of each restart.
        restarts: tries per image; later ones go to the images that still stand.
        rho: share of improving iterations below which the step is halved.
        eot_iter: gradients averaged per iteration, for randomised models.
        large_reps: whether to begin in balls of 3 and 2 eps; None for L1 only, as AutoAttack does.
        targeted: whether to lead to ``labels`` instead of away from them.
        stop: None runs all iterations; ``"first"`` lets an image go as soon as it is fooled.
        batch_size: images in the batch at once, refilled as images leave; None for all.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
    """
    return _attack(
        "apgd_dlr", model, images, labels, eps=eps, seeds=seeds, norm=norm, loss="dlr", steps=steps,
        restarts=restarts, n_targets=1, rho=rho, eot_iter=eot_iter, large_reps=large_reps, targeted=targeted,
        stop=stop, batch_size=batch_size, amp=amp, log=log,
    )  # fmt: skip


def apgd_t(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None = None,
    norm: str = "Linf",
    steps: int = 100,
    restarts: int = 1,
    n_targets: int = 9,
    rho: float = 0.75,
    eot_iter: int = 1,
    large_reps: bool | None = None,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
) -> Tensor:
    """Auto-PGD on the targeted difference of logits ratio, towards each of the likeliest wrong classes in turn.

    With ``targeted`` the given class is the only target, and the model's own prediction is the class to leave.

    Args:
        model: any callable, images (N, C, H, W) in [0, 1] to logits (N, K).
        images: float (N, C, H, W) in [0, 1]; not changed.
        labels: true classes (N,), or the wanted ones if ``targeted``.
        eps: radius in units of ``images``, a number or one per image (N,).
        seeds: int64 keys of the images (N,), for the random starts.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        steps: iterations of each restart.
        restarts: tries per image and target class; later ones go to the images that still stand.
        n_targets: number of target classes, at most one less than the model has.
        rho: share of improving iterations below which the step is halved.
        eot_iter: gradients averaged per iteration, for randomised models.
        large_reps: whether to begin in balls of 3 and 2 eps; None for L1 only, as AutoAttack does.
        targeted: whether to lead to ``labels`` instead of away from them.
        stop: None runs all iterations; ``"first"`` lets an image go as soon as it is fooled.
        batch_size: images in the batch at once, refilled as images leave; None for all.
        amp: ``"bf16"`` proposes in bfloat16 and confirms each success in float32, which is faster on some devices.
        log: filled with what happened to each image.
    """
    return _attack(
        "apgd_t", model, images, labels, eps=eps, seeds=seeds, norm=norm, loss="targeted_dlr", steps=steps,
        restarts=restarts, n_targets=n_targets, rho=rho, eot_iter=eot_iter, large_reps=large_reps, targeted=targeted,
        stop=stop, batch_size=batch_size, amp=amp, log=log,
    )  # fmt: skip


def _attack(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    seeds: Tensor | None,
    norm: str,
    loss: str,
    steps: int,
    restarts: int,
    n_targets: int,
    rho: float,
    eot_iter: int,
    large_reps: bool | None,
    targeted: bool,
    stop: str | None,
    batch_size: int | None,
    amp: str | None,
    log: AttackLog | None,
) -> Tensor:
    for option, value in (("restarts", restarts), ("eot_iter", eot_iter), ("n_targets", n_targets)):
        check_count(option, value, 1)
    check_count("steps", steps)
    check_positive("rho", rho)
    if large_reps is None:
        large_reps = check_norm(norm) == "L1"
    if large_reps and norm != "L1":
        raise ConfigError(f"large_reps is for norm 'L1', got {norm!r}")
    with attack_task(
        name, model, images, labels, eps=eps, norm=check_norm(norm), seeds=seeds, targeted=targeted, stop=stop,
        batch_size=batch_size, amp=amp, log=log, keep_score=True,
    ) as task:  # fmt: skip
        index = task.standing()
        if len(index) and steps:
            targets, rounds = None, restarts
            if targeted and loss != "ce":
                loss = "targeted_dlr"
            if loss == "targeted_dlr":
                targets = task.target_classes(index, n_targets).repeat_interleave(restarts, 1)
                rounds = targets.shape[1]
            auto_pgd(
                task, index, loss=loss, targets=targets, rounds=rounds, steps=steps, rho=rho, eot_iter=eot_iter,
                large_reps=large_reps,
            )  # fmt: skip
    return task.adversarial
