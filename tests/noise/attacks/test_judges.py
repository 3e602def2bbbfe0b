"""Ours against the reference libraries, on digits networks with and without adversarial training."""

import pytest
import torch

from RobustART.core.seeding import image_seeds
from RobustART.noise.attacks import ATTACKS, AttackLog, autoattack, mim_linf, pgd_l1, pgd_linf

EPS = {"Linf": 0.15, "L2": 0.8, "L1": 1.5}


@pytest.fixture(params=["robust", "plain"])
def model(request, robust_model, plain_model):
    return {"robust": robust_model, "plain": plain_model}[request.param]


@pytest.fixture
def held_out(digits):
    return digits[0][1400:1600], digits[1][1400:1600]


def accuracy(model, images, labels):
    with torch.no_grad():
        return 100 * float((model(images).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_autoattack_is_no_weaker_than_the_official_one(model, held_out, norm):
    from pyautoattack import AutoAttack as official

    images, labels = held_out[0][:50], held_out[1][:50]
    theirs, mine = [], []
    for seed in (0, 1):
        with torch.random.fork_rng():
            judge = official(model, norm=norm, eps=EPS[norm], seed=seed, device="cpu")
            judge.square.n_queries = 500
            _, prediction = judge.run_standard_evaluation(images, labels, batch_size=50)
        theirs.append(prediction == labels)
        log = AttackLog()
        autoattack(
            model, images, labels, eps=EPS[norm], norm=norm, log=log, checks=False,
            seeds=image_seeds(seed, range(50), "judge"), stage_options={"square": {"steps": 500}},
        )  # fmt: skip
        mine.append(log.robust)
    difference = torch.stack(mine).float().mean() - torch.stack(theirs).float().mean()
    assert 100 * float(difference) <= 0.5
    # An image on the edge may fall to one seed and not to another, on either side.
    steady = (theirs[0] == theirs[1]) & (mine[0] == mine[1])
    assert float((theirs[0] == mine[0])[steady].float().mean()) >= 0.98


@pytest.mark.parametrize(("name", "attack", "eps"), [
    ("fgsm", "LinfFastGradientAttack", 0.15),
    ("pgd_linf", "LinfProjectedGradientDescentAttack", 0.15),
    ("pgd_l2", "L2ProjectedGradientDescentAttack", 0.8),
])  # fmt: skip
def test_pixels_equal_foolbox_without_random_start(model, held_out, name, attack, eps):
    import foolbox

    images, labels = held_out
    options = {} if name == "fgsm" else {"random_start": False, "steps": 20, "rel_stepsize": 3 / 40}
    theirs = getattr(foolbox.attacks, attack)(**options)(
        foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), images, labels, epsilons=eps
    )[1]
    ours = ATTACKS[name](model, images, labels, eps=eps, random_start=False)
    # A gradient that is zero up to rounding may take either sign; hardly any image has one.
    assert ((ours - theirs).abs().flatten(1).amax(1) < 1e-5).float().mean() >= 0.99
    assert abs(accuracy(model, ours, labels) - accuracy(model, theirs, labels)) <= 0.5


@pytest.mark.parametrize(("name", "attack"), [("pgd_linf", "PGD"), ("mim_linf", "MIFGSM"), ("fgsm", "FGSM")])
def test_strength_equals_torchattacks(model, held_out, name, attack):
    torchattacks = pytest.importorskip("torchattacks")
    images, labels = held_out
    if name == "fgsm":
        theirs = torchattacks.FGSM(model, eps=0.15)
        ours = ATTACKS["fgsm"](model, images, labels, eps=0.15)
    else:
        options = {"random_start": False} if name == "pgd_linf" else {"decay": 1.0}
        theirs = getattr(torchattacks, attack)(model, eps=0.15, alpha=0.02, steps=20, **options)
        ours = ATTACKS[name](model, images, labels, eps=0.15, step_size=0.02, random_start=False)
    assert abs(accuracy(model, ours, labels) - accuracy(model, theirs(images, labels), labels)) <= 1.0


def dense_l1(model, images, labels, eps, steps=20):
    """The L1 attack of other toolboxes: steps along the gradient over its L1 norm, a rescaled ball, then the box."""
    points = images
    for _ in range(steps):
        leaf = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
        length = gradient.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        delta = points - images + eps * 3 / 40 * gradient / (length + 1e-12)
        size = delta.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        points = (images + delta * (eps / size).clamp(max=1)).clamp(0, 1)
    return points.detach()


@pytest.mark.parametrize("eps", [1.5, 2.0, 3.0])
def test_pgd_l1_comes_near_autoattack(model, held_out, eps):
    """Within 3 points, of which at most 1 is used; also where the dense step of other toolboxes leaves 70 % unbroken."""
    images, labels = held_out
    log = AttackLog()
    autoattack(model, images, labels, eps=eps, norm="L1", log=log, version="custom", attacks=["apgd_ce", "apgd_t"],
               checks=False)  # fmt: skip
    bound = 100 * float(log.robust.float().mean())
    assert accuracy(model, pgd_l1(model, images, labels, eps=eps), labels) <= bound + 3
    if eps == 1.5:
        assert accuracy(model, dense_l1(model, images, labels, eps), labels) >= 70 > bound + 30


def test_targeted_tries_of_pgd_l1_break_what_untargeted_ones_do_not(robust_model, held_out):
    images, labels = held_out
    share = {
        n: accuracy(robust_model, pgd_l1(robust_model, images, labels, eps=1.5, n_targets=n), labels)
        for n in (0, 5, 50)
    }
    assert share[5] <= share[0] - 2
    assert share[50] <= share[5]  # there are nine wrong classes; more are no error
    log = AttackLog()
    pgd_l1(robust_model, images, labels, eps=1.5, log=log)
    passes = log.backward["pgd_l1"]
    assert passes[[name == "clean" for name in log.broken_by]].tolist() == [0] * log.broken_by.count("clean")
    assert set(passes.tolist()) <= {0, 20, 40, 60, 80, 100, 120}
    assert (passes[log.robust] == 120).all()


@pytest.mark.parametrize("loss", ["ce", "dlr", "margin"])
def test_pgd_l1_towards_a_class_is_no_try_at_others(robust_model, held_out, loss):
    images, labels = held_out[0][:40], (held_out[1][:40] + 1) % 10
    one = pgd_l1(robust_model, images, held_out[1][:40], eps=1.5, loss=loss)
    assert torch.isfinite(one).all()
    if loss != "dlr":
        found = [pgd_l1(robust_model, images, labels, eps=3.0, targeted=True, n_targets=n, loss=loss) for n in (0, 5)]
        assert torch.equal(*found)


def test_all_steps_and_first_success_agree(model, held_out):
    images, labels = held_out
    for attack in (pgd_linf, mim_linf):
        whole, short = AttackLog(), AttackLog()
        attack(model, images, labels, eps=0.15, log=whole)
        attack(model, images, labels, eps=0.15, log=short, stop="first", batch_size=32)
        # Along the way an image may be fooled and then lost again; the other way round is impossible.
        assert not (short.robust & ~whole.robust).any()
        assert int(short.backward[attack.__name__].sum()) < int(whole.backward[attack.__name__].sum())


@pytest.mark.parametrize(("name", "attack", "ours", "theirs"), [
    ("ddn_l2", "DDNAttack", {"steps": 100}, {"steps": 100}),
    ("deepfool_l2", "L2DeepFoolAttack", {}, {}),
    ("cw_l2", "L2CarliniWagnerAttack", {"steps": 200, "search_steps": 6}, {"steps": 200, "binary_search_steps": 6}),
])  # fmt: skip
def test_smallest_changes_are_as_small_as_those_of_foolbox(model, held_out, name, attack, ours, theirs):
    import foolbox

    images, labels = held_out[0][:40], held_out[1][:40]
    mine = ATTACKS[name](model, images, labels, **ours)
    judge = getattr(foolbox.attacks, attack)(**theirs)
    found = judge(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), images, labels, epsilons=None)[1]
    # Where foolbox's Carlini-Wagner finds nothing, it returns a black image, which may be misclassified too.
    found = torch.where(found.flatten(1).any(1)[:, None, None, None], found, images)
    with torch.no_grad():
        fooled = [model(points).argmax(1) != labels for points in (mine, found)]
    assert int(fooled[0].sum()) >= int(fooled[1].sum()) - 1
    both = fooled[0] & fooled[1]
    lengths = [(points - images)[both].flatten(1).norm(dim=1) for points in (mine, found)]
    assert float(lengths[0].mean()) <= 1.02 * float(lengths[1].mean())
