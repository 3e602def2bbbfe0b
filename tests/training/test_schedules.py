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
        ("CosineEpoch", {"base_lr": 0}, "base_lr must be a number above 0 and at most .*, got 0"),
        ("CosineEpoch", {"base_lr": -0.1}, "base_lr must be a number above 0 and at most .*, got -0.1"),
        ("CosineEpoch", {"base_lr": math.nan}, "base_lr must be a number above 0"),
        ("CosineEpoch", {"warmup_epoch": 0}, "there is no warm-up"),
        ("CosineEpoch", {"warmup_epoch": 100}, "must be shorter than the training of 1000"),
        ("CosineEpoch", {"warmup_epoch": -1}, "warmup_epoch must be a number from 0 up"),
        ("CosineEpoch", {"min_lr": 0.5}, "min_lr must be a number from 0 to 0.4"),
        ("CosineEpoch", {"max_epoch": 0}, "max_epoch must be a number above 0"),
        ("CosineEpoch", {"max_iter": 3}, "max_iter does not belong to 'CosineEpoch'; use max_epoch"),
        ("CosineEpoch", {"warmup_steps": 3}, "warmup_steps does not belong to 'CosineEpoch'; use warmup_epoch"),
        ("CosineEpoch", {"power": 3}, "unknown key lr_scheduler.kwargs.power; Allowed: base_lr, .*, min_lr"),
        ("Cosine", {}, "warmup_epoch does not belong to 'Cosine'; use warmup_steps"),
        ("Cosin", {}, "unknown learning rate schedule 'Cosin'; did you mean 'Cosine'"),
        ("PolyEpoch", {"min_lr": None}, "unknown key lr_scheduler.kwargs.min_lr"),
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
        ("Cosine", {"max_iter": 1.5}, "max_iter must be an integer"),
        ("Step", {"max_iter": 9, "lr_steps": [3], "lr_mults": [1, 2]}, "lr_mults must be a list of 1 numbers"),
        ("Step", {"max_iter": 9, "lr_steps": [3, 2], "lr_mults": [1, 2]}, "milestones must rise and end by step 9"),
        ("Step", {"max_iter": 9, "lr_steps": [3], "lr_mults": [0]}, r"lr_mults\[0\] must be a number above 0"),
        ("Step", {"max_iter": 9}, "lr_scheduler.kwargs.lr_steps is missing"),
        ("StepDecay", {"max_iter": 9, "step_size": 0, "decay": 0.5}, "step_size must be an integer from 1 up"),
        ("StepDecay", {"max_iter": 9, "step_size": 1, "decay": 2}, "decay must be a number above 0 and at most 1"),
        ("Poly", {"max_iter": 9, "power": 0}, "power must be a number above 0"),
        ("eCosine", {"max_iter": 9, "epoch_steps": 3}, "epoch_steps is not set here: an epoch has 10 steps"),
        ("Poly", {"max_iter": 9, "power": 10**400}, "power must be a number that a float can hold"),
        (
            "Cosine",
            {"max_iter": 9, "base_lr": 1e39},
            r"base_lr must be a number above 0 and at most 3.4e\+38, got 1e\+39",
        ),
        (
            "Cosine",
            {"max_iter": 9, "warmup_steps": 2, "warmup_lr": 1e39},
            r"warmup_lr must be a number above 0 and at most 3.4e",
        ),
        ("Cosine", {"max_iter": 9, "warmup_steps": math.nan}, "warmup_steps must be an integer from 0"),
        ("Cosine", {"max_iter": 9, "warmup_steps": 9}, r"9 steps \(warmup_steps, warmup_epoch\) must be shorter"),
        ("Cosine", {"max_iter": math.inf}, "max_iter must be an integer from 1"),
        ("Cosine", {"max_iter": math.nan}, "max_iter must be an integer from 1"),
        ("Cosine", {"max_iter": True}, "max_iter must be an integer from 1"),
        ("Cosine", {"max_iter": "9"}, "max_iter must be an integer from 1"),
        ("Cosine", {"max_iter": 1e13}, r"max_iter must be an integer from 1 to 1e\+12"),
        ("Cosine", {"max_epoch": 1e300}, r"max_epoch must make from 1 to 1e\+12 steps, got 1e\+300"),
        ("Cosine", {"max_epoch": 0.01}, "max_epoch must make from 1 to .* got 0.01, which at 10 steps an epoch is 0"),
        ("Cosine", {"max_iter": 9, "name": "x"}, "unknown key lr_scheduler.kwargs.name"),
        (
            "Step",
            {"max_iter": 9, "lr_steps": [math.inf], "lr_mults": [1]},
            r"lr_steps\[0\] must be an integer from 1 up, got inf",
        ),
        (
            "Step",
            {"max_iter": 9, "lr_steps": [math.nan], "lr_mults": [1]},
            r"lr_steps\[0\] must be an integer from 1 up, got nan",
        ),
        (
            "StepEpoch",
            {"max_epoch": 9, "lr_epochs": [math.nan], "lr_mults": [1]},
            r"lr_epochs\[0\] must be a number above 0, got nan",
        ),
        (
            "Step",
            {"max_iter": 9, "lr_steps": [3], "lr_mults": [math.inf]},
            r"lr_mults\[0\] must be a number above 0, got inf",
        ),
        ("Step", {"max_iter": 9, "lr_steps": [3, 4], "lr_mults": [1e30, 1e30]}, "lr_mults must keep the learning rate"),
        ("StepDecay", {"max_iter": 9, "step_size": math.inf, "decay": 1}, "step_size must be an integer"),
    ],
)
def test_what_cannot_be_a_schedule(type, kwargs, message):
    with pytest.raises(UserError, match=message):
        schedule_of(type, {"base_lr": 0.1, **kwargs}, 10)


NUMBERS_OF_NO_USE = [
    math.inf,
    -math.inf,
    math.nan,
    "x",
    "",
    -1,
    True,
    [],
    [math.nan],
    {"a": 1},
    1e39,
    10**400,
    -(10**400),
]
FULL = {
    "Step": {"warmup_lr": 0.4, "warmup_steps": 2, "max_iter": 20, "lr_steps": [5], "lr_mults": [0.1]},
    "StepEpoch": {"warmup_lr": 0.4, "warmup_epoch": 1, "max_epoch": 5, "lr_epochs": [2], "lr_mults": [0.1]},
    "StepDecay": {"max_iter": 20, "step_size": 2, "decay": 0.5},
    "StepDecayEpoch": {"max_epoch": 5, "step_size": 2, "decay": 0.5},
    "Cosine": {"warmup_lr": 0.4, "warmup_steps": 2, "max_iter": 20, "min_lr": 0.01},
    "eCosineEpoch": {"max_epoch": 5, "min_lr": 0.01},
    "PolyEpoch": {"max_epoch": 5, "power": 2.0},
}


@pytest.mark.parametrize(("type", "name"), [(type, name) for type in FULL for name in ("base_lr", *FULL[type])])
def test_an_option_is_refused_or_makes_finite_rates(type, name):
    for value in NUMBERS_OF_NO_USE:
        try:
            schedule, base, total = schedule_of(type, {"base_lr": 0.1, **FULL[type], name: value}, 4)
        except UserError:
            continue
        assert all(0 <= schedule(step) < 3.5e38 for step in range(1, min(total, 30) + 1)), (value, base)
