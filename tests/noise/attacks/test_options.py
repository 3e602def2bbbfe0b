"""The options that all attacks share: declared once, visible in every signature, checked once per call."""

import functools
import inspect

import pytest
import torch

from RobustART.core.options import check_options, option_defaults
from RobustART.errors import ConfigError
from RobustART.noise import ATTACKS, AddNoise
from RobustART.noise.attacks import AttackLog, autoattack, options, pgd_linf
from RobustART.noise.attacks.stages import stages_of

COMMON = {"seeds": None, "batch_size": None, "amp": None, "log": None}
FEW = {name: {"steps": 2} for name in ("apgd_ce", "apgd_t", "fab_t", "square")}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_signatures_show_every_option_with_its_default(name):
    shown = option_defaults(ATTACKS[name])
    assert shown.items() >= COMMON.items()
    assert shown["stop"] == ("first" if name.startswith("autoattack") else None)
    assert ("targeted" in shown) == (not name.startswith(("autoattack", "deepfool")))
    assert ("loss" in shown) == name.startswith(("pgd", "mim"))
    assert inspect.Parameter.VAR_KEYWORD not in [p.kind for p in inspect.signature(ATTACKS[name]).parameters.values()]


def test_unknown_options_are_refused_with_the_nearest_name(half_spaces):
    model, images, labels = half_spaces(2)
    with pytest.raises(
        TypeError, match=r"pgd_linf\(\) got an unexpected keyword argument 'stpes'; did you mean 'steps'"
    ):
        pgd_linf(model, images, labels, eps=0.1, stpes=3)
    with pytest.raises(TypeError, match="'loss'"):
        ATTACKS["fgsm"](model, images, labels, eps=0.1, loss="margin")
    with pytest.raises(TypeError, match="'eps'"):
        pgd_linf(model, images, labels)


def test_an_earlier_name_is_refused_with_the_present_one(half_spaces):
    model, images, labels = half_spaces(2)
    hint = "'share'.*did you mean 'sparsity'"
    with pytest.raises(ConfigError, match=hint):
        AddNoise("pgd_l1").set_config(share=0.1)
    with pytest.raises(ConfigError, match=hint):
        check_options({"eps": 1, "share": 0.1}, ATTACKS["pgd_l1"], "the attack pgd_l1")
    with pytest.raises(TypeError, match=hint):
        ATTACKS["pgd_l1"](model, images, labels, eps=0.1, share=0.1)


def test_images_are_checked_once_per_call(small_net, monkeypatch):
    model, images, labels = small_net
    seen = []
    check = options.check_images
    monkeypatch.setattr(options, "check_images", lambda images: seen.append(len(images)) or check(images))
    autoattack(model, images, labels, eps=0.02, stage_options=FEW)
    pgd_linf(model, images, labels, eps=0.02, restarts=3)
    assert seen == [20, 20]


def test_a_function_without_the_common_options_is_an_attack(half_spaces):
    """The contract is ``(model, images, labels, *, eps, seeds=None, **options) -> images``."""
    model, images, labels = half_spaces(2)

    def lighten(model, images, labels, *, eps, seeds=None, gain=1.0):
        return (images + gain * eps).clamp(0, 1)

    ATTACKS.add("lighten", lighten)
    try:
        noise = AddNoise("lighten")
        noise.set_config(model=model, eps=0.1, gain=0.5)
        assert noise.get_config() == {"model": model, "backend": "robustart", "eps": 0.1, "gain": 0.5}
        assert torch.equal(noise.add_noise(images, labels), (images + 0.05).clamp(0, 1))
    finally:
        ATTACKS.remove("lighten")
    (stage,) = stages_of(functools.partial(lighten, eps=0.1))
    assert stage.name == "lighten"
    assert not any(stage.takes(option) for option in ("batch_size", "log", "amp", "gain"))
    assert stage.takes("seeds")


def test_an_attack_by_position_alone_draws_as_with_keys_by_position(half_spaces):
    from RobustART.core.seeding import image_seeds

    model, images, labels = half_spaces(2)
    keys = image_seeds(0, range(len(images)), "pgd_linf")
    found = [pgd_linf(model, images, labels, eps=0.05, steps=0, seeds=seeds, log=AttackLog()) for seeds in (None, keys)]
    assert torch.equal(*found)
