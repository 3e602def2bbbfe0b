"""Attacks on models whose exact distances are known: they succeed a little beyond and fail a little short of them."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from RobustART.noise.attacks import ATTACKS, AttackLog, autoattack, cw_l2, ddn_l2, deepfool_l2, fgsm, pgd_linf
from RobustART.noise.attacks.geometry import norms
from RobustART.noise.attacks.losses import dlr

# An ascent on a loss of all classes may end at another boundary than the nearest, even on half-spaces: a maximum of a
# convex function. With two classes there is but one; attacks that aim at single classes are exact with any number.
CASES = [
    ("fgsm", "Linf", 2, {}),
    ("pgd_linf", "Linf", 2, {"steps": 40}), ("pgd_l2", "L2", 2, {"steps": 40}),
    ("pgd_l1", "L1", 2, {}), ("mim_linf", "Linf", 2, {"steps": 40}), ("ddn_l2", "L2", 2, {}),
    ("deepfool_l2", "L2", 5, {}),
    ("cw_l2", "L2", 5, {"steps": 100, "search_steps": 6}),
]  # fmt: skip
for _norm in ("Linf", "L2", "L1"):
    # In L1 a try of Auto-PGD ends where its sparsity happens to settle; many tries find the distance.
    _options = {"norm": _norm, "restarts": 20 if _norm == "L1" else 1, "stop": "first"}
    CASES += [(_name, _norm, 2, _options) for _name in ("apgd_ce", "apgd_dlr")]
    CASES += [("apgd_t", _norm, _k, _options) for _k in (2, 3, 5)]
    CASES += [(_name, _norm, _k, {"norm": _norm}) for _name in ("fab", "fab_t") for _k in (2, 3, 5)]
# Random search gets to within a few per cent of the distance in Linf, where the corners of the ball are what it tries.
CASES += [("square", "Linf", 2, {"norm": "Linf", "steps": 1000})]


@pytest.mark.parametrize(("name", "norm", "classes", "options"), CASES)
def test_success_just_beyond_the_exact_distance_and_not_before(half_spaces, name, norm, classes, options):
    model, images, labels = half_spaces(classes)
    distance = model.distance(images, norm)
    for share, robust in ((1.15, 0), (0.85, len(images))):
        log = AttackLog()
        found = ATTACKS[name](model, images, labels, eps=share * distance, log=log, **options)
        assert int(log.robust.sum()) == robust
        with torch.no_grad():
            assert int((model(found).argmax(1) == labels).sum()) == robust


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_square_in_l2_and_l1_finds_what_is_well_inside_and_nothing_outside(half_spaces, norm):
    model, images, labels = half_spaces(3, shape=(1, 6, 6))
    distance = model.distance(images, norm)
    for share, least, most in ((2.5, 0, 1), (0.99, len(images), len(images))):
        log = AttackLog()
        ATTACKS["square"](model, images, labels, eps=share * distance, norm=norm, steps=1500, log=log)
        assert least <= int(log.robust.sum()) <= most


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_square_reaches_as_far_as_the_official_one(half_spaces, norm):
    """A random search over squares does not come within 15 % of the distance in L2 and L1; nor does the authors' own."""
    from pyautoattack.square import SquareAttack as official

    model, images, labels = half_spaces(3, shape=(1, 6, 6), count=24)
    eps = 1.5 * float(model.distance(images, norm).median())
    log = AttackLog()
    ATTACKS["square"](model, images, labels, eps=eps, norm=norm, steps=500, log=log)
    with torch.random.fork_rng(), torch.no_grad():
        judge = official(model, norm=norm, n_queries=500, eps=eps, seed=0, device="cpu")
        theirs = int((model(judge.perturb(images, labels)).argmax(1) == labels).sum())
    assert int(log.robust.sum()) <= theirs + 2
    assert theirs > 0 or norm == "Linf"


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_autoattack_is_exact_on_half_spaces(half_spaces, norm):
    model, images, labels = half_spaces(5, count=6)
    eps = model.distance(images, norm) * torch.tensor([1.02, 0.98] * 3)
    log = AttackLog()
    autoattack(model, images, labels, eps=eps, norm=norm, log=log, stage_options={"square": {"steps": 50}})
    assert log.robust.tolist() == [False, True] * 3


@pytest.mark.parametrize(("attack", "share", "options"), [
    (ddn_l2, 1.06, {}), (deepfool_l2, 1.05, {}), (cw_l2, 1.15, {"steps": 300, "search_steps": 9}),
])  # fmt: skip
def test_minimal_norm_attacks_come_near_the_exact_distance(half_spaces, attack, share, options):
    model, images, labels = half_spaces(2 if attack is ddn_l2 else 4)
    found = attack(model, images, labels, **options)
    with torch.no_grad():
        assert (model(found).argmax(1) != labels).all()
    ratio = norms(found - images, "L2") / model.distance(images, "L2")
    assert ratio.min() >= 1 - 1e-5
    assert ratio.max() <= share


def test_fgsm_is_its_closed_form(small_net):
    model, images, labels = small_net
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    want = (images + 0.03 * gradient.sign()).clamp(0, 1)
    assert torch.allclose(fgsm(model, images, labels, eps=0.03), want, atol=1e-15)
    # Targeted, it goes down the same slope of the target's loss.
    found = fgsm(model, images, labels, eps=0.03, targeted=True)
    assert torch.allclose(found, (images - 0.03 * gradient.sign()).clamp(0, 1), atol=1e-15)


@pytest.mark.parametrize("classes", [3, 6])
def test_dlr_gradient_is_right_in_float64(classes):
    logits = torch.randn(8, classes, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(8) % classes
    assert torch.autograd.gradcheck(lambda z: dlr(z, labels), logits)


def test_restarts_go_to_the_standing_images_alone(half_spaces):
    model, images, labels = half_spaces(2)
    eps = model.distance(images, "Linf") * torch.tensor([3.0, 0.5] * 6)
    log = AttackLog()
    pgd_linf(model, images, labels, eps=eps, restarts=3, stop="first", log=log)
    assert log.robust.tolist() == [False, True] * 6
    assert log.backward["pgd_linf"][1::2].tolist() == [60] * 6
    assert (log.backward["pgd_linf"][::2] <= 20).all()
