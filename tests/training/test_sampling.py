"""Every image is dealt out as its sampler says."""

import numpy as np
import pytest

from RobustART.errors import UserError
from RobustART.training.sampling import SAMPLERS, Plan, check_plan, shuffled


def drawn(name, plan, steps):
    return [np.concatenate([SAMPLERS[name](plan, step, rank) for rank in range(plan.world)]) for step in steps]


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_shape_range_and_seed(name):
    plan = Plan(37, batch_size=4, world=3, steps=20)
    ids = np.concatenate(drawn(name, plan, range(1, 21)))
    assert ids.dtype == np.int64
    assert len(ids) == 240
    assert set(ids) == set(range(37))
    again = np.concatenate(drawn(name, plan, range(1, 21)))
    other = np.concatenate(drawn(name, Plan(37, 4, 3, 20, seed=1), range(1, 21)))
    assert (ids == again).all()
    assert (ids != other).any()


@pytest.mark.parametrize("name", ["distributed_epoch"])
def test_each_epoch_sees_every_image_in_a_new_order(name):
    plan = Plan(37, batch_size=4, world=3, steps=20)
    assert plan.steps_per_epoch == 4
    first, second = (np.concatenate(drawn(name, plan, range(k, k + 4))) for k in (1, 5))
    for epoch in (first, second):
        assert sorted(epoch[:37]) == list(range(37))
    assert (first != second).any()


@pytest.mark.parametrize("name", ["distributed_epoch", "distributed_iteration"])
def test_two_processes_see_what_one_with_the_doubled_batch_sees(name):
    two, one = Plan(37, batch_size=4, world=2, steps=20), Plan(37, batch_size=8, steps=20)
    for a, b in zip(drawn(name, two, range(1, 21)), drawn(name, one, range(1, 21)), strict=True):
        assert (a == b).all()


def test_by_iteration_every_image_comes_equally_often():
    counts = np.bincount(np.concatenate(drawn("distributed_iteration", Plan(37, 4, 2, steps=20), range(1, 21))))
    assert counts.min() == 160 // 37
    assert counts.max() == 160 // 37 + 1


def test_ranked_processes_keep_to_their_part():
    plan = Plan(37, batch_size=4, world=2, steps=40)
    parts = [np.concatenate([SAMPLERS["ranked_iteration"](plan, s, r) for s in range(1, 41)]) for r in (0, 1)]
    assert set(parts[0]) == set(range(18))
    assert set(parts[1]) == set(range(18, 37))
    assert sorted(parts[0][:18]) == sorted(parts[0][18:36])
    assert (parts[0][:18] != parts[0][18:36]).any()


@pytest.mark.parametrize("total", [1, 2, 3, 17, 64, 1000, 65537])
def test_shuffled_is_a_permutation(total):
    places = shuffled(np.arange(total), total, key=7)
    assert sorted(places) == list(range(total))
    assert (shuffled(np.arange(total)[total // 2 :], total, key=7) == places[total // 2 :]).all()
    if total > 100:
        assert abs(np.corrcoef(places, np.arange(total))[0, 1]) < 4 / np.sqrt(total)


def test_what_cannot_be():
    with pytest.raises(UserError, match="unknown sampler 'distribted'; did you mean 'distributed_epoch'"):
        check_plan("distribted", Plan(3, 1))
    with pytest.raises(UserError, match="needs an image for each of the 4 processes"):
        check_plan("ranked_iteration", Plan(3, 1, world=4))
