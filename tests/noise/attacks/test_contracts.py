"""What every registered attack promises, whatever it does inside."""

import copy

import pytest
import torch
from torch import nn

from RobustART.core.seeding import image_seeds
from RobustART.errors import ConfigError, ModelError
from RobustART.noise.attacks import ATTACKS, AttackLog
from RobustART.noise.attacks.geometry import norms

EPS = {"Linf": 0.05, "L2": 0.4, "L1": 2.0}
QUICK = {
    "square": {"steps": 30},
    "hop_skip_jump_linf": {"iterations": 6, "init_evals": 40}, "hop_skip_jump_l2": {"iterations": 6, "init_evals": 40},
    "cw_l2": {"steps": 20, "search_steps": 2},
    "ddn_l2": {"steps": 20},
    "apgd_ce": {"steps": 12}, "apgd_dlr": {"steps": 12}, "apgd_t": {"steps": 10, "n_targets": 2},
    "fab": {"steps": 8, "restarts": 2}, "fab_t": {"steps": 8, "n_targets": 2},
}  # fmt: skip
STAGES = {
    "apgd_ce": {"steps": 10}, "apgd_t": {"steps": 10}, "fab_t": {"steps": 6}, "square": {"steps": 20},
}  # fmt: skip


def cases():
    for name in ATTACKS:
        options = dict(QUICK.get(name, {}))
        if name.startswith("autoattack"):
            options["stage_options"] = STAGES
        if name.startswith(("apgd", "fab", "square")):
            for norm in EPS:
                yield pytest.param(name, norm, options | {"norm": norm}, id=f"{name}-{norm}")
        else:
            norm = {"l2": "L2", "l1": "L1"}.get(name.rsplit("_", 1)[-1], "Linf")
            yield pytest.param(name, norm, options, id=name)


every_attack = pytest.mark.parametrize(("name", "norm", "options"), list(cases()))
pytestmark = pytest.mark.filterwarnings("ignore::RobustART.noise.attacks.AttackWarning")


@every_attack
@pytest.mark.parametrize("stop", [None, "first"])
def test_result_is_new_inside_the_ball_and_the_box(small_net, name, norm, options, stop):
    model, images, labels = small_net
    images = images.float()
    eps = torch.linspace(0, EPS[norm], len(images))
    before, log = images.clone(), AttackLog()
    found = ATTACKS[name](model.float(), images, labels, eps=eps, stop=stop, log=log, **options)
    assert torch.equal(images, before)
    assert found.data_ptr() != images.data_ptr()
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert found.isfinite().all()
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert (norms(found.double() - images.double(), norm) <= eps + 1e-6).all()
    assert torch.equal(found[0], images[0])
    with torch.no_grad():
        wrong = model(found).argmax(1) != labels
    assert wrong[~log.robust].all(), "every success claimed is one"
    assert 1 <= (~log.robust).sum() < len(images), "the radii here reach from hopeless to easy"


@every_attack
def test_eps_zero_returns_the_input(small_net, name, norm, options):
    model, images, labels = small_net
    assert torch.equal(ATTACKS[name](model, images, labels, eps=0.0, **options), images)
    assert ATTACKS[name](model, images[:0], labels[:0], eps=0.1, **options).shape == (0, 3, 6, 6)


@every_attack
def test_verdicts_do_not_depend_on_batch_or_order(small_net, name, norm, options):
    model, images, labels = small_net
    seeds, eps = image_seeds(3, range(len(images)), "cell"), 0.6 * EPS[norm]

    def verdict(order, batch_size, split):
        found = torch.zeros(len(images), dtype=torch.bool)
        for part in order.split(split):
            log = AttackLog()
            ATTACKS[name](
                model, images[part], labels[part], eps=eps, seeds=seeds[part], stop="first", batch_size=batch_size,
                log=log, **options,
            )  # fmt: skip
            found[part] = ~log.robust
        return found

    everything = torch.arange(len(images))
    whole = verdict(everything, None, len(images))
    assert torch.equal(verdict(everything, 3, len(images)), whole)
    assert torch.equal(verdict(everything, None, 1), whole)
    assert torch.equal(verdict(everything.flip(0), 7, 13), whole)


@every_attack
def test_model_and_generators_are_as_before_even_after_an_exception(small_net, name, norm, options):
    class Trap(nn.Module):
        def __init__(self, inner, fuse):
            super().__init__()
            self.inner, self.fuse = inner, fuse
            self.noise = nn.BatchNorm2d(3).double()

        def forward(self, x):
            self.fuse -= 1
            torch.rand(1)
            if self.fuse == 0:
                raise KeyError("trap")
            return self.inner(self.noise(x))

    inner, images, labels = small_net
    for fuse in (-1, 3):
        model = Trap(inner, fuse).train()
        model.noise.eval()
        model.inner[0].bias.requires_grad_(False)
        modes = [part.training for part in model.modules()]
        state = {key: value.clone() for key, value in model.state_dict().items()}
        rng = torch.get_rng_state()
        try:
            ATTACKS[name](model, images, labels, eps=EPS[norm], **options)
            assert fuse == -1 or name == "fgsm"
        except ModelError:
            assert fuse == 3
        assert torch.equal(torch.get_rng_state(), rng)
        assert [part.training for part in model.modules()] == modes
        assert [value.requires_grad for value in model.inner.parameters()] == [True, False, True, True]
        assert all(value.grad is None for value in model.parameters())
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        model.inner[0].bias.requires_grad_(True)


