"""HopSkipJump against exact distances, against foolbox's, and on networks that give nothing but classes."""

import pytest
import torch

from RobustART.errors import ConfigError
from RobustART.noise.attacks import ATTACKS, AttackLog, hop_skip_jump_l2, hop_skip_jump_linf, pgd_linf
from RobustART.noise.attacks.geometry import norms

BOTH = pytest.mark.parametrize(("name", "norm"), [("hop_skip_jump_l2", "L2"), ("hop_skip_jump_linf", "Linf")])


@BOTH
@pytest.mark.parametrize(("classes", "farthest"), [(2, 1.06), (4, 2.5)])
def test_it_comes_near_the_exact_distance(half_spaces, name, norm, classes, farthest):
    """With several classes it may end at another boundary than the nearest."""
    model, images, labels = half_spaces(classes)
    found = ATTACKS[name](model, images, labels, iterations=20)
    with torch.no_grad():
        assert (model(found).argmax(1) != labels).all()
    ratio = norms(found - images, norm) / model.distance(images, norm)
    assert ratio.min() >= 1 - 1e-5
    assert ratio.median() <= 1.03
    assert ratio.max() <= farthest


@BOTH
def test_success_is_what_lies_inside_the_radius(half_spaces, name, norm):
    model, images, labels = half_spaces(2)
    distance = model.distance(images, norm)
    for share, robust in ((1.2, 0), (0.98, len(images))):
        log = AttackLog()
        found = ATTACKS[name](model, images, labels, eps=share * distance, iterations=15, stop="first", log=log)
        assert int(log.robust.sum()) == robust
        assert (norms(found - images, norm) <= share * distance + 1e-6).all()


@BOTH
def test_it_reaches_as_near_as_foolbox_with_as_many_queries(robust_model, digits, name, norm):
    foolbox = pytest.importorskip("foolbox")
    images, labels = (value[1400:1412] for value in digits)
    with torch.no_grad():
        right = robust_model(images).argmax(1) == labels
    images, labels, asked = images[right], labels[right], 0

    class Counted(torch.nn.Module):
        def forward(self, points):
            nonlocal asked
            asked += len(points)
            return robust_model(points)

    log = AttackLog()
    ours = ATTACKS[name](robust_model, images, labels, iterations=7, log=log)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = foolbox.attacks.HopSkipJumpAttack(steps=7, constraint=norm.lower())(
            foolbox.PyTorchModel(Counted().eval(), bounds=(0, 1), device="cpu"), images, labels, epsilons=None
        )[1]
    with torch.no_grad():
        assert (robust_model(ours).argmax(1) != labels).all()
        assert (robust_model(theirs).argmax(1) != labels).all()
    mine, other = (norms(found - images, norm).median() for found in (ours, theirs))
    assert mine <= 1.1 * other
    assert int(log.forward[name].sum()) <= 1.02 * asked
    assert int(log.backward[name].sum()) == 0


def test_classes_are_enough(robust_model, digits):
    """On a network that returns its decision alone, PGD finds nothing to follow, and the walk is the same."""
    images, labels = (value[1400:1406] for value in digits)

    def decided(points):
        with torch.no_grad():
            return torch.nn.functional.one_hot(robust_model(points.round(decimals=3)).argmax(1), 10).float()

    found = hop_skip_jump_linf(decided, images, labels, iterations=3)
    same = hop_skip_jump_linf(lambda points: 5 * decided(points) - 2, images, labels, iterations=3)
    assert torch.equal(found, same)
    assert (decided(found).argmax(1) != labels).all()
    with pytest.raises(Exception, match="an attack without gradients, 'square' or 'hop_skip_jump_linf'"):
        pgd_linf(decided, images, labels, eps=0.1)


def test_decisions_are_counted_and_options_have_the_names_of_the_paper(half_spaces):
    model, images, labels = half_spaces(3)
    asked = 0

    def counted(points):
        nonlocal asked
        asked += len(points)
        return model(points)

    log = AttackLog()
    hop_skip_jump_l2(counted, images, labels, iterations=4, init_evals=10, max_evals=15, gamma=2.0, log=log)
    assert int(log.forward["hop_skip_jump_l2"].sum()) == asked
    few = AttackLog()
    hop_skip_jump_l2(model, images, labels, iterations=4, init_evals=5, max_evals=5, gamma=2.0, log=few)
    assert (few.forward["hop_skip_jump_l2"] < log.forward["hop_skip_jump_l2"]).all()
    with pytest.raises(ConfigError, match="gamma must be a number above 0, got 0"):
        hop_skip_jump_l2(model, images, labels, gamma=0)


def test_an_image_without_any_success_is_left_alone(half_spaces):
    images = half_spaces(2)[1]

    def constant(points):
        return torch.tensor([1.0, 0.0]).expand(len(points), 2)

    log = AttackLog()
    found = hop_skip_jump_l2(constant, images[:1], torch.zeros(1, dtype=torch.long), log=log)
    assert torch.equal(found, images[:1])
    assert log.broken_by == [None]
