"""The nearest point of a hyperplane inside the box, in Linf, L2 and L1, for many points at once.

To change ``w . x`` by a given amount at the least cost, every coordinate moves in the useful direction: by the same
length in Linf, in proportion to its weight in L2, the heaviest ones first in L1, and none further than the box allows
(Croce and Hein 2020, https://arxiv.org/abs/1907.02044, section 2.2 and appendix A).
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_hyperplane(points: Tensor, weights: Tensor, value: Tensor, norm: str) -> Tensor:
    """Returns the shortest moves (M, D) after which ``w . x`` has changed by ``-value``, or as far as the box allows.

    Args:
        points: in [0, 1], (M, D).
        weights: normals w of the hyperplanes, (M, D).
        value: signed distance of each point above its hyperplane, unscaled, ``w . x - b``, (M,).
        norm: in which the move is shortest.
    """
    largest = weights.abs().amax(1, keepdim=True)
    # Only the direction of w matters; scaled like this, tiny gradients do not vanish in the squares.
    rate = weights.abs() / torch.where(largest > 0, largest, torch.ones_like(largest))
    wanted = value.abs() / torch.where(largest > 0, largest, torch.ones_like(largest))[:, 0]
    up = (weights > 0) == (value[:, None] < 0)
    limit = torch.where(up, 1 - points, points)
    limit = torch.where(rate > 0, limit, 0)
    moves = _heaviest_first(rate, limit, wanted) if norm == "L1" else _together(rate, limit, wanted, norm)
    return torch.where(up, moves, -moves)


def _together(rate: Tensor, limit: Tensor, wanted: Tensor, norm: str) -> Tensor:
    """Returns ``min(t, limit)`` in Linf or ``min(t * rate, limit)`` in L2, with t such that the moves gain ``wanted``.

    The gain is concave in t, so Newton steps from 0 never overshoot and end on the exact linear piece.
    """
    power = rate if norm == "Linf" else rate * rate
    slope = (power * (limit > 0)).sum(1)
    # The first step, from t = 0.
    t = torch.where(slope > 0, wanted / slope.clamp(min=1e-30), torch.inf)
    settled = wanted <= 0
    t = torch.where(settled, 0, t)
    close = 4 * torch.finfo(rate.dtype).eps
    for _ in range(200):
        ahead = t[:, None] if norm == "Linf" else rate * t[:, None]
        missing = wanted - (rate * torch.minimum(ahead, limit)).sum(1)
        # A finished row must not move again: how long the others take depends on the batch.
        settled = settled | (missing <= close * wanted)
        if bool(settled.all()):
            break
        slope = (power * (ahead < limit)).sum(1)
        step = torch.where(slope > 0, missing / slope.clamp(min=1e-30), torch.inf)
        t = torch.where(settled, t, t + step)
        settled = settled | (step <= close * t)
    moves = torch.minimum(t[:, None] if norm == "Linf" else rate * t[:, None], limit)
    return torch.where(t.isinf()[:, None], limit, moves)


def _heaviest_first(rate: Tensor, limit: Tensor, wanted: Tensor) -> Tensor:
    """Returns moves that fill the limits in order of falling rate until ``wanted`` is gained; the last one in part."""
    rates, order = rate.sort(1, descending=True)
    room = limit.gather(1, order)
    gains = rates * room
    before = gains.cumsum(1) - gains
    part = ((wanted[:, None] - before) / rates.clamp(min=1e-30)).clamp(min=0)
    return torch.zeros_like(limit).scatter_(1, order, torch.minimum(part, room))