@every_attack
def test_images_wrong_from_the_start_cost_one_pass_and_stay(small_net, name, norm, options):
    model, images, labels = small_net
    wrong = (labels + 1) % 5
    log = AttackLog()
    options = options | ({"checks": False} if name.startswith("autoattack") else {})
    found = ATTACKS[name](model, images, wrong, eps=EPS[norm], stop="first", log=log, **options)
    assert torch.equal(found, images)
    assert log.broken_by == ["clean"] * len(images)
    assert sum(int(passes.sum()) for passes in log.forward.values()) <= 2 * len(images)
    if name != "fgsm":
        assert sum(int(passes.sum()) for passes in log.backward.values()) == 0


TARGETED = [case for case in cases() if not case.values[0].startswith(("autoattack", "deepfool"))]


@pytest.mark.parametrize(("name", "norm", "options"), TARGETED)
def test_targeted_attacks_lead_to_their_target(small_net, name, norm, options):
    model, images, _ = small_net
    with torch.no_grad():
        second = model(images).topk(2).indices[:, 1]
    log = AttackLog()
    options = options | ({"steps": 60, "initial_const": 1.0} if name == "cw_l2" else {})
    found = ATTACKS[name](model, images, second, eps=3 * EPS[norm], targeted=True, log=log, **options)
    with torch.no_grad():
        hit = model(found).argmax(1) == second
    assert torch.equal(hit, ~log.robust)
    assert hit.float().mean() > 0.5


@pytest.mark.parametrize("name", list(ATTACKS))
def test_half_precision_models_and_odd_layouts(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 5, 3)).eval()
    images = torch.rand(6, 5, 7, 2).permute(0, 3, 1, 2)  # not contiguous: channels_last, and not square
    with torch.no_grad():
        labels = model(images).argmax(1)
    options = QUICK.get(name, {}) | ({"stage_options": STAGES} if name.startswith("autoattack") else {})
    if name.startswith("autoattack_l1"):
        options["stage_options"] = STAGES | {"apgd_ce": {"steps": 10, "restarts": 1}}
    for one in (model.to(memory_format=torch.channels_last), copy.deepcopy(model).half(), model.bfloat16()):
        for eps in (0.05, torch.full((6,), 0.05)):
            found = ATTACKS[name](one, images, labels.to(torch.int32), eps=eps, stop="first", **options)
            assert found.dtype == torch.float32
            assert found.isfinite().all()
    with torch.inference_mode():
        assert ATTACKS[name](model, images.clone(), labels.clone(), eps=0.05, **options).shape == images.shape


@every_attack
def test_bf16_proposes_and_float32_confirms(small_net, name, norm, options):
    """Every success claimed is one of the float32 model, though the passes that found it were in bfloat16."""
    model, images, labels = small_net
    model, images = model.float(), images.float()
    kinds = set()

    def spy(x):
        kinds.add((torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()))
        return model(x)

    log = AttackLog()
    if name.startswith("autoattack"):
        options = {**options, "checks": False}  # these take gradients in float32
    found = ATTACKS[name](spy, images, labels, eps=EPS[norm], amp="bf16", stop="first", log=log, **options)
    with torch.no_grad():
        wrong = model(found).argmax(1) != labels
    assert wrong[~log.robust].all()
    assert (~log.robust).any()
    assert (norms(found.double() - images.double(), norm) <= EPS[norm] + 1e-6).all()
    gradient = not name.startswith(("square", "hop_skip_jump"))
    assert (True, gradient) in kinds, "proposals are in bfloat16"
    assert (False, False) in kinds, "verdicts are not"
    assert (False, True) not in kinds


def test_amp_is_bf16_or_nothing(small_net):
    model, images, labels = small_net
    with pytest.raises(ConfigError, match="the attack fgsm: amp must be one of 'bf16' or null, got 'fp16'"):
        ATTACKS["fgsm"](model, images, labels, eps=0.1, amp="fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
@pytest.mark.parametrize("name", list(ATTACKS))
def test_labels_and_seeds_on_another_device(small_net, name):
    model, images, labels = small_net
    found = ATTACKS[name](
        model.cuda(), images.cuda(), labels, eps=0.1, seeds=image_seeds(0, range(20), "x"), **QUICK.get(name, {})
    )
    assert found.device.type == "cuda"
