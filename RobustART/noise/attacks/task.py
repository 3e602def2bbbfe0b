"""The frame of all attacks: the state of one call, rows that fill its batch, and successes confirmed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from RobustART.noise.attacks.geometry import norms, spread
from RobustART.noise.attacks.inputs import RANGE_TOLERANCE, AttackOptions
from RobustART.noise.attacks.log import CLEAN
from RobustART.noise.attacks.victim import Model, Victim, guarded

Rows = dict[str, Tensor]
"""The state of the images in the batch: columns by name, each with one entry per row. A row is one image, or one image with
one target class or restart."""
FILL = 1 << 16
"""Values in a batch below which a device is not fully used: batches of small images get more rows."""


@dataclass
class Task:
    """One call of an attack: its arguments, the model, and what has been found so far."""

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
    """Largest number of rows in the batch; None for the number of images."""
    keep_score: bool
    """Whether verdicts are needed: for ``stop="first"``, several tries or a log."""
    adversarial: Tensor
    """The result, (N, C, H, W)."""
    broken: Tensor
    """Confirmed successes, bool (N,)."""
    clean_logits: Tensor | None = None
    """Logits of the images themselves, (N, K), if the model was asked for them."""

    def fooled(self, logits: Tensor, index: Tensor, points: Tensor | None = None) -> Tensor:
        """Returns where the logits (M, K) are a success for the images ``index``, (M,).

        Given the points (M, C, H, W) whose logits are proposals (:attr:`Victim.proposes`), the model is asked again about
        each success.
        """
        hit = (logits.argmax(1) == self.labels[index]) ^ (not self.targeted)
        if points is not None and self.victim.proposes and bool(hit.any()):
            rows = hit.nonzero()[:, 0]
            hit[rows] = self.fooled(self.logits(points[rows], index[rows]), index[rows])
        return hit

    def unbroken(self) -> Tensor:
        """Returns the positions of the images still to be attacked: not broken, and with a ball to search."""
        return (~self.broken & (self.eps > 0)).nonzero()[:, 0]

    def logits(self, points: Tensor, index: Tensor) -> Tensor:
        """Returns the logits of points in full precision, in batches of ``slots``."""
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

    def run(
        self, index: Tensor, begin: Callable[[Tensor], Rows], advance: Callable[[Rows], Tensor], rounds: int = 1,
        *, together: bool = False,
    ) -> None:  # fmt: skip
        """Advances one row per image and round until all are finished, in a batch that stays full.

        Finished rows leave, and waiting ones take their places; an image broken in one round takes no part in later ones.
        As each row has its own counter and its own random key, its course does not depend on the rows beside it.

        Args:
            index: positions of the images, (M,).
            begin: items ``round * M + position`` to fresh rows.
            advance: one step for all rows, which it changes; returns a mask of the finished ones. It stores the results of
                finished rows itself.
            rounds: restarts, target classes, or both.
            together: whether the batch of small images is filled with rounds of the same images, see :data:`FILL`. Most
                images that withstand the first target class withstand all; of restarts, many would be in vain.
        """
        items = torch.arange(len(index) * rounds, device=index.device)
        slots, count, rows = self.slots or len(self.images), 0, Rows()
        if together:
            slots = max(slots, FILL // self.images[0].numel())
        while len(items) or count:
            if count < slots and len(items):
                items = items[~self.broken[index[items % len(index)]]]
            if count < slots and len(items):
                fresh = begin(items[: slots - count])
                items = items[slots - count :]
                rows = {name: torch.cat((rows[name], value)) for name, value in fresh.items()} if count else fresh
                count = len(next(iter(rows.values())))
            if count:
                finished = advance(rows)
                if bool(finished.any()):
                    rows = {name: value[~finished] for name, value in rows.items()}
                    count = len(next(iter(rows.values())))

    def claim(self, image: Tensor, points: Tensor, mask: Tensor) -> None:
        """Settles the rows of ``mask`` (M,), of which several may belong to one image: the first of them counts."""
        rows = mask.nonzero()[:, 0]
        first = torch.full_like(self.labels, len(image))
        first.scatter_reduce_(0, image[rows], rows, "amin")
        rows = first[(first < len(image)) & ~self.broken]
        self.settle(image[rows], points[rows])

    def settle(self, index: Tensor, points: Tensor) -> None:
        """Takes ``points`` as the result for the images ``index`` and records which of them are successes.

        A point outside its ball by rounding is moved into it. A point is a success if it is finite, inside the ball and
        [0, 1], and misclassified when the model is asked again about exactly this point, without autocast.
        """
        if not len(index):
            return
        images, eps = self.images[index], self.eps[index]
        points = confine(images, points, eps, self.norm)
        self.adversarial[index] = points
        if self.keep_score:
            wrong = self.fooled(self.logits(points, index), index)
            inside = norms(points.double() - images.double(), self.norm) <= eps.double() + RANGE_TOLERANCE
            self.broken[index] |= wrong & inside & points.flatten(1).isfinite().all(1)


def confine(images: Tensor, points: Tensor, eps: Tensor, norm: str) -> Tensor:
    """Returns points clamped to [0, 1] and, where rounding has left them too far outside the ball, moved into it."""
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
    eps: float | Tensor | None,
    norm: str,
    common: AttackOptions,
    *,
    keep_score: bool = True,
    skip_clean: bool = True,
) -> Iterator[Task]:
    """Guards the model, runs the attack in the ``with`` block, and fills the log when it is done.

    If verdicts are needed (``keep_score``, a log of verdicts, or ``stop="first"``), images misclassified before the
    attack count as broken and get no further pass. An attack whose first pass is at the image itself finds that out without
    an extra pass and sets ``skip_clean=False``.

    Args:
        name: of the attack, for the log.
        model: any callable.
        images: and the other inputs as :func:`RobustART.noise.attacks.inputs.attack` gives them.
        labels: (N,).
        eps: (N,).
        norm: of the ball.
        common: all options of every attack.
        keep_score: whether verdicts are needed in any case.
        skip_clean: whether to ask the model about the images first.
    """
    log, stop, seeds = common["log"], common["stop"], common["seeds"]
    given: Mapping[str, Any] = common
    gradients = {key: given[key] for key in ("samples", "backward") if key in given}
    assert isinstance(eps, Tensor)
    assert seeds is not None
    with guarded(model, images.device, seeds):
        task = Task(
            name=name, victim=Victim(model, labels, common["amp"], **gradients), images=images, labels=labels, eps=eps,
            seeds=seeds, norm=norm, targeted=common["targeted"], stop=stop, slots=common["batch_size"],
            keep_score=keep_score or stop is not None or (log is not None and log.verdicts),
            adversarial=images.clone(), broken=torch.zeros(len(images), dtype=torch.bool, device=images.device),
        )  # fmt: skip
        clean = torch.zeros_like(task.broken)
        if skip_clean and task.keep_score and len(images):
            everything = torch.arange(len(images), device=images.device)
            task.clean_logits = task.logits(images, everything)
            clean = task.fooled(task.clean_logits, everything)
            task.broken |= clean
        yield task
    if log is not None:
        untouched = clean | (task.broken & (task.adversarial == task.images).flatten(1).all(1))
        log.broken_by[:] = [CLEAN if c else name if b else None for c, b in zip(untouched, task.broken, strict=True)]
        log.forward[name] = task.victim.forward_passes.cpu()
        log.backward[name] = task.victim.watch.backward.cpu()
        log.signs.update(task.victim.watch.signs())
