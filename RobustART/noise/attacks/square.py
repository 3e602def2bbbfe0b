"""Square Attack: random search over squares, without gradients.

Andriushchenko, Croce, Flammarion and Hein 2020, https://arxiv.org/abs/1912.00049 (Linf, L2); Croce and Hein 2021,
https://arxiv.org/abs/2103.01208 (L1). All draws of an image are made before it starts. As most proposals are rejected,
the next few proposals of an image can be in the batch together: the first one that is accepted counts and those
behind it are thrown away, which is what happens when they are tried one after the other, in fewer and fuller batches.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import Unpack

from RobustART.core.ranges import Count, Natural, Range
from RobustART.core.seeding import fold, random_bits
from RobustART.noise.attacks.geometry import Norm, bounds, norms, room, shrink_l1, spread, where
from RobustART.noise.attacks.inputs import AttackOptions, attack
from RobustART.noise.attacks.losses import margin
from RobustART.noise.attacks.task import FILL, Rows, Task, attack_task
from RobustART.noise.attacks.victim import Model

_TINY = 1e-12
_BITS = 20  # random bits of a position; the shares of places differ by less than 2**-12 for sides below 256


def schedule(queries: int, p_init: float, rescale: bool) -> list[float]:
    """Returns the fraction of the image that the square of each query covers, halved at fixed numbers of queries."""
    bounds = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    shares = []
    for query in range(queries):
        at = int(query / queries * 10000) if rescale else query
        shares.append(p_init / 2 ** sum(at > bound for bound in bounds))
    return shares


def side(share: float, height: int, width: int, norm: str) -> int:
    """Returns the side of a square that covers a fraction of the image; in L2 and L1 it is odd and at least 3."""
    length = round(math.sqrt(share * height * width))
    if norm == "Linf":
        length = max(length, 1)
    else:
        length = max(length, 3)
        length += 1 - length % 2
    return min(length, height, width)


def bump(size: int, norm: str) -> Tensor:
    """Returns the pattern (size, size) of L2 and L1 squares: two opposite halves, each a pyramid, of unit norm."""
    power = 2 if norm == "L2" else 4
    pattern = torch.zeros(size, size, dtype=torch.float64)
    upper = size // 2
    if upper:
        pattern[:upper] = _pyramid(upper, size, power)
    pattern[upper:] = -_pyramid(size - upper, size, power)
    return pattern / torch.linalg.vector_norm(pattern, 2 if norm == "L2" else 1)


def _pyramid(height: int, width: int, power: int) -> Tensor:
    """Returns a sum of concentric rectangles of increasing width and decreasing height, of unit norm."""
    pattern = torch.zeros(height, width, dtype=torch.float64)
    top, left = height // 2, width // 2
    for ring in range(max(top, left) + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        pattern[rows, columns] += 1.0 / (ring + 1) ** power
    return pattern / torch.linalg.vector_norm(pattern, 2 if power == 2 else 1)


class _Search:
    """The random search of :func:`square`: the draws, one step for all rows, and the proposals of each norm."""

    def __init__(self, task: Task, index: Tensor, queries: int, restarts: int, p_init: float, rescale: bool) -> None:
        self.task, self.index, self.queries = task, index, queries
        self.shape = task.images.shape[1:]
        channels, height, width = self.shape
        device, dtype = index.device, task.images.dtype
        sides = [side(share, height, width, task.norm) for share in schedule(queries, p_init, rescale)]
        self.sides = torch.tensor(sides, dtype=torch.int16, device=device)
        self.windows = 1 if task.norm == "Linf" else 2
        self.slots = task.slots or len(task.images)
        self.ys = torch.arange(height, dtype=torch.int16, device=device)
        self.xs = torch.arange(width, dtype=torch.int16, device=device)
        self.channels = torch.arange(channels, device=device)
        # A running estimate of how often a proposal is accepted; it decides about the speed alone.
        self.acceptance = 0.5
        if task.norm != "Linf":
            kinds = sorted(set(sides))
            self.kind = torch.tensor([kinds.index(length) for length in sides], device=device)
            self.patterns = torch.zeros(len(kinds), 2, height, width, dtype=dtype, device=device)
            for i, length in enumerate(kinds):
                pattern = bump(length, task.norm).to(self.patterns)
                self.patterns[i, 0, :length, :length] = pattern
                self.patterns[i, 1, :length, :length] = pattern.T
        total = len(index) * restarts
        self.places = torch.empty(total, queries, 2 * self.windows, dtype=torch.int16, device=device)
        self.signs = torch.empty(total, queries, -(-(channels + 1) // 32), dtype=torch.int32, device=device)

    def begin(self, items: Tensor) -> Rows:
        """Returns rows at their first point, whose gap is known; an item is ``round * M + position``."""
        task = self.task
        image = self.index[items % len(self.index)]
        keys = fold(task.seeds[image], items // len(self.index))
        self._draw(items, keys)
        origin, eps = task.images[image], task.eps[image]
        best = self._start(origin, eps, keys)
        rows = {"item": items, "image": image, "best": best, "t": torch.zeros_like(items)}
        if task.norm == "Linf":
            rows["low"], rows["high"] = bounds(origin, eps)
        else:
            rows |= {"origin": origin, "eps": eps}
        rows["gap"] = self._gap(best, image)
        return rows

    def _draw(self, items: Tensor, keys: Tensor) -> None:
        """Makes all draws of fresh rows: places from 20 bits each, signs from one bit each."""
        # Every place is as likely as any other. The authors' implementation never chooses the last one, so that small
        # squares never touch the last row and column.
        spans = torch.tensor(self.shape[1:], device=keys.device)[None, :] - self.sides.long()[:, None] + 1
        for window in range(self.windows):
            bits = random_bits(keys, (self.queries,), stream=1 + window)
            for axis in (0, 1):
                part = bits >> (_BITS * axis) & ((1 << _BITS) - 1)
                self.places[items, :, 2 * window + axis] = (part * spans[:, axis] >> _BITS).to(torch.int16)
        self.signs[items] = random_bits(keys, self.signs.shape[1:], stream=3).to(torch.int32)

    def _start(self, origin: Tensor, eps: Tensor, keys: Tensor) -> Tensor:
        """Returns the first points: vertical stripes in Linf, a grid of five by five patterns in L2 and L1."""
        channels, height, width = self.shape
        if self.task.norm == "Linf":
            signs = (random_bits(keys, (channels, 1, width)) & 1) * 2 - 1
            return (origin + spread(eps, origin) * signs.to(origin.dtype)).clamp(0, 1)
        length = max(min(height, width) // 5, 1)
        pattern = bump(length, self.task.norm).to(origin)
        both = torch.stack((pattern, pattern.T))
        delta = torch.zeros_like(origin)
        tops = range((height - 5 * length) // 2 if height >= 5 else 0, height - length + 1, length)
        lefts = range((height - 5 * length) // 2 if height >= 5 else 0, width - length + 1, length)
        bits = random_bits(keys, (len(tops) * len(lefts), channels + 1)) & 1
        for i, (top, left) in enumerate((top, left) for top in tops for left in lefts):
            signs = (bits[:, i, :channels] * 2 - 1).to(origin.dtype)
            tile = both[bits[:, i, -1]][:, None] * signs[..., None, None]
            delta[:, :, top : top + length, left : left + length] = tile
        return self._finish(origin, delta, eps)

    def _finish(self, origin: Tensor, delta: Tensor, eps: Tensor) -> Tensor:
        """Returns the points of perturbations brought to the sphere (L2) or into the ball (L1), and into [0, 1]."""
        if self.task.norm == "L2":
            return (origin + delta * spread(eps / (norms(delta, "L2") + _TINY), delta)).clamp(0, 1)
        return origin + shrink_l1(delta, room(origin, delta), eps * (1 - 1e-6))

    def _gap(self, points: Tensor, image: Tensor) -> Tensor:
        """Returns the margin of the correct class, (M,); a point is adversarial at 0 or below."""
        task, sign = self.task, 1 if self.task.targeted else -1
        gap = sign * margin(task.victim.logits(points, image), task.labels[image])
        if task.victim.proposes and bool((gap <= 0).any()):
            # Proposals; what counts is the exact answer.
            rows = (gap <= 0).nonzero()[:, 0]
            gap[rows] = sign * margin(task.logits(points[rows], image[rows]), task.labels[image[rows]])
        return gap

    def advance(self, rows: Rows) -> Tensor:
        """Tries the next proposals of every row and keeps the first that lowers the gap; returns the finished rows."""
        task, count = self.task, len(rows["item"])
        capacity = max(self.slots, FILL // math.prod(self.shape))
        width = int(max(1, min(capacity // count, 0.7 / self.acceptance)))
        finished = (rows["gap"] <= 0) | (rows["t"] >= self.queries)
        if not bool(finished.all()):
            query = rows["t"][:, None] + torch.arange(width, device=rows["t"].device)
            inside = query < self.queries
            query = query.clamp(max=self.queries - 1)
            proposals = self._propose(rows, query)
            flat = proposals.flatten(0, 1)
            gap = self._gap(flat, rows["image"].repeat_interleave(width)).view(count, width)
            accepted = (gap < rows["gap"][:, None]) & inside & ~finished[:, None]
            hit, place = accepted.max(1)  # the first of equal values
            chosen = place + torch.arange(count, device=place.device) * width
            rows["best"] = where(hit, flat[chosen], rows["best"])
            rows["gap"] = torch.where(hit, gap.flatten()[chosen], rows["gap"])
            rows["t"] = torch.where(hit, rows["t"] + place + 1, rows["t"] + width)
            tried = float(torch.where(hit, place + 1, width).sum())
            self.acceptance = max(0.9 * self.acceptance + 0.1 * float(hit.sum()) / tried, 1e-3)
            finished = (rows["gap"] <= 0) | (rows["t"] >= self.queries)
        fooled = rows["gap"] <= 0
        if bool(fooled.any()):
            task.claim(rows["image"], rows["best"], fooled)
            finished = finished | task.broken[rows["image"]]
        return finished

    def _propose(self, rows: Rows, query: Tensor) -> Tensor:
        """Returns the proposals (M, Q, C, H, W) of each row for its queries (M, Q)."""
        item = rows["item"][:, None]
        places, length = self.places[item, query], self.sides[query]
        signs = self._signs(self.signs[item, query])
        first = self._window(places[..., 0], places[..., 1], length)
        if self.task.norm == "Linf":
            # From anywhere in the ball, a change by twice eps ends on its surface.
            surface = torch.where(signs[..., None, None], rows["high"][:, None], rows["low"][:, None])
            return torch.where(first, surface, rows["best"][:, None])
        second = self._window(places[..., 2], places[..., 3], length)
        turned = self.signs[item, query, -1] < 0
        return self._propose_bump(rows, query, places, first, second, signs, turned.long())

    def _propose_bump(
        self, rows: Rows, query: Tensor, places: Tensor, first: Tensor, second: Tensor, signs: Tensor, turned: Tensor
    ) -> Tensor:
        """Returns proposals of L2 and L1: the second window's perturbation moves into the first, shaped by a pattern."""
        order = 2 if self.task.norm == "L2" else 1
        channels = self.shape[0]
        origin, eps = rows["origin"], rows["eps"][:, None, None, None, None]
        delta = (rows["best"] - origin)[:, None]

        def length(values: Tensor) -> Tensor:
            return torch.linalg.vector_norm(values, order, dim=(-2, -1), keepdim=True)

        zero = torch.zeros((), dtype=delta.dtype, device=delta.device)
        old = torch.where(first, delta, zero)
        budget = length(torch.where(first | second, delta, zero))
        total = norms(delta[:, 0], self.task.norm)[:, None, None, None, None]
        pattern = self._pattern(query, places, first, turned)
        new = pattern * (2 * signs[..., None, None].to(delta.dtype) - 1) + old / (length(old) + _TINY)
        if order == 2:
            size = ((eps**2 - total**2).clamp(min=0) / channels + budget**2).sqrt()
        else:
            size = ((eps - total).clamp(min=0) / channels + budget) * channels
        new = new / (length(new) + _TINY) * size
        changed = torch.where(first, new, torch.where(second, zero, delta))
        width = query.shape[1]
        points = self._finish(
            origin.repeat_interleave(width, 0), changed.flatten(0, 1), rows["eps"].repeat_interleave(width)
        )
        return points.view_as(changed)

    def _window(self, top: Tensor, left: Tensor, length: Tensor) -> Tensor:
        """Returns masks (M, Q, 1, H, W) of squares."""
        down, right = self.ys - top[..., None], self.xs - left[..., None]
        length = length[..., None]
        rows, columns = (down >= 0) & (down < length), (right >= 0) & (right < length)
        return rows[:, :, None, :, None] & columns[:, :, None, None, :]

    def _signs(self, words: Tensor) -> Tensor:
        """Returns a random bit for each channel, bool (M, Q, C), from words of 32 bits, without the last bit."""
        return (words[..., self.channels // 32] >> (self.channels % 32)) & 1 != 0

    def _pattern(self, query: Tensor, places: Tensor, window: Tensor, turned: Tensor) -> Tensor:
        """Returns the patterns of the queries at their places, (M, Q, 1, H, W), zero outside the windows."""
        _, height, width = self.shape
        down = (self.ys - places[..., 0, None]).long().clamp_(0, height - 1)
        right = (self.xs - places[..., 1, None]).long().clamp_(0, width - 1)
        kind = self.kind[query]
        values = self.patterns[kind[..., None, None], turned[..., None, None], down[..., :, None], right[..., None, :]]
        return values[:, :, None] * window


@attack
def square(
    model: Model, images: Tensor, labels: Tensor, *, eps: float | Tensor, norm: Norm = "Linf", steps: Natural = 5000,
    restarts: Count = 1, p_init: Annotated[float, Range(0, 1, above=True)] = 0.8, rescale_schedule: bool = False,
    **common: Unpack[AttackOptions],
) -> Tensor:  # fmt: skip
    """Square Attack (Andriushchenko 2020, https://arxiv.org/abs/1912.00049) on the margin of the logits.

    It needs no gradient and always finishes an image when it is fooled, whatever ``stop`` is. If the batch has room,
    further proposals of the same images fill it.

    Args:
        model: and all arguments not named here as in :class:`AttackOptions`.
        images: (N, C, H, W).
        labels: (N,).
        eps: radius.
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
        steps: queries of each restart after the first point.
        restarts: tries per image; later ones go to the images not yet fooled.
        p_init: fraction of the image that the first squares cover.
        rescale_schedule: whether the sizes of the squares follow the fraction of the queries instead of their number.
        common: options of every attack.
    """
    with attack_task("square", model, images, labels, eps, norm, common) as task:
        index = task.unbroken()
        if len(index):
            search = _Search(task, index, steps, restarts, p_init, rescale_schedule)
            task.run(index, search.begin, search.advance, restarts)
    return task.adversarial
