"""Projections are feasible, idempotent and nearest; starts and steps have the size they claim."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from RobustART.core.seeding import image_seeds
from RobustART.noise.attacks.geometry import (
    norms,
    project,
    random_start,
    room,
    shrink_l1,
    sparse_sign,
    spread,
    steepest_l1,
)  # fmt: skip
from RobustART.noise.attacks.hyperplane import to_hyperplane

NORMS = ("Linf", "L2", "L1")


def draw(seed, count=6, size=12, scale=0.6):
    """Images on and inside the edges of the box, points far and near, radii from 0 up."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(count, 1, 3, size // 3, generator=generator, dtype=torch.float64) * 1.4 - 0.2).clamp(0, 1)
    points = images + scale * torch.randn(images.shape, generator=generator, dtype=torch.float64)
    eps = torch.rand(count, generator=generator, dtype=torch.float64) * 2
    eps[0] = 0
    return images, points, eps


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), norm=st.sampled_from(NORMS))
def test_projection_is_feasible_and_idempotent(seed, norm):
    images, points, eps = draw(seed)
    once = project(images, points, eps, norm)
    assert (norms(once - images, norm) <= eps + 1e-12).all()
    assert once.min() >= 0
    assert once.max() <= 1
    assert torch.allclose(project(images, once, eps, norm), once, atol=1e-12, rtol=0)


def sorted_l1(delta, limit, eps):
    """The exact threshold from all breakpoints in order: an independent solution for one image in numpy."""
    size, cap = np.abs(delta), np.minimum(limit, np.abs(delta))
    if cap.sum() <= eps:
        return np.sign(delta) * cap
    marks = np.unique(np.concatenate(([0.0], size, size - cap)))
    value = np.array([np.minimum(np.maximum(size - mark, 0), cap).sum() for mark in marks])
    right = int(np.argmax(value <= eps))
    left = right - 1
    share = (value[left] - eps) / (value[left] - value[right])
    threshold = marks[left] + share * (marks[right] - marks[left])
    return np.sign(delta) * np.minimum(np.maximum(size - threshold, 0), cap)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.01, 0.3, 3.0]), size=st.sampled_from([3, 12, 300]))
def test_l1_projection_equals_a_sort_based_one(seed, scale, size):
    images, points, eps = draw(seed, size=size, scale=scale)
    delta = points - images
    got = shrink_l1(delta, room(images, delta), eps)
    for i in range(len(images)):
        want = sorted_l1(delta[i].flatten().numpy(), room(images, delta)[i].flatten().numpy(), float(eps[i]))
        np.testing.assert_allclose(got[i].flatten().numpy(), want, atol=1e-9)


@pytest.mark.parametrize("norm", ["Linf", "L1"])
def test_projection_is_the_nearest_point_by_quadratic_programming(norm):
    images, points, eps = draw(3, count=4, size=6)
    got = project(images, points, eps, norm)
    for i in range(1, len(images)):
        x, z, radius = images[i].flatten().numpy(), points[i].flatten().numpy(), float(eps[i])
        n = len(x)
        # Split into positive and negative parts, the L1 ball is a polytope with 2n + 1 faces.
        bounds = [(0, min(1 - a, radius if norm == "Linf" else 2)) for a in x]
        bounds += [(0, min(a, radius if norm == "Linf" else 2)) for a in x]
        ball = [{"type": "ineq", "fun": lambda v, r=radius: r - v.sum()}] if norm == "L1" else []
        best = minimize(
            lambda v, x=x, z=z, n=n: ((x + v[:n] - v[n:] - z) ** 2).sum(), np.zeros(2 * n), bounds=bounds,
            constraints=ball, method="SLSQP", options={"maxiter": 1000, "ftol": 1e-14},
        )  # fmt: skip
        np.testing.assert_allclose(got[i].flatten().numpy(), x + best.x[:n] - best.x[n:], atol=2e-4)


