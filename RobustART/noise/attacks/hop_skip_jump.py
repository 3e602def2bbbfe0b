"""HopSkipJump: a walk along the decision boundary that asks for decisions alone (Chen, Jordan and Wainwright 2020).

https://arxiv.org/abs/1904.02144. Only the classes that the model predicts are used, so neither masked, quantised nor
missing gradients matter. An iteration estimates the normal of the boundary at the current point from the decisions around
it, jumps along it, and searches the boundary between the new point and the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import TypedDict, Unpack

from RobustART.core.ranges import Count, Default, Natural, Positive
from RobustART.core.seeding import fold, normal, uniform
from RobustART.noise.attacks.geometry import norms, spread, where
from RobustART.noise.attacks.inputs import AttackOptions, attack
from RobustART.noise.attacks.minimal_norm import Step, search
from RobustART.noise.attacks.task import FILL, Rows, Task
from RobustART.noise.attacks.victim import Model

_STARTS = 1000
"""Random images that are tried for a first success, as in foolbox."""
_FIRST_RADIUS = 0.1
"""Radius of the first estimate, as in the authors' code."""
_OVERSHOOT = 1.001
"""How far behind the boundary, in units of the distance, a result lies: on it, rounding in another batch would decide."""
_HALVINGS = 25
"""Halvings of a jump after which the point stays; a length of 2^-25 of the distance is below the rounding of float32."""


class _Iterations(TypedDict, total=False):
    iterations: Annotated[Natural, Default(64)]
    """Estimates of the normal, each with a jump."""
    init_evals: Annotated[Count, Default(100)]
    """Decisions of the first estimate; iteration t takes sqrt(t) times as many."""
    max_evals: Annotated[Count, Default(10000)]
    """Largest number of decisions of an estimate."""
    gamma: Annotated[Positive, Default(1.0)]
    """Radius of an estimate in units of distance / size of the image, and tolerance of the search for the boundary."""


class HopSkipJumpOptions(_Iterations, AttackOptions, total=False):
    """Options of HopSkipJump; the length of a jump is halved until it succeeds (geometric progression)."""


