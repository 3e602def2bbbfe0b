"""Faults that other attack libraries have, one test each."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, relu

from RobustART.core.seeding import image_seeds
from RobustART.errors import ConfigError, ModelError
from RobustART.noise.attacks import (
    ATTACKS,
    AttackLog,
    AttackWarning,
    autoattack,
    check_model,
    fgsm,
    mim_linf,
    pgd_linf,
    plan,
    run_stage,
    square,
)  # fmt: skip
from RobustART.noise.attacks.losses import dlr, targeted_dlr


class Scaled(nn.Module):
    def __init__(self, inner, scale):
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, x):
        return self.inner(x) * self.scale


@pytest.mark.parametrize("name", ["fgsm", "pgd_linf", "pgd_l2", "pgd_l1", "mim_linf", "ddn_l2", "apgd_ce", "fab_t"])
def test_a_zero_gradient_gives_no_nan(name):
    weight = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))

    def dead(x):
        return relu(x.flatten(1) @ weight.T - 100) + torch.tensor([1.0, 0, 0, 0])

    images = torch.rand(3, 1, 4, 4)
    found = ATTACKS[name](dead, images, torch.zeros(3, dtype=torch.int64), eps=0.1)
    assert found.isfinite().all()


@pytest.mark.parametrize("scale", [1e-18, 1e-30])
def test_tiny_gradients_keep_their_direction_in_mim(half_spaces, scale):
    model, images, labels = half_spaces(2)
    want = mim_linf(model, images, labels, eps=0.03, steps=1, random_start=False)
    got = mim_linf(Scaled(model, scale), images, labels, eps=0.03, steps=1, random_start=False)
    assert torch.equal(got, want)


def test_gradients_do_not_depend_on_the_batch_size(half_spaces):
    model, images, labels = half_spaces(2)
    many = fgsm(Scaled(model, 1e-35), images.repeat(50, 1, 1, 1), labels.repeat(50), eps=0.03)
    assert torch.equal(many[:12], fgsm(model, images, labels, eps=0.03))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_dlr_is_defined_with_ties_and_few_classes(classes):
    logits = torch.tensor([[1.0] * classes, [2.0, 2.0] + [0.0] * (classes - 2)], requires_grad=True)
    for loss in (dlr(logits, torch.tensor([0, 1])), targeted_dlr(logits, torch.tensor([0, 1]), torch.tensor([1, 0]))):
        assert loss.isfinite().all()
        (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
        assert gradient.isfinite().all()
    assert dlr(logits, torch.tensor([0, 1]))[1] == 0


def test_dlr_equals_its_formula():
    logits = torch.tensor([[5.0, 3.0, 1.0, 0.5], [1.0, 4.0, 2.0, 0.0]])
    labels = torch.tensor([0, 0])
    assert torch.allclose(dlr(logits, labels), torch.tensor([-(5 - 3) / (5 - 1), -(1 - 4) / (4 - 1)]))
    want = torch.tensor([-(5 - 3) / (5 - (1 + 0.5) / 2), -(1 - 4) / (4 - (1 + 0) / 2)])
    assert torch.allclose(targeted_dlr(logits, labels, torch.tensor([1, 1])), want)


@pytest.mark.filterwarnings("ignore::RobustART.noise.attacks.AttackWarning")
@pytest.mark.parametrize("classes", [2, 3])
def test_autoattack_works_with_two_and_three_classes(half_spaces, classes):
    model, images, labels = half_spaces(classes, count=4)
    eps = model.distance(images, "Linf") * torch.tensor([1.1, 0.9, 1.1, 0.9])
    log = AttackLog()
    autoattack(model, images, labels, eps=eps, log=log, stage_options={"square": {"steps": 20}})
    assert log.robust.tolist() == [False, True, False, True]
    assert "few_classes" in log.flags


def test_images_a_rounding_error_outside_the_range_are_taken_and_others_refused(half_spaces):
    model, images, labels = half_spaces(2)
    images[0, 0, 0, 0], images[0, 0, 0, 1], images[0, 0, 0, 2] = -2.98e-8, 1 + 1e-7, -0.0
    found = pgd_linf(model, images, labels, eps=0.01)
    assert found.min() >= 0
    assert found.max() <= 1
    images[0, 0, 0, 0] = -1e-3
    with pytest.raises(ConfigError, match=r"in \[0, 1\], got values from -0.001"):
        pgd_linf(model, images, labels, eps=0.01)


@pytest.mark.parametrize(("change", "match"), [
    ({"eps": -0.1}, "eps must be at least 0"),
    ({"eps": float("nan")}, "eps must be at least 0"),
    ({"eps": torch.zeros(3)}, r"eps must be a number or a tensor \(12,\)"),
    ({"steps": -1}, "the attack pgd_linf: steps must be an integer from 0 up, got -1"),
    ({"restarts": 0}, "restarts"),
    ({"stop": "last"}, "stop must be one of 'first' or null, got 'last'"),
    ({"batch_size": 0}, "batch_size"),
    ({"step_size": 0.1, "rel_stepsize": 0.1}, "one of step_size and rel_stepsize"),
    ({"loss": "dir"}, "did you mean 'dlr'"),
    ({"seeds": torch.zeros(3)}, "seeds must be int64"),
])  # fmt: skip
def test_bad_options_are_named(half_spaces, change, match):
    model, images, labels = half_spaces(2)
    with pytest.raises(ConfigError, match=match):
        pgd_linf(model, images, labels, **{"eps": 0.1, **change})


def test_bad_images_labels_norms_and_stages_are_named(half_spaces):
    model, images, labels = half_spaces(2)
    for bad, match in ((images.half(), "float16"), (images[0], r"\(1, 4, 4\)"), (images.numpy(), "ndarray")):
        with pytest.raises(ConfigError, match=match):
            fgsm(model, bad, labels, eps=0.1)
    with pytest.raises(ConfigError, match=r"labels must be in 0..1 for a model of 2 classes, got 0..7"):
        fgsm(model, images, labels * 7, eps=0.1)
    with pytest.raises(ConfigError, match="labels must be integers of shape"):
        fgsm(model, images, labels.float(), eps=0.1)
    with pytest.raises(ConfigError, match="norm must be one of 'Linf', 'L2', 'L1', got 'linf'"):
        square(model, images, labels, eps=0.1, norm="linf")
    with pytest.raises(ConfigError, match="did you mean 'square'"):
        plan(version="custom", attacks=["squar"])
    with pytest.raises(ConfigError, match="version must be one of"):
        plan(version="fast")
    with pytest.raises(ConfigError, match="stage_options names 'fab'"):
        autoattack(model, images, labels, eps=0.1, stage_options={"fab": {}})


def test_models_that_do_not_give_logits_are_explained(half_spaces):
    model, images, labels = half_spaces(2)
    for bad, match in (
        (lambda x: (model(x), None), r"got tuple. Wrap it .*model\(images\)\[0\]"),
        (lambda x: model(x)[:, :1], "K of at least 2"),
        (lambda x: model(x) * torch.nan, "NaN logits"),
        (lambda x: model(x).detach(), "does not depend differentiably"),
    ):
        with pytest.raises(ModelError, match=match):
            pgd_linf(bad, images, labels, eps=0.1)


def test_global_generators_are_not_used(half_spaces):
    model, images, labels = half_spaces(3)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(pgd_linf(model, images, labels, eps=0.05))
    assert torch.equal(*found)
    other = pgd_linf(model, images, labels, eps=0.05, seeds=image_seeds(9, range(12), "x"), steps=0)
    assert not torch.equal(other, pgd_linf(model, images, labels, eps=0.05, steps=0))


def test_flags_are_data_and_warnings(half_spaces):
    model, images, labels = half_spaces(5)
    assert check_model(model, images, labels, ["apgd_t"]) == {}
    assert set(check_model(lambda x: model(x).softmax(1), images, labels)) == {"probabilities"}
    assert set(check_model(lambda x: model(x + 0.1 * torch.randn_like(x)), images, labels)) == {"randomized"}

    def purify(x):
        with torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), model(leaf).argmax(1)), leaf)
        return model(x - 0.01 * gradient)

    # The gradient of a mean over the batch shrinks with the batch.
    assert set(check_model(purify, images, labels)) == {"dynamic", "batch_dependent"}

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.inner(x)

    assert set(check_model(Counting(), images, labels)) == {"dynamic"}
    log = AttackLog()
    with pytest.warns(AttackWarning, match="probabilities"):
        autoattack(
            lambda x: model(x).softmax(1), images, labels, eps=0.01, log=log, version="custom", attacks=["apgd-ce"]
        )
    assert "probabilities" in log.flags


def test_zero_gradients_and_square_are_flagged():
    def stairs(x):  # flat almost everywhere: only a search without gradients gets on
        level = (x.mean((1, 2, 3)) * 1000).floor() / 1000 + 0 * x.sum((1, 2, 3))
        return torch.stack((level - 0.5, 0 * level, 0 * level - 1, 0 * level - 2), 1)

    images = torch.full((8, 1, 6, 6), 0.503)
    log = AttackLog()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AttackWarning)
        autoattack(
            stairs, images, torch.zeros(8, dtype=torch.int64), eps=0.02, log=log,
            stage_options={"apgd_ce": {"steps": 3}, "apgd_t": {"steps": 3}, "fab_t": {"steps": 3}},
        )  # fmt: skip
    assert {"zero_gradients", "square"} <= set(log.flags)
    assert log.broken_by.count("square") >= 4


def test_stages_resume_to_the_same_verdicts(small_net):
    model, images, labels = small_net
    seeds = image_seeds(1, range(20), "aa")
    short = {"apgd_ce": {"steps": 5}, "apgd_t": {"steps": 5}, "fab_t": {"steps": 5}, "square": {"steps": 50}}
    whole = AttackLog()
    autoattack(model, images, labels, eps=0.02, seeds=seeds, log=whole, stage_options=short, checks=False)
    verdict = [None] * 20
    for name, options in plan().items():  # one stage at a time, half of the images at a time
        for half in (range(10), range(10, 20)):
            todo = torch.tensor([i for i in half if verdict[i] is None], dtype=torch.int64)
            log = AttackLog()
            run_stage(
                name, model, images[todo], labels[todo], eps=0.02, seeds=seeds[todo], log=log,
                options=options | short[name],
            )  # fmt: skip
            for i, stage in zip(todo.tolist(), log.broken_by, strict=True):
                verdict[i] = stage
    assert verdict == whole.broken_by
    assert 0 < sum(v is None for v in verdict) < 20
    assert whole.stages == list(short)


@pytest.mark.parametrize("name", [name for name in ATTACKS if not name.startswith(("ddn", "cw", "deepfool", "hop"))])
def test_a_radius_is_needed_where_an_attack_has_one(half_spaces, name):
    model, images, labels = half_spaces(2)
    with pytest.raises(ConfigError, match="eps must be a number"):
        ATTACKS[name](model, images, labels, eps=None)


@pytest.mark.parametrize("restarts", [1, 2])
def test_pgd_l1_leaves_images_alone_that_are_wrong_already(half_spaces, restarts):
    """Its first steps are in larger balls, where being fooled does not count; being wrong from the start does."""
    model, images, labels = half_spaces(2)
    log = AttackLog()
    found = ATTACKS["pgd_l1"](model, images, 1 - labels, eps=0.5, restarts=restarts, stop="first", log=log)
    assert torch.equal(found, images)
    assert log.broken_by == ["clean"] * len(images)
    assert (log.backward["pgd_l1"] == 0).all()


def test_options_of_the_ensemble_reach_every_stage(half_spaces):
    """A batch size of the user's counts in the first stage too, which also asks the questions about the model."""
    import functools

    from RobustART.noise.attacks import autoattack_linf
    from RobustART.noise.attacks.stages import stages_of

    free = stages_of(functools.partial(autoattack_linf, eps=0.1))
    bound = stages_of(functools.partial(autoattack_linf, eps=0.1, batch_size=2, amp="bf16"))
    assert [stage.name for stage in free] == ["apgd_ce", "apgd_t", "fab_t", "square"]
    for option in ("batch_size", "amp"):
        assert all(stage.takes(option) for stage in free)
        assert not any(stage.takes(option) for stage in bound)
