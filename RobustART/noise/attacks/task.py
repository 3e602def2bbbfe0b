"""The common frame of all attacks: arguments checked at the door, successes confirmed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from RobustART.core.seeding import image_seeds
from RobustART.errors import ConfigError
from RobustART.noise.attacks.geometry import norms, spread
from RobustART.noise.attacks.log import CLEAN, AttackLog
from RobustART.noise.attacks.victim import Model, Victim, guarded

RANGE_TOLERANCE = 1e-6
"""How far images may stand outside [0, 1], and successes outside the ball: the rounding of float32."""


@dataclass
class Task:
    """One call of an attack: its checked arguments, the model, and what has been found so far."""

    name: str
    victim: Victim
    images: Tensor
    labels: Tensor
    eps: Tensor
    """Radii, (N,); infinite where a minimal-norm attack has no bound."""
    seeds: Tensor
    norm: str
    targeted: bool
    stop: str | None
    slots: int | None
    adversarial: Tensor
    """What will be returned, (N, C, H, W)."""
    broken: Tensor
    """Confirmed successes, bool (N,)."""
    keep_score: bool
    """Whether verdicts are wanted: for ``stop="first"``, several restarts or a log."""
    clean_logits: Tensor | None = None
    """Logits of the images themselves, (N, K), where they were asked for."""
    flags: dict[str, str] = field(default_factory=dict)
    """What looked suspicious on the way, for the log."""

    def fooled(self, logits: Tensor, index: Tensor, points: Tensor | None = None) -> Tensor:
        """Returns where the logits (M, K) are a success for the images ``index``, (M,).

        Given the points (M, C, H, W) whose logits are proposals in lower precision, each success is asked about again.
        """
        hit = (logits.argmax(1) == self.labels[index]) ^ (not self.targeted)
        if points is not None and self.victim.amp and bool(hit.any()):
            rows = hit.nonzero()[:, 0]
            hit[rows] = self.fooled(self.logits(points[rows], index[rows]), index[rows])
        return hit

    def standing(self) -> Tensor:
        """Returns the positions of the images still to be attacked: not broken, and with a ball to search."""
        return (~self.broken & (self.eps > 0)).nonzero()[:, 0]

    def logits(self, points: Tensor, index: Tensor) -> Tensor:
        """Returns the logits of points in full precision, asked in batches of ``slots``."""
        chunk = max(1, self.slots or len(index))
        starts = range(0, max(1, len(index)), chunk)
        return torch.cat([self.victim.logits(points[i : i + chunk], index[i : i + chunk], exact=True) for i in starts])

    def target_classes(self, index: Tensor, count: int) -> Tensor:
        """Returns the likeliest wrong classes of the images ``index``, likeliest first, (M, T), T at most K - 1.

        For a targeted attack these are the given classes, (M, 1).
        """
        assert self.clean_logits is not None
        if self.targeted:
            return self.labels[index][:, None]
        logits = self.clean_logits[index].scatter(1, self.labels[index][:, None], -torch.inf)
        return logits.topk(min(count, logits.shape[1] - 1), dim=1).indices

    def claim(self, image: Tensor, points: Tensor, mask: Tensor) -> None:
        """Settles the rows of ``mask`` (M,), of which several may belong to one image: the first of them counts."""
        rows = mask.nonzero()[:, 0]
        first = torch.full_like(self.labels, len(image))
        first.scatter_reduce_(0, image[rows], rows, "amin")
        rows = first[(first < len(image)) & ~self.broken]
        self.settle(image[rows], points[rows])

    def settle(self, index: Tensor, points: Tensor) -> Tensor:
        """Takes ``points`` as the result for the images ``index`` and returns which of them are confirmed, bool (M,).

        A point outside its ball by rounding is drawn in. A point counts if it is finite, inside the ball and [0, 1],
        and wrong when the model is asked again about exactly this point, without autocast.
        """
        if not len(index):
            return torch.zeros(0, dtype=torch.bool, device=index.device)
        images, eps = self.images[index], self.eps[index]
        points = confine(images, points, eps, self.norm)
        self.adversarial[index] = points
        if not self.keep_score:
            return torch.zeros_like(index, dtype=torch.bool)
        wrong = self.fooled(self.logits(points, index), index)
        inside = norms(points.double() - images.double(), self.norm) <= eps.double() + RANGE_TOLERANCE
        confirmed = wrong & inside & points.flatten(1).isfinite().all(1)
        self.broken[index] |= confirmed
        return confirmed


def confine(images: Tensor, points: Tensor, eps: Tensor, norm: str) -> Tensor:
    """Returns points clamped to [0, 1] and, where rounding has left them too far outside the ball, drawn into it."""
    points = points.clamp(0, 1)
    length = norms(points.double() - images.double(), norm)
    over = length > eps.double() + RANGE_TOLERANCE / 2
    if not bool(over.any()):
        return points
    scale = torch.where(over, eps.double() / length.clamp(min=1e-300) * (1 - 5e-7), torch.ones_like(length))
    drawn = images + (points - images) * spread(scale, points)
    return torch.where(spread(over, points) > 0, drawn.clamp(0, 1), points)


@contextmanager
def attack_task(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor | None,
    norm: str,
    seeds: Tensor | None,
    targeted: bool = False,
    stop: str | None = None,
    batch_size: int | None = None,
    amp: str | None = None,
    log: AttackLog | None = None,
    keep_score: bool = False,
    skip_clean: bool = True,
    unbounded: bool = False,
) -> Iterator[Task]:
    """Checks the arguments that all attacks share, guards the model, and fills the log when the attack is done.

    Where verdicts are wanted (``keep_score``, a log, or ``stop="first"``), images that are wrong before the attack are
    taken as broken and get no further pass. An attack whose first pass is at the image itself finds that out by the way
    and passes ``skip_clean=False``. One that looks for the smallest change passes ``unbounded=True`` and then may have no
    ``eps``.
    """
    if stop not in (None, "first"):
        raise ConfigError(f"stop must be None or 'first', got {stop!r}")
    if amp not in (None, "bf16"):
        raise ConfigError(f"amp of an attack must be None or 'bf16', got {amp!r}; in fp16 gradients vanish")
    if batch_size is not None:
        check_count("batch_size", batch_size, 1)
    images = check_images(images)
    radii = check_eps(eps, images, unbounded=unbounded)
    labels = torch.as_tensor(labels)
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.is_complex():
        raise ConfigError(
            f"labels must be integers of shape ({len(images)},) for {len(images)} images, "
            f"got {tuple(labels.shape)} of {labels.dtype}"
        )
    if seeds is None:
        seeds = image_seeds(0, range(len(images)), name)
    if seeds.shape != images.shape[:1] or seeds.dtype != torch.int64:
        raise ConfigError(f"seeds must be int64 of shape ({len(images)},), got {tuple(seeds.shape)} of {seeds.dtype}")
    with torch.inference_mode(False):
        # A tensor made under inference_mode cannot take part in a gradient; a copy can.
        labels = labels.to(images.device, torch.int64).clone()
    with guarded(model, images.device):
        task = Task(
            name=name,
            victim=Victim(model, labels, amp),
            images=images,
            labels=labels,
            eps=radii,
            seeds=seeds.to(images.device),
            norm=norm,
            targeted=targeted,
            stop=stop,
            slots=batch_size,
            adversarial=images.clone(),
            broken=torch.zeros(len(images), dtype=torch.bool, device=images.device),
            keep_score=keep_score or stop is not None or log is not None,
        )
        clean = torch.zeros_like(task.broken)
        if skip_clean and task.keep_score and len(images):
            everything = torch.arange(len(images), device=images.device)
            task.clean_logits = task.logits(images, everything)
            clean = task.fooled(task.clean_logits, everything)
            task.broken |= clean
        yield task
    if log is not None:
        untouched = clean | (task.broken & (task.adversarial == task.images).flatten(1).all(1))
        names = [CLEAN if c else name if b else None for c, b in zip(untouched, task.broken, strict=True)]
        log.broken_by[:] = names
        log.forward[name] = task.victim.forward_passes.cpu()
        log.backward[name] = task.victim.backward_passes.cpu()
        log.flags.update(task.flags)


def check_images(images: Tensor) -> Tensor:
    """Returns a detached copy clamped to [0, 1]; what is no float32 or float64 (N, C, H, W) in [0, 1] is refused."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.dtype not in (torch.float32, torch.float64):
        what = f"{tuple(images.shape)} of {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise ConfigError(f"images must be a float32 or float64 tensor (N, C, H, W) in [0, 1], got {what}")
    with torch.inference_mode(False):
        if images.numel():
            low, high = float(images.min()), float(images.max())
            if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
                raise ConfigError(
                    f"images must be in [0, 1], got values from {low:.6g} to {high:.6g}; "
                    "normalisation belongs into the model"
                )
        return images.detach().clone().clamp_(0, 1)


