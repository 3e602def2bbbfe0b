"""Our attacks as the libraries make them, behind our names."""

import importlib.util

import numpy as np
import pytest
import torch

from RobustART.benchmarks import build_benchmark
from RobustART.core.options import attack_norm, option_defaults
from RobustART.errors import ConfigError, ModelError, UnknownNameError
from RobustART.noise import ATTACKS, AddNoise
from RobustART.noise.attacks import fgsm, pgd_linf
from RobustART.noise.reference import AUTOATTACK, FOOLBOX, TORCHATTACKS, resolve_attack

CASES = [("foolbox", n) for n in FOOLBOX] + [("torchattacks", n) for n in TORCHATTACKS]
CASES += [("autoattack", n) for n in AUTOATTACK]
FEW = {"steps": 3, "search_steps": 2}
RADIUS = {"Linf": 0.05, "L2": 0.5, "L1": 2.0}


@pytest.fixture
def victim():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10)).eval()
    images = torch.rand(6, 3, 8, 8)
    return model, images, model(images).argmax(1)


def installed(backend):
    """Skips what torchattacks alone can answer where it is missing; the other libraries come with the tests."""
    if backend == "torchattacks" and importlib.util.find_spec("torchattacks") is None:
        pytest.skip("torchattacks is not installed: its pin of requests keeps it out of the test environment")


@pytest.mark.parametrize(("backend", "name"), CASES)
def test_every_backend_attacks_within_the_ball(victim, backend, name):
    installed(backend)
    model, images, labels = victim
    attack = resolve_attack(name, backend)
    known = attack.__signature__.parameters
    options = {key: value for key, value in FEW.items() if key in known}
    if name.startswith("autoattack"):
        options = {"version": "custom", "attacks": ["apgd_ce"]} if backend == "autoattack" else {"version": "rand"}
    norm = attack_norm(name)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    noisy = attack(model, images, labels, eps=RADIUS[norm], **options)
    again = attack(model, images, labels, eps=RADIUS[norm], **options)
    assert torch.equal(noisy, again)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    delta = (noisy - images).flatten(1)
    size = {"Linf": delta.abs().amax(1), "L2": delta.norm(dim=1), "L1": delta.abs().sum(1)}[norm]
    assert noisy.shape == images.shape
    assert 0 <= noisy.min()
    assert noisy.max() <= 1
    assert (delta != 0).any()
    assert (size <= RADIUS[norm] + 1e-6).all(), "also where the library knows no ball"
    assert set(known) - {"model", "images", "labels"} <= set(option_defaults(ATTACKS[name]))


def test_foolbox_makes_the_same_fgsm(victim):
    model, images, labels = victim
    theirs = resolve_attack("fgsm", "foolbox")(model, images, labels, eps=0.03)
    assert torch.equal(theirs, fgsm(model, images, labels, eps=0.03))
    steps = {"steps": 5, "random_start": False, "eps": 0.03}
    theirs = resolve_attack("pgd_linf", "foolbox")(model, images, labels, **steps)
    assert (theirs - pgd_linf(model, images, labels, **steps)).abs().max() < 1e-6


def test_add_noise_takes_a_backend(victim):
    model, images, labels = victim
    noise = AddNoise("pgd_linf")
    noise.set_config(model=model, eps=0.03, steps=5)
    noise.set_config(backend="foolbox", random_start=False)
    assert noise.get_config()["steps"] == 5
    assert "restarts" not in noise.get_config()
    ours = AddNoise("pgd_linf")
    ours.set_config(model=model, eps=0.03, steps=5, random_start=False)
    assert (noise.add_noise(images, labels) - ours.add_noise(images, labels)).abs().max() < 1e-6
    with pytest.raises(ConfigError, match="unknown option 'restarts' of the noise pgd_linf"):
        noise.set_config(restarts=2)
    ours.set_config(restarts=2)
    with pytest.raises(
        ConfigError, match="'foolbox' does not have the option 'restarts' of pgd_linf, which is set to 2"
    ):
        ours.set_config(backend="foolbox")
    assert ours.get_config()["backend"] == "robustart"


@pytest.mark.parametrize(("name", "backend", "error", "message"), [
    ("pgd_linf", "foolbax", ConfigError, "did you mean 'foolbox'"),
    ("pgd_linf", "autoattack", ConfigError, "'autoattack' does not have pgd_linf; it has autoattack_linf"),
    ("pgd_lnf", "foolbox", UnknownNameError, "did you mean"),
    ("foolbox:LinfPGD", "foolbox", ConfigError, "names its library"),
])  # fmt: skip
def test_mistakes_are_named(name, backend, error, message):
    with pytest.raises(error, match=message):
        resolve_attack(name, backend)


def test_one_radius_for_all(victim):
    model, images, labels = victim
    with pytest.raises(ConfigError, match=r"takes one eps for all images, got \(6,\)"):
        resolve_attack("pgd_linf", "foolbox")(model, images, labels, eps=torch.full((6,), 0.1))


