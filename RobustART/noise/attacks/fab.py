"""Fast adaptive boundary attack: a walk along the decision boundary towards the image.

Croce and Hein 2020, https://arxiv.org/abs/1907.02044. The model is linearised at the current point; the next one lies
between the projections of this point and of the image onto the boundary, a little beyond it. The attack searches the
smallest perturbation; one inside the ball is a success.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import TypedDict, Unpack

from RobustART.core.ranges import Count, Default, Natural, Range, Share
from RobustART.core.seeding import fold, normal, uniform
from RobustART.noise.attacks.geometry import Norm, norms, spread, where
from RobustART.noise.attacks.hyperplane import to_hyperplane
from RobustART.noise.attacks.inputs import GradientOptions, attack
from RobustART.noise.attacks.task import Rows, Task, attack_task
from RobustART.noise.attacks.victim import Model

_DUAL = {"Linf": "L1", "L2": "L2", "L1": "Linf"}


class _Walk:
    """The loop of FAB: its constants, and one iteration for all rows."""

    def __init__(self, task: Task, index: Tensor, targets: Tensor | None, options: FabOptions) -> None:
        self.task, self.index, self.targets = task, index, targets
        self.restarts, self.steps = options["restarts"], options["steps"]
        self.alpha_max, self.eta, self.beta = options["alpha_max"], options["eta"], options["beta"]
        assert task.clean_logits is not None
        self.source = task.clean_logits.argmax(1) if task.targeted else task.labels

    def begin(self, items: Tensor) -> Rows:
        """Returns fresh rows, the first try of a target at the image itself, later ones at a random point."""
        task, place, turn = self.task, items % len(self.index), items // len(self.index)
        image = self.index[place]
        origin = task.images[image]
        x = origin
        again = turn % self.restarts > 0
        if self.restarts > 1 and bool(again.any()):
            x = where(again, self._random_start(origin, image, turn), x)
        rows = {
            "image": image, "origin": origin, "x": x, "best": origin, "source": self.source[image],
            "distance": torch.full_like(task.eps[image], torch.inf), "t": torch.zeros_like(items),
        }  # fmt: skip
        if self.targets is not None:
            rows["target"] = self.targets[place, turn // self.restarts]
        return rows

    def _random_start(self, origin: Tensor, image: Tensor, turn: Tensor) -> Tensor:
        """Returns points at half the radius in a random direction."""
        norm, keys, shape = self.task.norm, fold(self.task.seeds[image], turn), origin.shape[1:]
        if norm == "Linf":
            noise = 2 * uniform(keys, shape, dtype=origin.dtype) - 1
        else:
            noise = normal(keys, shape, dtype=origin.dtype)
        return (origin + spread(self.task.eps[image] / 2 / norms(noise, norm), origin) * noise).clamp(0, 1)

    def advance(self, rows: Rows) -> Tensor:
        """Takes one step in every row; returns the finished ones."""
        task, origin, x = self.task, rows["origin"], rows["x"]
        value, slope = self._boundary(rows)
        weights, here, home = slope.flatten(1), x.flatten(1), origin.flatten(1)
        above = value + (weights * (home - here)).sum(1)
        moves = to_hyperplane(torch.cat((here, home)), weights.repeat(2, 1), torch.cat((value, above)), task.norm).view(
            2, *x.shape
        )
        lengths = torch.stack([norms(move, task.norm) for move in moves]).clamp(min=1e-8)
        alpha = spread((lengths[0] / lengths.sum(0)).clamp(0, self.alpha_max), x)
        x = ((x + self.eta * moves[0]) * (1 - alpha) + (origin + self.eta * moves[1]) * alpha).clamp(0, 1)
        fooled = task.fooled(task.victim.logits(x, rows["image"]), rows["image"], x)
        rows["t"] = rows["t"] + 1
        finished = rows["t"] >= self.steps
        if bool(fooled.any()):
            distance = norms(x - origin, task.norm)
            closer = fooled & (distance < rows["distance"])
            rows["best"] = where(closer, x, rows["best"])
            rows["distance"] = torch.where(closer, distance, rows["distance"])
            x = where(fooled, origin + self.beta * (x - origin), x)
        rows["x"] = x
        claim = rows["distance"] <= task.eps[rows["image"]]
        if task.stop is None:
            claim = claim & finished
        if bool(claim.any()):
            task.claim(rows["image"], rows["best"], claim)
            finished = finished | task.broken[rows["image"]]
        return finished

    def _boundary(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Returns value and gradient of the logit difference whose zero is the boundary to walk on.

        It is that of the target class, or of the class whose linearised boundary is nearest.
        """
        source = rows["source"][:, None]
        if self.targets is not None:
            target = rows["target"][:, None]

            def difference(logits: Tensor) -> Tensor:
                return logits.gather(1, target)[:, 0] - logits.gather(1, source)[:, 0]

            _, value, gradient = self.task.victim.gradient(rows["x"], rows["image"], difference)
            return value.to(gradient.dtype), gradient
        nearest = torch.full_like(rows["distance"], torch.inf)
        value, gradient = torch.zeros_like(nearest), torch.zeros_like(rows["x"])
        classes = self.task.victim.classes
        assert classes is not None
        others = torch.arange(classes - 1, device=source.device) + torch.zeros_like(source)
        others = others + (others >= source)  # all classes but the source
        for one, slope in self.task.victim.class_gradients(rows["x"], rows["image"], rows["source"], others):
            one = one.to(nearest.dtype)
            reach = one.abs() / (norms(slope, _DUAL[self.task.norm]) + 1e-12)
            closer = reach < nearest
            nearest = torch.where(closer, reach, nearest)
            value, gradient = torch.where(closer, one, value), where(closer, slope, gradient)
        return value, gradient