def test_float32_projection_stays_close_to_float64():
    images, points, eps = draw(5, size=300)
    for norm in NORMS:
        exact = project(images, points, eps, norm)
        assert torch.allclose(project(images.float(), points.float(), eps.float(), norm).double(), exact, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_of_one_image_does_not_depend_on_the_others(norm):
    images, points, eps = (value.float() for value in draw(8, size=3000))
    together = project(images, points, eps, norm)
    alone = torch.cat([project(images[i : i + 1], points[i : i + 1], eps[i : i + 1], norm) for i in range(len(eps))])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_fill_the_ball(norm):
    images = torch.full((400, 1, 2, 2), 0.5)
    eps = torch.full((400,), 0.2)
    start = random_start(images, eps, norm, image_seeds(0, range(400), "x"))
    length = norms(start - images, norm) / 0.2
    assert length.max() <= 1 + 1e-6
    # In four dimensions, the radius of a uniform point has the mean 4 / 5.
    assert abs(length.mean() - 0.8) < 0.03
    assert (start - images).mean().abs() < 0.01


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_steepest_l1_step_beats_every_other_of_its_length(seed):
    images, gradient, length = draw(seed)
    move = steepest_l1(gradient, images, length)
    assert ((images + move) >= 0).all()
    assert ((images + move) <= 1).all()
    assert (norms(move, "L1") <= length + 1e-9).all()
    other = project(images, images + torch.randn(images.shape, dtype=torch.float64), length, "L1") - images
    gain = (gradient * move).flatten(1).sum(1)
    assert (gain >= (gradient * other).flatten(1).sum(1) - 1e-9).all()
    full = room(images, gradient).flatten(1).sum(1)
    assert torch.allclose(norms(move, "L1"), torch.minimum(length, full))


def test_sparse_sign_leaves_out_what_the_box_blocks():
    images = torch.tensor([[[[1.0, 0.5, 0.0, 0.5]]]])
    gradient = torch.tensor([[[[9.0, 2.0, -8.0, -1.0]]]])
    assert sparse_sign(gradient, images, 0.25).flatten().tolist() == [0, 1, 0, 0]
    assert sparse_sign(gradient, images, 1.0).flatten().tolist() == [0, 0.5, 0, -0.5]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), norm=st.sampled_from(NORMS))
def test_hyperplane_projection_reaches_the_plane_at_least_cost(seed, norm):
    images, weights, reach = draw(seed)
    points, weights = images.flatten(1), weights.flatten(1)
    weights[1, :3] = 0
    value = (reach - 1) * 0.8
    move = to_hyperplane(points, weights, value, norm)
    assert ((points + move) >= -1e-12).all()
    assert ((points + move) <= 1 + 1e-12).all()
    after = value + (weights * move).sum(1)
    gain = (weights.abs() * room(points, -value.sign()[:, None] * weights)).sum(1)
    reachable = gain > value.abs()
    assert after[reachable].abs().max() < 1e-9
    assert torch.allclose(after[~reachable].abs(), (value.abs() - gain)[~reachable], atol=1e-9)
    # Least cost: no other feasible move of a slightly smaller norm gains as much.
    dual = {"Linf": torch.inf, "L2": 2, "L1": 1}[norm]
    cost = torch.linalg.vector_norm(move, dual, dim=1)
    shape = images.shape
    for trial in range(3):
        generator = torch.Generator().manual_seed(seed + trial)
        start = points + move + 0.2 * torch.randn(points.shape, generator=generator, dtype=torch.float64)
        other = project(images, start.view(shape), 0.999 * cost, norm).flatten(1) - points
        gained = -value.sign() * (weights * other).sum(1)
        assert (gained < value.abs())[reachable].all()


def test_spread_and_norms():
    delta = torch.tensor([[[[3.0, -4.0]]], [[[0.0, 0.0]]]])
    assert norms(delta, "Linf").tolist() == [4, 0]
    assert norms(delta, "L2").tolist() == [5, 0]
    assert norms(delta, "L1").tolist() == [7, 0]
    assert spread(torch.tensor([1.0, 2.0]), delta).shape == (2, 1, 1, 1)
