"""Attacks on networks whose gradient misleads: the mean of several passes, and a replacement of the gradient."""

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from RobustART.errors import ConfigError, ModelError
from RobustART.noise import AddNoise
from RobustART.noise.attacks import ATTACKS, AttackLog, autoattack, fgsm, pgd_linf, plan
from RobustART.noise.attacks.victim import Victim
from tests.noise.attacks.test_contracts import QUICK, STAGES

EPS = 3 / 16
GRADIENTS = [name for name in ATTACKS if name != "square" and not name.startswith(("autoattack", "hop_skip_jump"))]


class Rounding(nn.Module):
    """A network that rounds its input: it has the answers of the inner one, and no gradient."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(torch.round(images * 16) / 16)


def unrounded(model):
    return model.inner


@pytest.fixture
def held_out(digits):
    images, labels = digits
    return images[1400:1460], labels[1400:1460]


def survivors(attack, model, images, labels, **options):
    log = AttackLog()
    attack(model, images, labels, eps=EPS, log=log, **options)
    return int(log.robust.sum())


def test_a_replaced_gradient_breaks_what_rounding_hides(plain_model, held_out):
    images, labels = held_out
    model = Rounding(plain_model)
    open_to = survivors(fgsm, plain_model, images, labels)
    assert open_to <= 30, "the network without the disturbance is broken by one step"
    assert survivors(pgd_linf, model, images, labels) >= 50, "rounding hides that"
    assert survivors(pgd_linf, model, images, labels, backward=unrounded) <= open_to
    options = {"stage_options": STAGES, "checks": False}
    assert survivors(autoattack, model, images, labels, backward=unrounded, **options) <= open_to


def test_values_stay_those_of_the_model(plain_model, held_out):
    images, labels = held_out
    images = (images + 0.02).clamp(0, 1)
    model, index = Rounding(plain_model), torch.arange(len(labels))
    victim = Victim(model, labels, backward=unrounded)

    def loss(logits):
        return functional.cross_entropy(logits, labels, reduction="none")

    logits, losses, gradient = victim.gradient(images, index, loss)
    with torch.no_grad():
        own = model(images)
    assert torch.equal(logits, own)
    assert torch.equal(losses, loss(own))
    leaf = images.clone().requires_grad_()
    outputs = plain_model(leaf)
    assert not torch.equal(outputs, own)
    slope = functional.softmax(own, 1) - functional.one_hot(labels, 10)  # of the loss, at the model's own logits
    (expected,) = torch.autograd.grad(outputs, leaf, slope)
    assert torch.allclose(gradient, expected, atol=1e-5)
    assert victim.forward_passes.tolist() == [2] * len(labels), "the replacement's pass is counted"
    assert victim.watch.backward.tolist() == [1] * len(labels)


@pytest.mark.parametrize("name", GRADIENTS)
def test_every_gradient_attack_takes_both_options(small_net, name):
    """On a network without random numbers the mean of two passes is one pass, and it may replace its own gradient."""
    model, images, labels = small_net
    images, labels, options = images[:6], labels[:6], QUICK.get(name, {})
    logs, found = [], []
    for own in ({}, {"samples": 2}, {"backward": lambda model: model}):
        logs.append(AttackLog())
        found.append(ATTACKS[name](model, images, labels, eps=0.3, log=logs[-1], **options, **own))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert torch.equal(2 * logs[0].forward[name], logs[1].forward[name])
    assert torch.equal(2 * logs[0].backward[name], logs[1].backward[name])
    assert torch.equal(logs[0].backward[name], logs[2].backward[name])
    assert logs[0].backward[name].sum() > 0


class Dropping(nn.Module):
    """A network with dropout in ``forward``."""

    def __init__(self, inner, share):
        super().__init__()
        self.inner, self.share = inner, share

    def forward(self, images):
        return self.inner(functional.dropout(images, self.share, training=True))


def test_the_mean_gradient_breaks_more_of_a_random_network(plain_model, held_out):
    images, labels = (value[:40] for value in held_out)
    model = Dropping(plain_model, 0.6)

    def standing(samples):
        attacked = pgd_linf(model, images, labels, eps=EPS, samples=samples)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            mean = torch.stack([model(attacked).softmax(1) for _ in range(100)]).mean(0)
        return int((mean.argmax(1) == labels).sum())

    assert standing(10) <= standing(1) - 4


def test_options_of_the_ensemble_go_to_its_stages_with_gradients():
    assert plan(samples=3)["apgd_ce"] == plan(samples=3)["fab_t"] == {"samples": 3}
    assert plan(samples=3)["square"] == {}
    assert plan(version="rand")["apgd_dlr"] == {"samples": 20}
    assert plan(version="rand", samples=5)["apgd_dlr"] == {"samples": 5}
    assert plan(samples=3, stage_options={"apgd_t": {"samples": 7}})["apgd_t"] == {"samples": 7}


def test_a_replacement_is_named_as_module_and_function(plain_model, held_out, tmp_path, monkeypatch):
    images, labels = held_out
    (tmp_path / "replacements.py").write_text("def unrounded(model):\n    return model.inner\n\n\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "replacements", raising=False)
    model = Rounding(plain_model)
    named = pgd_linf(model, images, labels, eps=EPS, backward="replacements:unrounded")
    assert torch.equal(named, pgd_linf(model, images, labels, eps=EPS, backward=unrounded))
    noise = AddNoise("pgd_linf")
    noise.set_config(model=model, eps=EPS, backward="replacements:unrounded")
    noisy = noise.add_noise(images, labels)
    noise.set_config(backward=unrounded)
    assert torch.equal(noise.add_noise(images, labels), noisy)
    for wrong, message in (
        ("replacements:rounded", "the backward 'replacements:rounded': the module replacements has no rounded"),
        (
            "replacements:number",
            "backward must be module:function or a function of the model, got 'replacements:number'",
        ),
        (3, "backward must be module:function or a function of the model, got 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            pgd_linf(model, images, labels, eps=EPS, backward=wrong)


def test_a_replacement_of_other_outputs_is_an_error(plain_model, held_out):
    images, labels = held_out
    with pytest.raises(ModelError, match=r"must return logits \(60, 10\), got \(60, 9\)"):
        pgd_linf(plain_model, images, labels, eps=EPS, backward=lambda model: lambda x: model(x)[:, :9])
