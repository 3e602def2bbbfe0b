"""Learning rates at points that can be computed by hand."""

import math

import pytest

from RobustART.errors import UserError
from RobustART.training.schedules import schedule_of

BASELINE = {"base_lr": 0.1, "warmup_lr": 0.4, "min_lr": 0.0, "warmup_epoch": 2, "max_epoch": 100}


def test_the_baseline_recipe_at_its_anchors():
    """2,503 steps an epoch: ImageNet in batches of 512."""
    schedule, base, total = schedule_of("CosineEpoch", BASELINE, 2503)
    assert (base, total) == (0.1, 250300)
    assert schedule(1) == 0.1
    assert schedule(5005) == pytest.approx(0.1 + 0.3 * 5004 / 5005)
    assert schedule(5006) == 0.4
    assert schedule((5006 + 250300) // 2) == pytest.approx(0.2, abs=1e-6)
    assert schedule(250300) == 0.0


def test_step():
    kwargs = {"base_lr": 0.1, "warmup_lr": 0.4, "warmup_steps": 2500, "max_iter": 125000}
    kwargs |= {"lr_steps": [37500, 75000, 112500], "lr_mults": [0.1, 0.1, 0.1]}
    schedule, _, total = schedule_of("Step", kwargs, 1252)
    assert total == 125000
    assert schedule(2500) == schedule(37499) == 0.4
    assert schedule(37500) == pytest.approx(0.04)
    assert schedule(125000) == pytest.approx(0.0004)


def test_step_in_epochs():
    kwargs = {"base_lr": 1, "max_epoch": 3, "lr_epochs": [1, 2.5], "lr_mults": [0.5, 0.1]}
    schedule, _, total = schedule_of("StepEpoch", kwargs, 10)
    assert [schedule(it) for it in (1, 9, 10, 24, 25)] == pytest.approx([1, 1, 0.5, 0.5, 0.05])
    assert total == 30


@pytest.mark.parametrize(("type", "size"), [("StepDecay", 20), ("StepDecayEpoch", 2)])
def test_step_decay(type, size):
    length = {"max_iter": 100} if type == "StepDecay" else {"max_epoch": 10}
    schedule, _, _ = schedule_of(type, {"base_lr": 1.0, "step_size": size, "decay": 0.5, **length}, 10)
    assert [schedule(it) for it in (1, 19, 20, 40)] == [1, 1, 0.5, 0.25]


@pytest.mark.parametrize("type", ["Poly", "PolyEpoch"])
def test_poly_reaches_zero(type):
    length = {"max_iter": 110, "warmup_steps": 10} if type == "Poly" else {"max_epoch": 11, "warmup_epoch": 1}
    schedule, _, _ = schedule_of(type, {"base_lr": 0.1, "warmup_lr": 1.0, "power": 2, **length}, 10)
    assert schedule(10) == 1.0
    assert schedule(60) == 0.25
    assert schedule(110) == 0.0


def test_epoch_cosine_changes_once_an_epoch():
    schedule, _, _ = schedule_of("eCosineEpoch", {"base_lr": 1.0, "max_epoch": 4, "min_lr": 0.2}, 10)
    assert len({schedule(it) for it in range(10, 20)}) == 1
    assert schedule(10) == 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2
    assert schedule(40) == pytest.approx(0.2)
    in_steps, _, _ = schedule_of("eCosine", {"base_lr": 1.0, "max_iter": 40, "min_lr": 0.2}, 10)
    assert [in_steps(it) for it in range(1, 41)] == [schedule(it) for it in range(1, 41)]


@pytest.mark.parametrize(
    ("type", "kwargs", "message"),
    [
        ("CosineEpoch", {"base_lr": 0}, "base_lr must be above 0, got 0"),
        ("CosineEpoch", {"base_lr": -0.1}, "base_lr must be above 0, got -0.1"),
        ("CosineEpoch", {"base_lr": math.nan}, "base_lr must be above 0"),
        ("CosineEpoch", {"warmup_epoch": 0}, "there is no warm-up"),
        ("CosineEpoch", {"warmup_epoch": 100}, "must be shorter than the training of 1000"),
        ("CosineEpoch", {"warmup_epoch": -1}, "warmup_epoch must be at least 0"),
        ("CosineEpoch", {"min_lr": 0.5}, "min_lr must be at least 0 and at most 0.4"),
        ("CosineEpoch", {"max_epoch": 0}, "max_epoch must be above 0"),
        ("CosineEpoch", {"max_iter": 3}, "max_iter does not belong to 'CosineEpoch'; say max_epoch"),
        ("CosineEpoch", {"warmup_steps": 3}, "warmup_steps does not belong to 'CosineEpoch'; say warmup_epoch"),
        ("CosineEpoch", {"power": 3}, "unknown option 'power'"),
        ("Cosine", {}, "warmup_epoch does not belong to 'Cosine'; say warmup_steps"),
        ("Cosin", {}, "unknown learning rate schedule 'Cosin'; did you mean 'Cosine'"),
        ("PolyEpoch", {"min_lr": None}, "unknown option 'min_lr'"),
    ],
)
def test_what_cannot_be_a_learning_rate(type, kwargs, message):
    with pytest.raises(UserError, match=message):
        schedule_of(type, {**BASELINE, **kwargs}, 10)


@pytest.mark.parametrize(
    ("type", "kwargs", "message"),
    [
        ("Cosine", {"max_iter": 10, "warmup_steps": 1}, "must be 0 or at least 2, got 1"),
        ("Cosine", {"max_iter": 10, "max_epoch": 1}, "both max_iter and max_epoch"),
        ("Cosine", {}, "max_iter is missing"),
        ("Cosine", {"max_iter": 1.5}, "max_iter must be a whole number"),
        ("Step", {"max_iter": 9, "lr_steps": [3], "lr_mults": [1, 2]}, "lr_mults must be a list of 1 numbers"),
        ("Step", {"max_iter": 9, "lr_steps": [3, 2], "lr_mults": [1, 2]}, "milestones must rise and end by step 9"),
        ("Step", {"max_iter": 9, "lr_steps": [3], "lr_mults": [0]}, "lr_mults must be above 0"),
        ("Step", {"max_iter": 9}, "needs the option 'lr_steps'"),
        ("StepDecay", {"max_iter": 9, "step_size": 0, "decay": 0.5}, "step_size must be a whole number of at least 1"),
        ("StepDecay", {"max_iter": 9, "step_size": 1, "decay": 2}, "decay must be above 0 and at most 1"),
        ("Poly", {"max_iter": 9, "power": 0}, "power must be above 0"),
    ],
)
def test_what_cannot_be_a_schedule(type, kwargs, message):
    with pytest.raises(UserError, match=message):
        schedule_of(type, {"base_lr": 0.1, **kwargs}, 10)