class _Iterations(TypedDict, total=False):
    norm: Annotated[Norm, Default("Linf")]
    """Norm of the ball."""
    steps: Annotated[Natural, Default(100)]
    """Iterations of each restart."""
    restarts: Annotated[Count, Default(1)]
    """Tries per image and target class; later ones start at random points."""
    alpha_max: Annotated[Share, Default(0.1)]
    """Largest weight of the image's own projection."""
    eta: Annotated[float, Range(1), Default(1.05)]
    """How far to step over the boundary."""
    beta: Annotated[Share, Default(0.9)]
    """How far to keep from the image after a success, in units of the distance."""


class FabOptions(_Iterations, GradientOptions, total=False):
    """Options of the fast adaptive boundary attack; with ``stop=None`` it returns the nearest point it finds."""


@attack
def fab(model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, **options: Unpack[FabOptions]) -> Tensor:
    """Fast adaptive boundary attack (Croce and Hein 2020, https://arxiv.org/abs/1907.02044) on the nearest class.

    Every iteration takes one backward pass per class; with many classes :func:`fab_t` is the one to use.
    """
    return _fab("fab", model, images, labels, eps, options, None)


@attack
def fab_t(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, n_targets: Count = 9,
    **options: Unpack[FabOptions],
) -> Tensor:  # fmt: skip
    """Fast adaptive boundary attack towards each of the likeliest wrong classes in turn.

    Args:
        model: and all arguments not named here as in :class:`FabOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        n_targets: number of target classes, at most one less than the model has.
        options: of the attack.
    """
    return _fab("fab_t", model, images, labels, eps, options, n_targets)


def _fab(
    name: str, model: Model, images: Tensor, labels: Tensor, eps: float | Tensor, options: FabOptions,
    n_targets: int | None,
) -> Tensor:  # fmt: skip
    with attack_task(name, model, images, labels, eps, options["norm"], options) as task:
        index = task.unbroken()
        if len(index) and options["steps"]:
            targets = None if n_targets is None and not task.targeted else task.target_classes(index, n_targets or 1)
            walk = _Walk(task, index, targets, options)
            rounds = options["restarts"] * (1 if targets is None else targets.shape[1])
            task.run(index, walk.begin, walk.advance, rounds, together=targets is not None)
    return task.adversarial
