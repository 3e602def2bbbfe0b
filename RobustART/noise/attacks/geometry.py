"""Balls and boxes: norms, projections, random starts and steepest steps in Linf, L2 and L1.

Points are (N, C, H, W), radii and norms (N,). Every function works on each image independently of the batch; norms are
summed in float64, so that the order of summation has no effect either.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from RobustART.core.seeding import normal, uniform
from RobustART.errors import ConfigError, nearest

Norm = Literal["Linf", "L2", "L1"]
NORMS: tuple[Norm, ...] = get_args(Norm)
_TINY = 1e-12


def check_norm(norm: str) -> str:
    """Returns ``norm`` if it is known and raises ``ConfigError`` otherwise."""
    if norm not in NORMS:
        raise ConfigError(f"norm must be one of {', '.join(map(repr, NORMS))}, got {norm!r}{nearest(norm, NORMS)}")
    return norm


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Returns per-image values (N,) as (N, 1, 1, 1) in the type of ``like``."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def where(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Returns the images of ``first`` where ``mask`` (N,) is true, those of ``second`` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (first.ndim - 1)), first, second)


def norms(delta: Tensor, norm: str) -> Tensor:
    """Returns the norm of each image's ``delta``, (N,)."""
    flat = delta.flatten(1)
    if norm == "Linf":
        return flat.abs().amax(1)
    order = 2 if norm == "L2" else 1
    return torch.linalg.vector_norm(flat, order, dim=1, dtype=torch.float64).to(delta.dtype)


def room(images: Tensor, direction: Tensor) -> Tensor:
    """Returns how far each value of ``images`` can move in the direction's sign before it leaves [0, 1]."""
    return torch.where(direction > 0, 1 - images, images)


# Projections ----------------------------------------------------------------------------------------------------


def project(images: Tensor, points: Tensor, eps: Tensor, norm: str) -> Tensor:
    """Returns ``points`` brought into the ball of radius ``eps`` around ``images`` and into [0, 1].

    For Linf and L1 this is the nearest point of the intersection. For L2 it is the nearest point of the ball, then of
    the box, as in foolbox and AutoAttack: the result is feasible, since a clamp to [0, 1] never moves a value away from
    an image inside it, but when both bind it is not the nearest one.

    Args:
        images: centres in [0, 1].
        points: points to project.
        eps: radius of each image's ball, (N,).
        norm: ``"Linf"``, ``"L2"`` or ``"L1"``.
    """
    if norm == "Linf":
        low, high = bounds(images, eps)
        return torch.minimum(torch.maximum(points, low), high)
    delta = points - images
    if norm == "L2":
        length = norms(delta, "L2")
        scale = torch.where(length > eps, eps.to(length.dtype) / length.clamp(min=_TINY), torch.ones_like(length))
        return (images + delta * spread(scale, delta)).clamp(0, 1)
    return (images + shrink_l1(delta, room(images, delta), eps)).clamp(0, 1)