def check_eps(eps: float | Tensor | None, images: Tensor, *, unbounded: bool = False) -> Tensor:
    """Returns radii (N,) in the type of ``images``; negative or non-finite ones are refused.

    None is infinite where an attack may be ``unbounded``, and refused elsewhere.
    """
    if eps is None:
        if not unbounded:
            raise ConfigError("eps must be a number or a tensor with one per image, got None")
        return torch.full((len(images),), torch.inf, dtype=images.dtype, device=images.device)
    try:
        radii = torch.as_tensor(eps, dtype=images.dtype, device=images.device).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"eps must be a number or a tensor with one per image, got {eps!r}") from None
    if radii.ndim == 0:
        radii = radii.expand(len(images)).clone()
    if radii.shape != images.shape[:1]:
        raise ConfigError(f"eps must be a number or a tensor ({len(images)},), got shape {tuple(radii.shape)}")
    bad = radii[~(radii.isfinite() & (radii >= 0))]
    if len(bad):
        raise ConfigError(f"eps must be at least 0 and finite, got {bad[0].item()}")
    return radii


def check_count(name: str, value: int, least: int = 0) -> int:
    """Returns ``value`` if it is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be an integer of at least {least}, got {value!r}")
    return value


def check_positive(name: str, value: float) -> float:
    """Returns ``value`` if it is a number above 0."""
    if not value > 0:
        raise ConfigError(f"{name} must be above 0, got {value!r}")
    return value