class _Walk:
    """The walk: its constants, the first point of fresh rows, and one iteration for all rows."""

    def __init__(self, task: Task, options: HopSkipJumpOptions) -> None:
        self.task, self.options, self.size = task, options, math.prod(task.images.shape[1:])
        self.slots = max(task.slots or len(task.images), FILL // self.size)
        tolerance = options["gamma"] / (self.size * (self.size if task.norm == "Linf" else math.sqrt(self.size)))
        self.tolerance = max(tolerance, torch.finfo(task.images.dtype).eps / 2)

    def begin(self, rows: Rows) -> Rows:
        """Returns the columns of fresh rows: a point on the boundary, where a random image succeeds."""
        origin, image = rows["origin"], rows["image"]
        x, left = origin.clone(), torch.arange(len(image), device=image.device)
        for number in range(_STARTS):
            if not len(left):
                break
            points = self._random_image(fold(self.task.seeds[image[left]], -1 - number), number)
            hit = self._fooled(points, image[left])
            x[left[hit]] = points[hit]
            left = left[~hit]
        lost = torch.zeros_like(image, dtype=torch.bool)
        lost[left] = True
        x = where(lost, origin, self._to_boundary(x, origin, image))
        best = self._beyond(x, origin, image)
        distance = torch.where(lost, torch.inf, norms(best - origin, self.task.norm))
        return {"x": x, "best": best, "distance": distance, "lost": lost}

    def step(self, rows: Rows) -> Tensor:
        """Makes one iteration in every row that has one left; returns the finished rows."""
        last = (rows["t"] >= self.options["iterations"]) | rows["lost"]
        go = (~last).nonzero()[:, 0]
        if not len(go):
            return last
        x, origin, image, t = (rows[key][go] for key in ("x", "origin", "image", "t"))
        distance = norms(x - origin, self.task.norm)
        slope = self._normal(x, image, distance, t + 1)
        x = self._to_boundary(self._jump(x, image, slope, distance / (t + 1).sqrt()), origin, image)
        best = self._beyond(x, origin, image)
        distance = norms(best - origin, self.task.norm)
        closer = distance < rows["distance"][go]
        rows["best"][go] = where(closer, best, rows["best"][go])
        rows["distance"][go] = torch.where(closer, distance, rows["distance"][go])
        rows["x"][go] = x
        rows["t"] = rows["t"] + 1
        return last | (rows["t"] >= self.options["iterations"])

    def _fooled(self, points: Tensor, image: Tensor) -> Tensor:
        """Returns the decisions about points of images, bool (M,)."""
        parts = zip(points.split(self.slots), image.split(self.slots), strict=True)
        asked = [self.task.fooled(self.task.victim.logits(some, index), index, some) for some, index in parts]
        return torch.cat(asked)

    def _random_image(self, keys: Tensor, number: int) -> Tensor:
        """Returns images of uniform noise, whose squares are 1, 2, 4, ... pixels wide, up to one colour, in turn.

        The paper has noise of single pixels, which many networks take for one and the same class.
        """
        shape = self.task.images.shape[1:]
        noise = uniform(keys, shape, dtype=self.task.images.dtype)
        side = 2 ** (number % (1 + math.ceil(math.log2(max(shape[1:])))))
        down, right = (torch.arange(length, device=keys.device) // side for length in shape[1:])
        return noise[:, :, down[:, None], right[None, :]]

    def _to_boundary(self, x: Tensor, origin: Tensor, image: Tensor) -> Tensor:
        """Returns the points nearest to the images, by bisection, that are successes between them and the successes x."""
        linf = self.task.norm == "Linf"
        high = norms(x - origin, "Linf").double() if linf else torch.ones(len(x), dtype=torch.float64, device=x.device)
        low, width = torch.zeros_like(high), high * self.tolerance
        best = x.clone()
        while True:
            left = (high - low > width).nonzero()[:, 0]
            if not len(left):
                return best
            middle = (high[left] + low[left]) / 2
            delta, part = x[left] - origin[left], spread(middle, x)
            points = (origin[left] + (delta.clamp(-part, part) if linf else delta * part)).clamp(0, 1)
            hit = self._fooled(points, image[left])
            high[left], low[left] = torch.where(hit, middle, high[left]), torch.where(hit, low[left], middle)
            best[left[hit]] = points[hit]

    def _beyond(self, x: Tensor, origin: Tensor, image: Tensor) -> Tensor:
        """Returns the points a little behind the boundary, or on it where those are no successes; new tensors."""
        points = (origin + _OVERSHOOT * (x - origin)).clamp(0, 1)
        return where(self._fooled(points, image), points, x)

    def _normal(self, x: Tensor, image: Tensor, distance: Tensor, t: Tensor) -> Tensor:
        """Returns the direction of a jump: the normal that decisions around the points show, or, in Linf, its signs."""
        evals = (self.options["init_evals"] * t.sqrt()).long().clamp(max=self.options["max_evals"])
        radius = torch.where(t == 1, _FIRST_RADIUS, self.options["gamma"] * distance / self.size)
        radius = spread(radius.clamp(min=1e-12), x)[:, None]
        keys = fold(self.task.seeds[image], t)
        total, signed = torch.zeros_like(x, dtype=torch.float64), torch.zeros_like(x, dtype=torch.float64)
        balance = torch.zeros_like(evals)
        most, width = int(evals.max()), max(1, self.slots // len(x))
        for first in range(0, most, width):
            number = torch.arange(first, min(first + width, most), device=x.device)
            points = (x[:, None] + radius * self._sphere(keys, number)).clamp(0, 1)
            moves = (points - x[:, None]) / radius
            asked = number < evals[:, None]
            hit = torch.zeros_like(asked)
            hit[asked] = self._fooled(points[asked], image[:, None].expand_as(asked)[asked])
            signs = (2 * hit.long() - 1) * asked
            balance += signs.sum(1)
            # One after the other, so that the sums do not depend on how many fit a batch.
            for move, sign, use in zip(moves.unbind(1), signs.unbind(1), asked.unbind(1), strict=True):
                total += move * spread(use, move)
                signed += move * spread(sign, move)
        mean = balance / evals
        # Subtracting the mean decision lowers the variance; where all decisions are the same, it would leave nothing.
        mean = torch.where(mean.abs() == 1, 0, mean)
        slope = signed - total * spread(mean, total)
        if self.task.norm == "Linf":
            return slope.sign().to(x.dtype)
        return (slope / spread(norms(slope, "L2").clamp(min=1e-300), slope)).to(x.dtype)

    def _sphere(self, keys: Tensor, number: Tensor) -> Tensor:
        """Returns directions of unit L2 length, (M, draws, C, H, W): normal draws, or, in Linf, uniform ones."""
        shape, dtype = self.task.images.shape[1:], self.task.images.dtype
        each = fold(keys.repeat_interleave(len(number)), number.repeat(len(keys)))
        linf = self.task.norm == "Linf"
        draws = 2 * uniform(each, shape, dtype=dtype) - 1 if linf else normal(each, shape, dtype=dtype)
        return (draws / spread(norms(draws, "L2"), draws)).unflatten(0, (len(keys), len(number)))

    def _jump(self, x: Tensor, image: Tensor, slope: Tensor, length: Tensor) -> Tensor:
        """Returns the points that jumps along the directions reach, each halved until it ends at a success."""
        found, left = x.clone(), torch.arange(len(x), device=x.device)
        for _ in range(_HALVINGS):
            points = (x[left] + slope[left] * spread(length[left], x)).clamp(0, 1)
            hit = self._fooled(points, image[left])
            found[left[hit]] = points[hit]
            left, length = left[~hit], length / 2
            if not len(left):
                break
        return found


def _hop_skip_jump(
    name: str, norm: str, model: Model, images: Tensor, labels: Tensor, eps: float | Tensor | None,
    options: HopSkipJumpOptions,
) -> Tensor:  # fmt: skip
    def prepare(task: Task) -> tuple[Callable[[Rows], Rows], Step]:
        walk = _Walk(task, options)
        return walk.begin, walk.step

    return search(name, model, images, labels, eps, options, prepare, norm=norm)


@attack
def hop_skip_jump_l2(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor | None = None,
    **options: Unpack[HopSkipJumpOptions],
) -> Tensor:  # fmt: skip
    """HopSkipJump (Chen 2020, https://arxiv.org/abs/1904.02144) in L2, which uses the predicted classes alone.

    With ``eps=None`` it returns the smallest perturbation that it finds.
    """
    return _hop_skip_jump("hop_skip_jump_l2", "L2", model, images, labels, eps, options)


@attack
def hop_skip_jump_linf(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor | None = None,
    **options: Unpack[HopSkipJumpOptions],
) -> Tensor:  # fmt: skip
    """The same in Linf, whose jumps follow the signs of the normal."""
    return _hop_skip_jump("hop_skip_jump_linf", "Linf", model, images, labels, eps, options)
