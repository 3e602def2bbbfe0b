"""The loop of Auto-PGD: projected gradient ascent that adapts its step size.

Croce and Hein 2020, https://arxiv.org/abs/2003.01690 (Linf and L2), and Croce and Hein 2021,
https://arxiv.org/abs/2103.01208 (L1). Every quantity of the algorithm is kept per image, so each row of the packed
batch may be at its own iteration, restart and target class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from RobustART.core.seeding import fold, normal, uniform
from RobustART.noise.attacks.geometry import norms, project, spread, where
from RobustART.noise.attacks.losses import cross_entropy, dlr, targeted_dlr
from RobustART.noise.attacks.task import Rows, Task

_TINY = 1e-12
_MOMENTUM = 0.75
_L1_START_SPARSITY = 0.2
_L1_STEP_CUT = 1.5
_L1_LEAST_STEP = 10.0


@dataclass(frozen=True)
class Phase:
    """Iterations in one ball: L1 begins in a larger one, where progress is easier."""

    steps: int
    scale: float = 1.0
    """Radius in units of eps."""


def phases(steps: int, large_reps: bool) -> list[Phase]:
    """Returns the phases of a run: one, or 30 %, 30 % and the rest of the steps in balls of 3, 2 and 1 eps."""
    if not large_reps:
        return [Phase(steps)]
    first = math.ceil(0.3 * steps)
    return [phase for phase in (Phase(first, 3.0), Phase(first, 2.0), Phase(steps - 2 * first)) if phase.steps > 0]


def checkpoints(steps: int, total: int, norm: str) -> list[int]:
    """Returns for each iteration 0..steps the iterations since the last checkpoint if it is one, else 0.

    Args:
        steps: iterations of the phase.
        total: iterations of all phases, which determine the distances.
        norm: in L1 the distance is constant, otherwise it shrinks.
    """
    if norm == "L1":
        window, cut, least = max(int(0.04 * steps), 1), 0, 1
    else:
        window, cut, least = (max(int(share * total), 1) for share in (0.22, 0.03, 0.06))
    table, since = [0], 0
    for _ in range(steps):
        since += 1
        table.append(since if since == window else 0)
        if since == window:
            since, window = 0, max(window - cut, least)
    return table


def random_start(images: Tensor, eps: Tensor, norm: str, seeds: Tensor) -> Tensor:
    """Returns the starts of Auto-PGD: on the surface of the ball rather than inside it, then clamped to [0, 1]."""
    shape = images.shape[1:]
    if norm == "L1":
        return project(images, images + normal(seeds, shape, dtype=images.dtype), eps, norm)
    draw = normal(seeds, shape, dtype=images.dtype) if norm == "L2" else uniform(seeds, shape, dtype=images.dtype)
    noise = draw if norm == "L2" else 2 * draw - 1
    return (images + spread(eps / (norms(noise, norm) + _TINY), images) * noise).clamp(0, 1)


def auto_pgd(
    task: Task,
    index: Tensor,
    *,
    loss: str,
    targets: Tensor | None,
    rounds: int,
    steps: int,
    rho: float,
    large_reps: bool,
) -> None:
    """Runs Auto-PGD on the images ``index`` and stores the successes in ``task``.

    Args:
        task: the call this belongs to.
        index: positions of the images, (M,).
        loss: ``"ce"``, ``"dlr"`` or ``"targeted_dlr"``.
        targets: target class of each image and round, (M, rounds), for the targeted loss.
        rounds: restarts, or target classes times restarts; an image broken in one round takes no part in later ones.
        steps: iterations of a round.
        rho: fraction of improving steps below which the step size is halved.
        large_reps: whether to begin in larger balls.
    """
    run = _Run(task, index, loss, targets, phases(steps, large_reps), rho)
    task.run(index, run.begin, run.advance, rounds, together=targets is not None)


class _Run:
    """The loop of :func:`auto_pgd`: its constants, and one iteration for all rows."""

    def __init__(
        self, task: Task, index: Tensor, loss: str, targets: Tensor | None, plan: list[Phase], rho: float
    ) -> None:
        self.task, self.index, self.loss, self.targets = task, index, loss, targets
        self.rho = rho
        self.labels = task.labels
        if task.targeted and loss == "targeted_dlr":
            assert task.clean_logits is not None
            self.labels = task.clean_logits.argmax(1)  # the class to lead away from
        total = sum(phase.steps for phase in plan)
        tables = [checkpoints(phase.steps, total, task.norm) for phase in plan]
        width = max(map(len, tables))
        device = index.device
        self.windows = torch.tensor([table + [0] * (width - len(table)) for table in tables], device=device)
        self.steps = torch.tensor([phase.steps for phase in plan], device=device)
        self.scale = torch.tensor([phase.scale for phase in plan], dtype=task.images.dtype, device=device)
        self.plan = plan
        self.any_fresh = False

    def begin(self, items: Tensor) -> Rows:
        """Returns fresh rows; an item is ``round * M + position``."""
        task, place = self.task, items % len(self.index)
        image, turn = self.index[place], items // len(self.index)
        origin = task.images[image]
        phase = torch.zeros_like(items)
        radius = task.eps[image] * self.scale[0]
        x = random_start(origin, radius, task.norm, fold(task.seeds[image], turn))
        zero = torch.zeros_like(radius)
        rows = {
            "image": image, "label": self.labels[image], "origin": origin, "radius": radius, "phase": phase,
            "t": torch.zeros_like(items), "x": x, "before": x, "best": x, "gradient": torch.zeros_like(x),
            "loss_best": zero, "loss_before": zero, "loss_check": zero, "n_improved": zero, "step": zero,
            "reduced": torch.ones_like(items, dtype=torch.bool),
        }  # fmt: skip
        if self.targets is not None:
            rows["target"] = self.targets[place, turn]
        if task.norm == "L1":
            rows["sparsity"] = rows["support"] = zero
        if task.stop is None:
            rows["found"], rows["hit"] = x, torch.zeros_like(items, dtype=torch.bool)
        self.any_fresh = True
        return rows

    def advance(self, rows: Rows) -> Tensor:
        """Runs one iteration for each row; returns the rows that are finished."""
        task = self.task
        last = rows["t"] == self.steps[rows["phase"]]
        logits, losses, gradient = self._look(rows, bool(last.all()))
        fooled = task.fooled(logits, rows["image"], rows["x"])
        if len(self.plan) > 1:
            fooled &= rows["phase"] == len(self.plan) - 1  # larger balls do not count
        gradient = self._learn(rows, losses, gradient)
        finished = last & (rows["phase"] == len(self.plan) - 1)
        finished = finished | self._report(rows, fooled, finished)
        if bool(finished.all()):
            return finished
        if len(self.plan) > 1:
            self._next_phase(rows, last & ~finished)
        self._move(rows, gradient, last)
        return finished

    def _look(self, rows: Rows, verdict_only: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits, losses and gradients; if only verdicts and losses are needed, the old gradients."""

        def value(logits: Tensor) -> Tensor:
            if self.loss == "targeted_dlr":
                return targeted_dlr(logits, rows["label"], rows["target"])
            loss = dlr(logits, rows["label"]) if self.loss == "dlr" else cross_entropy(logits, rows["label"])
            return -loss if self.task.targeted else loss

        if verdict_only:
            logits = self.task.victim.logits(rows["x"], rows["image"])
            return logits, value(logits), rows["gradient"]
        return self.task.victim.gradient(rows["x"], rows["image"], value)

    def _learn(self, rows: Rows, losses: Tensor, gradient: Tensor) -> Tensor:
        """Updates each row's best point and, at its checkpoints, its step; returns the gradients to follow."""
        losses = losses.to(rows["loss_best"].dtype)
        if self.any_fresh:
            self.any_fresh = False
            self._start(rows, losses)
        fresh = rows["t"] == 0
        better = (losses > rows["loss_best"]) | fresh
        rows["best"] = where(better, rows["x"], rows["best"])
        rows["gradient"] = where(better, gradient, rows["gradient"])
        rows["loss_best"] = torch.where(better, losses, rows["loss_best"])
        rows["n_improved"] = rows["n_improved"] + ((losses > rows["loss_before"]) & ~fresh)
        # The first comparison is with zero, as in the authors' implementation.
        rows["loss_before"] = torch.where(fresh, torch.zeros_like(losses), losses)
        window = self.windows[rows["phase"], rows["t"]]
        check = window > 0
        if not bool(check.any()):
            return gradient
        back = self._check_l1(rows, check) if self.task.norm == "L1" else self._check(rows, check, window)
        rows["x"] = where(back, rows["best"], rows["x"])
        return where(back, rows["gradient"], gradient)

    def _start(self, rows: Rows, losses: Tensor) -> None:
        """Sets the initial values of a phase in the rows that have just begun one."""
        fresh = rows["t"] == 0
        rows["loss_check"] = torch.where(fresh, losses, rows["loss_check"])
        rows["n_improved"] = torch.where(fresh, 0, rows["n_improved"])
        rows["reduced"] = rows["reduced"] | fresh
        rows["step"] = torch.where(fresh, rows["radius"] * (1 if self.task.norm == "L1" else 2), rows["step"])
        if self.task.norm == "L1":
            count = rows["x"][0].numel()
            support = self._support(rows["x"], rows["origin"])
            sparsity = support / count / 1.5
            if len(self.plan) == 1:
                sparsity, support = torch.full_like(support, _L1_START_SPARSITY), torch.full_like(support, count)
            rows["sparsity"] = torch.where(fresh, sparsity, rows["sparsity"])
            rows["support"] = torch.where(fresh, support, rows["support"])

    def _check(self, rows: Rows, check: Tensor, window: Tensor) -> Tensor:
        """Halves the steps of rows that oscillate or stagnate; returns those, which return to their best point."""
        stuck = ~rows["reduced"] & (rows["loss_check"] >= rows["loss_best"])
        reduce = (rows["n_improved"] <= window * self.rho) | stuck
        rows["reduced"] = torch.where(check, reduce, rows["reduced"])
        rows["loss_check"] = torch.where(check, rows["loss_best"], rows["loss_check"])
        rows["n_improved"] = torch.where(check, 0, rows["n_improved"])
        reduce = reduce & check
        rows["step"] = torch.where(reduce, rows["step"] / 2, rows["step"])
        return reduce

    def _check_l1(self, rows: Rows, check: Tensor) -> Tensor:
        """Adapts sparsity and step to the support of the best point; returns the rows that return to it."""
        support = self._support(rows["best"], rows["origin"])
        sparser = support / rows["support"] < 0.95
        step = torch.where(sparser, rows["radius"], rows["step"] / _L1_STEP_CUT)
        step = torch.minimum(torch.maximum(step, rows["radius"] / _L1_LEAST_STEP), rows["radius"])
        rows["step"] = torch.where(check, step, rows["step"])
        rows["sparsity"] = torch.where(check, support / rows["x"][0].numel() / 1.5, rows["sparsity"])
        rows["support"] = torch.where(check, support, rows["support"])
        return sparser & check

    @staticmethod
    def _support(points: Tensor, origin: Tensor) -> Tensor:
        return (points != origin).flatten(1).sum(1).to(points.dtype)

    def _report(self, rows: Rows, fooled: Tensor, finished: Tensor) -> Tensor:
        """Passes successes to the task; returns the rows of broken images."""
        task, image = self.task, rows["image"]
        if task.stop is None:
            rows["found"] = where(fooled, rows["x"], rows["found"])
            rows["hit"] = rows["hit"] | fooled
            claim, points = finished & rows["hit"], rows["found"]
        else:
            claim, points = fooled, rows["x"]
        if not bool(claim.any()):
            return torch.zeros_like(finished)
        task.claim(image, points, claim)
        return task.broken[image]

    def _next_phase(self, rows: Rows, ending: Tensor) -> None:
        """Moves rows at the end of a phase to their best point, projected into the next ball."""
        if not bool(ending.any()):
            return
        rows["phase"] = rows["phase"] + ending
        radius = self.task.eps[rows["image"]] * self.scale[rows["phase"]]
        rows["radius"] = torch.where(ending, radius, rows["radius"])
        inner = project(rows["origin"], rows["best"], rows["radius"], self.task.norm)
        rows["x"] = where(ending, inner, rows["x"])
        rows["t"] = torch.where(ending, -1, rows["t"])  # _move adds one
        self.any_fresh = True

    def _move(self, rows: Rows, gradient: Tensor, last: Tensor) -> None:
        """Takes a step from each row's point, except in rows at the end of a phase."""
        x, origin, radius, norm = rows["x"], rows["origin"], rows["radius"], self.task.norm
        step = spread(rows["step"], x)
        if norm == "L1":
            new = project(origin, x + step * self._sparse(rows, gradient), radius, norm)
        else:
            unit = gradient.sign() if norm == "Linf" else gradient / spread(norms(gradient, norm) + _TINY, gradient)
            new = project(origin, x + step * unit, radius, norm)
            alpha = spread(torch.where(rows["t"] == 0, 1.0, _MOMENTUM), x)
            new = project(origin, x + (new - x) * alpha + (x - rows["before"]) * (1 - alpha), radius, norm)
        rows["before"] = x
        rows["x"] = where(last, x, new)
        rows["t"] = rows["t"] + 1

    @staticmethod
    def _sparse(rows: Rows, gradient: Tensor) -> Tensor:
        """Returns steps of unit L1 norm on each row's steepest values, the fraction ``sparsity`` of them."""
        flat = gradient.flatten(1)
        steep, count = flat.abs(), flat.shape[1]
        kept = count - ((1 - rows["sparsity"]) * count).clamp(0, count - 1).long()
        # The smallest value that is kept; a full sort would give the same but take longer.
        floor = steep.topk(int(kept.max()), dim=1).values.gather(1, kept[:, None] - 1)
        signs = torch.where(steep >= floor, flat.sign(), 0)
        return (signs / (signs.abs().sum(1, keepdim=True) + 1e-10)).view_as(gradient)
