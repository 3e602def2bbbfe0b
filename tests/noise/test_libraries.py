"""Attacks of foolbox and torchattacks by name: the library's own result, its own options, and nothing left changed."""

import sys
import types

import foolbox
import numpy as np
import pytest
import torch
from torch import nn

from RobustART.errors import ConfigError, UnknownNameError
from RobustART.noise import AddNoise


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.Tanh(), nn.Linear(16, 5)).eval()


@pytest.fixture
def batch(model):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return images, model(images).argmax(1)


def test_foolbox_gives_what_the_library_gives(model, batch):
    images, labels = batch
    noise = AddNoise("foolbox:LinfFastGradientAttack")
    assert noise.get_config()["eps"] == 8 / 255
    noise.set_config(model=model, eps=0.1)
    direct = foolbox.attacks.LinfFastGradientAttack()(
        foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=0.1
    )
    assert torch.equal(noise.add_noise(images, labels), direct[1])


def test_foolbox_smallest_change(model, batch):
    images, labels = batch
    noise = AddNoise("foolbox:L2DeepFoolAttack")
    assert noise.get_config()["eps"] is None
    noise.set_config(model=lambda x: model(x), steps=30)
    found = noise.add_noise(images, labels)
    assert (model(found).argmax(1) != labels).all()
    assert 0 < (found - images).flatten(1).norm(dim=1).max() < 3


def test_seeded_and_nothing_is_left_changed(model, batch):
    images, labels = batch
    noise = AddNoise("foolbox:LinfPGD", seed=3)
    noise.set_config(model=model, eps=0.05, steps=3)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    model.train()
    first = noise.add_noise(images, labels)
    assert torch.equal(first, noise.add_noise(images, labels))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_mistakes_are_named(model, batch, monkeypatch):
    with pytest.raises(UnknownNameError, match="unknown attack 'foolbox:L2DeepFool'; did you mean 'L2DeepFoolAttack'"):
        AddNoise("foolbox:L2DeepFool")
    with pytest.raises(UnknownNameError, match="unknown library 'foolbxo'; did you mean 'foolbox'"):
        AddNoise("foolbxo:L2DeepFoolAttack")
    noise = AddNoise("foolbox:L2DeepFoolAttack")
    with pytest.raises(ConfigError, match="unknown option 'stps' .* did you mean 'steps'"):
        noise.set_config(stps=3)
    with pytest.raises(ConfigError, match="loss must be one of .*got 'nothing'"):
        noise.set_config(model=model, loss="nothing")
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(ConfigError, match="pip install --no-deps torchattacks"):
        AddNoise("torchattacks:CW")


def test_torchattacks_is_called_as_it_wants(model, batch, monkeypatch):
    """A stand-in with the library's shape: Attack(model, **options), called with images and labels."""
    library = types.ModuleType("torchattacks")
    library.attack = types.ModuleType("torchattacks.attack")

    class Attack:
        def __init__(self, name, model):
            self.model, self.device = model, next(model.parameters()).device

    class Step(Attack):
        def __init__(self, model, eps=8 / 255, alpha=1.0):
            super().__init__("Step", model)
            self.eps, self.alpha = eps, alpha

        def __call__(self, images, labels):
            images.requires_grad_()
            loss = nn.functional.cross_entropy(self.model(images), labels)
            return images + self.alpha * self.eps * torch.autograd.grad(loss, images)[0].sign()

    library.attack.Attack, library.Step = Attack, Step
    monkeypatch.setitem(sys.modules, "torchattacks", library)
    noise = AddNoise("torchattacks:Step")
    assert noise.get_config() == {"model": None, "eps": 8 / 255, "alpha": 1.0}
    noise.set_config(model=model, eps=0.1, alpha=0.5)
    images, labels = batch
    found = noise.add_noise(images, labels)
    assert torch.equal(
        (found - images).abs() > 0.04, ((images + 0.05 * (found - images).sign()).clamp(0, 1) - images).abs() > 0.04
    )
    assert (found - images).abs().max() == pytest.approx(0.05, abs=1e-6)


def test_real_torchattacks(model, batch):
    library = pytest.importorskip("torchattacks")
    noise = AddNoise("torchattacks:CW")
    noise.set_config(model=model, steps=50, c=20, lr=0.05)
    images, labels = batch
    assert torch.equal(noise.add_noise(images, labels), library.CW(model, steps=50, c=20, lr=0.05)(images, labels))