def bounds(images: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the least and the largest value of each pixel, in the Linf balls of radius ``eps`` (N,) and in [0, 1]."""
    radius = spread(eps, images)
    return (images - radius).clamp_(min=0), (images + radius).clamp_(max=1)


def shrink_l1(delta: Tensor, limit: Tensor, eps: Tensor) -> Tensor:
    """Returns the point nearest to ``delta`` with L1 norm of at most ``eps`` and values of at most ``limit``.

    The nearest point is ``sign(delta) * clamp(|delta| - threshold, 0, limit)`` for the threshold that meets the radius
    (Croce and Hein 2021, https://arxiv.org/abs/2103.01208, proposition 2.1). The norm is a decreasing, piecewise linear
    function of the threshold; Newton steps, kept inside a bracket, end on the exact piece, without sorting.

    Args:
        delta: any shape (N, ...).
        limit: largest absolute value of each element in the direction of its sign, >= 0, same shape.
        eps: radii, (N,).
    """
    size = delta.flatten(1).abs()
    cap = torch.minimum(limit.flatten(1), size)
    radius = eps.to(torch.float64)
    threshold = torch.zeros_like(radius)
    outside = cap.sum(1, dtype=torch.float64) > radius
    if bool(outside.any()):
        threshold[outside] = _l1_threshold(size[outside], cap[outside], radius[outside])
    kept = torch.minimum((size - threshold[:, None]).clamp_(min=0).to(size.dtype), cap)
    return kept.view_as(delta).copysign(delta)


def _l1_threshold(size: Tensor, cap: Tensor, radius: Tensor) -> Tensor:
    """Solves ``sum(clamp(size - t, 0, cap)) = radius`` for t in float64, each row by itself."""
    low, high = torch.zeros_like(radius), size.amax(1).to(torch.float64)
    knee = size - cap  # below it an element stays at its cap
    threshold = torch.zeros_like(radius)
    settled = torch.zeros_like(radius, dtype=torch.bool)
    close = 4 * torch.finfo(size.dtype).eps
    for turn in range(100):
        at = threshold[:, None].to(size.dtype)
        over = size - at
        excess = torch.minimum(over.clamp(min=0), cap).sum(1, dtype=torch.float64) - radius
        number = ((over > 0) & (knee <= at)).sum(1)
        # A finished row must not move again: how long the others take depends on the batch.
        low = torch.where(excess > 0, torch.maximum(low, threshold), low)
        high = torch.where(excess < 0, torch.minimum(high, threshold), high)
        newton = threshold + excess / number.clamp(min=1)
        # The function bends both ways, so Newton alone may creep: every fourth turn halves the bracket.
        inside = (number > 0) & (newton >= low) & (newton <= high) & (turn % 4 != 3)
        proposal = torch.where(inside, newton, (low + high) / 2)
        moved = torch.where(excess.abs() <= close * radius, threshold, proposal)
        moved = torch.where(settled, threshold, moved)
        settled = settled | ((moved - threshold).abs() <= close * high)
        threshold = moved
        if bool(settled.all()):
            break
    return threshold


# Random starts --------------------------------------------------------------------------------------------------


def random_start(images: Tensor, eps: Tensor, norm: str, seeds: Tensor) -> Tensor:
    """Returns a uniform draw from each image's ball, projected into [0, 1].

    Args:
        images: centres (N, C, H, W) in [0, 1].
        eps: radii, (N,).
        norm: of the ball.
        seeds: keys of the draws, (N,).
    """
    shape, count = images.shape[1:], images[0].numel() if len(images) else 0
    if norm == "Linf":
        noise = 2 * uniform(seeds, shape, dtype=images.dtype) - 1
        return project(images, images + spread(eps, images) * noise, eps, norm)
    # A uniform point of the L2 ball in n dimensions is one of the sphere in n + 2 without two coordinates (Voelker,
    # Gosmann and Stewart 2017); of the L1 ball, the signed gaps of n sorted uniforms, that is, normalised exponentials.
    if norm == "L2":
        gauss = normal(seeds, (count + 2,), dtype=images.dtype)
        noise = gauss[:, :count] / norms(gauss, "L2").clamp(min=_TINY)[:, None]
    else:
        draws = uniform(seeds, (2, count + 1), dtype=torch.float64)
        gaps = -torch.log1p(-draws[:, 0])
        signs = torch.where(draws[:, 1, :count] < 0.5, -1.0, 1.0)
        noise = (signs * gaps[:, :count] / gaps.sum(1, keepdim=True)).to(images.dtype)
    return project(images, images + spread(eps, images) * noise.view_as(images), eps, norm)


# Steepest steps -------------------------------------------------------------------------------------------------


def normalize_l2(gradient: Tensor) -> Tensor:
    """Returns each image's gradient divided by its L2 norm; a zero gradient stays zero."""
    return gradient / spread(norms(gradient, "L2").clamp(min=_TINY), gradient)


def sparse_sign(gradient: Tensor, points: Tensor, sparsity: float) -> Tensor:
    """Returns an L1 direction of unit norm: equal steps on the values with the steepest useful gradient.

    A value that cannot move in its gradient's sign without leaving [0, 1] is of no use and is left out (Tramer and
    Boneh 2019, https://arxiv.org/abs/1904.13000, section 3; the box as in Croce and Hein 2021).

    Args:
        gradient: (N, C, H, W).
        points: where the gradient was taken, in [0, 1].
        sparsity: fraction of all values that move, in (0, 1]; at least one does.
    """
    useful = torch.where(room(points, gradient) > 0, gradient, 0).flatten(1)
    count = max(1, round(sparsity * useful.shape[1]))
    steep, places = useful.abs().topk(count, dim=1, sorted=False)
    steps = useful.gather(1, places).sign() / (steep > 0).sum(1, keepdim=True).clamp(min=1)
    return torch.zeros_like(useful).scatter_(1, places, steps).view_as(gradient)


def steepest_l1(gradient: Tensor, points: Tensor, length: Tensor) -> Tensor:
    """Returns the moves of L1 norm ``length`` inside [0, 1] that climb the gradient most.

    The steepest values go to the edge of the box, one after the other, until the length is used up (Croce and Hein
    2021, https://arxiv.org/abs/2103.01208, section 2.3).

    Args:
        gradient: (N, C, H, W).
        points: where the gradient was taken, in [0, 1].
        length: of the moves, (N,).
    """
    free = torch.where(gradient == 0, 0, room(points, gradient)).flatten(1)
    useful = torch.where(free > 0, gradient.flatten(1).abs(), 0)
    count, total = 16, useful.shape[1]
    if length.numel():
        count += int(4 * float(length.max()))
    while True:
        count = min(count, total)
        places = useful.topk(count, dim=1).indices
        free_there = free.gather(1, places)
        before = free_there.cumsum(1) - free_there
        # Only as many values are sorted as the length can fill.
        if count == total or not len(free) or bool((before[:, -1] + free_there[:, -1] >= length).all()):
            break
        count *= 4
    moves = torch.minimum((length[:, None] - before).clamp(min=0), free_there)
    return torch.zeros_like(free).scatter_(1, places, moves).view_as(gradient).copysign(gradient)