def test_cells_with_a_backend(victim):
    from RobustART.data import array_dataset

    data = array_dataset([np.zeros((8, 8, 3), np.uint8)], [0])
    options = {"attacks": ["pgd_linf", {"pgd_l2": {"backend": "foolbox", "steps": 4}}], "eps": {"L2": [0.5]}}
    cells = build_benchmark("adversarial", data, options).passes[0].cells
    assert cells[-1].name == "foolbox.pgd_l2/0.5"
    assert cells[-1].attack.keywords == {"eps": 0.5, "steps": 4}
    with pytest.raises(ConfigError, match="unknown option 'restarts'"):
        build_benchmark("adversarial", data, {"attacks": [{"pgd_l2": {"backend": "foolbox", "restarts": 4}}]})


def test_the_originals_option_names(victim, capsys):
    """Every key of the original's default configuration, for every attack it had."""
    model, images, labels = victim
    originals = {
        "pgd_linf": {"f_model": model, "eps": 8 / 255, "rel_stepsize": 3 / 40, "steps": 3},
        "pgd_l2": {"f_model": model, "eps": 8.0, "rel_stepsize": 3 / 40, "steps": 3},
        "fgsm": {"f_model": model, "eps": 8 / 255},
        "autoattack_linf": {"model": model, "norm": "Linf", "eps": 8 / 255, "version": "standard", "verbose": True},
        "mim_linf": {"model": model, "eps": 8 / 255, "num_steps": 3, "step_size": 0.002, "decay_factor": 1.0},
        "pgd_l1": {"model": model, "eps": 20.0, "input_size": 8, "eps_step": 5, "max_iter": 3, "batch_size": 16},
    }
    for name, config in originals.items():
        noise = AddNoise(name)
        noise.set_config(**config)
        assert noise.add_noise(images, labels).shape == images.shape
    assert "apgd_ce: broke " in capsys.readouterr().out
    noise.set_config(input_size=224)
    with pytest.raises(ConfigError, match="input_size is 224, but the images are 8 x 8"):
        noise.add_noise(images, labels)
    with pytest.raises(ConfigError, match="autoattack_linf is of norm Linf, got 'L2'"):
        AddNoise("autoattack_linf").set_config(norm="L2")


class Tuple(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x), x


@pytest.mark.parametrize("backend", ["foolbox", "torchattacks", "autoattack"])
def test_the_model_is_treated_as_by_our_own_attacks(victim, backend):
    """bf16 weights, sub-modules that train on purpose, models that return tuples."""
    installed(backend)
    model, images, labels = victim
    attack = resolve_attack("apgd_ce" if backend == "autoattack" else "fgsm", backend)
    options = {"steps": 2} if backend == "autoattack" else {}
    assert attack(model.bfloat16(), images, labels, eps=0.05, **options).dtype == torch.float32
    modes = []

    class Watched(torch.nn.Dropout):
        def forward(self, x):
            modes.append(self.training)
            return x

    watched = torch.nn.Sequential(model.float(), Watched()).eval()
    watched[1].train()
    attack(watched, images, labels, eps=0.05, **options)
    assert set(modes) == {True}
    assert watched[1].training
    assert not watched.training
    with pytest.raises(ModelError, match=r"must return logits as a tensor .* Wrap it"):
        attack(Tuple(model), images, labels, eps=0.05, **options)


@pytest.mark.parametrize(("backend", "name", "options", "message"), [
    ("foolbox", "pgd_linf", {"eps": -1.0}, "eps must be at least 0"),
    ("foolbox", "pgd_linf", {"eps": [1, "a"]}, "eps must be a number"),
    ("foolbox", "pgd_linf", {"step_size": 0.1, "rel_stepsize": 0.2}, "give one of step_size and rel_stepsize"),
    ("torchattacks", "square", {"norm": "L1"}, "knows the norms 'Linf' and 'L2', got 'L1'"),
    ("torchattacks", "autoattack_linf", {"version": "custom"}, "attacks is for version 'custom'"),
    ("autoattack", "autoattack_linf", {"version": "custom", "attacks": ["apgd_cee"]}, "unknown stage 'apgd_cee'"),
    ("autoattack", "square", {"norm": "L3"}, "L3"),
])  # fmt: skip
def test_options_of_backends_are_checked(victim, backend, name, options, message):
    installed(backend)
    model, images, labels = victim
    with pytest.raises(ConfigError, match=message):
        resolve_attack(name, backend)(model, images, labels, **{"eps": 0.1, **options})


def test_images_and_labels_are_checked_for_backends_too(victim):
    installed("foolbox")
    model, images, labels = victim
    attack = resolve_attack("pgd_linf", "foolbox")
    with pytest.raises(ConfigError, match=r"images must be in \[0, 1\]"):
        attack(model, images * 255, labels, eps=0.1)
    with pytest.raises(ConfigError, match="labels must be in 0..9"):
        attack(model, images, labels + 10, eps=0.1)


def test_a_backend_after_a_tensor_of_radii(victim):
    installed("foolbox")
    noise = AddNoise("pgd_linf")
    noise.set_config(model=victim[0], eps=torch.full((6,), 0.1))
    noise.set_config(backend="foolbox")
    with pytest.raises(ConfigError, match="takes one eps for all images"):
        noise.add_noise(victim[1], victim[2])
