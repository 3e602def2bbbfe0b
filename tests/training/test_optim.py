"""Which parameter gets which decay and rate."""

import inspect
import math

import pytest
import torch
from torch import nn

from RobustART.errors import UserError
from RobustART.training.optim import OPTIMIZERS, RANGES, SWITCHES, TIMM, _timm, create_optimizer, named_kinds, set_rate


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4))
        self.dense, self.depthwise = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)
        self.bn, self.ln, self.fc = nn.BatchNorm2d(4), nn.LayerNorm(4), nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.tied = self.fc


def decays(**kwargs):
    net = Net()
    optimizer = create_optimizer(net, "SGD", lr=0.1, kwargs={"weight_decay": 0.5}, **kwargs)
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)]: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}


def test_kinds():
    kinds = {name: kind for name, _, kind in named_kinds(Net())}
    assert kinds == {
        "pos_embed": "other", "dense.weight": "conv_dense_w", "dense.bias": "conv_dense_b",
        "depthwise.weight": "conv_dw_w", "depthwise.bias": "conv_dw_b", "bn.weight": "bn_w", "bn.bias": "bn_b",
        "ln.weight": "bn_w", "ln.bias": "bn_b", "fc.weight": "linear_w", "fc.bias": "linear_b",
    }  # fmt: skip


@pytest.mark.parametrize("off", [None, False, {}, {"fc": False, "norm": False}])
def test_a_mapping_of_false_switches_nothing_on(off):
    assert set(decays(no_wd=off).values()) == {0.5}


def test_no_decay():
    weights = {"dense.weight", "depthwise.weight", "fc.weight"}
    assert {name for name, decay in decays(no_wd=True).items() if decay} == weights
    free = {name for name, decay in decays(no_wd={"norm": True}).items() if not decay}
    assert free == {"bn.weight", "bn.bias", "ln.weight", "ln.bias"}
    free = {name for name, decay in decays(no_wd={"fc": True, "norm": False}).items() if not decay}
    assert free == {"dense.bias", "depthwise.bias", "fc.bias"}


def test_options_of_kinds():
    net = Net()
    pconfig = {
        "conv_dw_b": {"weight_decay": 0.25},
        "conv_b": {"weight_decay": 0.125, "lr": "1/5"},
        "linear_b": {"lr": 0.3},
    }
    optimizer = create_optimizer(
        net, "SGD", lr=0.1, no_wd=True, pconfig=pconfig, kwargs={"weight_decay": 0.5, "momentum": 0.9}
    )
    groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    assert groups[id(net.dense.bias)]["weight_decay"] == 0.125
    assert groups[id(net.depthwise.bias)]["weight_decay"] == 0.25
    assert groups[id(net.fc.bias)]["weight_decay"] == 0.0
    set_rate(optimizer, 0.4, 0.1)
    assert groups[id(net.fc.weight)]["lr"] == 0.4
    assert groups[id(net.dense.bias)]["lr"] == pytest.approx(0.8)
    assert groups[id(net.fc.bias)]["lr"] == pytest.approx(1.2)


@pytest.mark.parametrize("name", [*OPTIMIZERS, *TIMM])
def test_every_optimizer_steps_downhill(name):
    model = nn.Linear(3, 1)
    optimizer = create_optimizer(model, name, lr=1e-3, no_wd={"fc": True})
    before = (model(torch.ones(8, 3)) ** 2).mean()
    before.backward()
    optimizer.step()
    assert (model(torch.ones(8, 3)) ** 2).mean() < before


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("SDG", {}, "unknown optimizer 'SDG'; did you mean 'SGD'"),
        ("SGD", {"kwargs": {"momentm": 0.9}}, "unknown key optimizer.kwargs.momentm; did you mean 'momentum'"),
        ("SGD", {"no_wd": {"bias": True}}, "unknown key optimizer.no_wd.bias; Allowed: fc, norm, embed"),
        ("SGD", {"pconfig": {"conf_b": {}}}, "unknown key optimizer.pconfig.conf_b; did you mean 'conv_b'"),
        ("SGD", {"pconfig": {"conv_b": {"betas": 1}}}, "unknown key optimizer.pconfig.conv_b.betas"),
        (
            "SGD",
            {"pconfig": {"conv_b": {"lr": -1}}},
            "optimizer.pconfig.conv_b.lr must be a number from 0 to .* got -1",
        ),
        ("SGD", {"kwargs": {"nesterov": True}}, "refuses optimizer.kwargs .*Nesterov momentum requires"),
        ("SGD", {"kwargs": {"lr": 1}}, "kwargs.lr is not set here"),
        (
            "SGD",
            {"kwargs": {"weight_decay": -1}},
            "optimizer.kwargs.weight_decay must be a number from 0 to 10000, got -1",
        ),
        ("SGD", {"kwargs": {"weight_decay": math.nan}}, "weight_decay.* got nan"),
        ("SGD", {"kwargs": {"momentum": 1}}, "momentum.* must be a number from 0 to below 1, got 1"),
        ("SGD", {"kwargs": {"momentum": True}}, "momentum.* got True"),
        ("SGD", {"kwargs": {"nesterov": 1}}, "kwargs.nesterov must be true or false, got 1"),
        ("SGD", {"kwargs": {"foreach": 3}}, "kwargs.foreach must be true or false or null, got 3"),
        ("SGD", {"kwargs": {"fused": True, "foreach": True}}, "refuses optimizer.kwargs .*fused"),
        (
            "SGD",
            {"kwargs": {"differentiable": True}},
            "differentiable must be false, got True: nothing is differentiated",
        ),
        ("Adam", {"kwargs": {"capturable": True}}, "capturable must be false, got True"),
        ("Adam", {"kwargs": {"maximize": True}}, "maximize must be false, got True: a training makes its loss smaller"),
        ("Adam", {"kwargs": {"betas": 0.9}}, "betas must be a list of 2 .a number from 0 to below 1 each., got 0.9"),
        ("Adam", {"kwargs": {"betas": [0.9, math.nan]}}, "betas.* got "),
        ("Adam", {"kwargs": {"eps": 0}}, "eps.* must be a number above 0 and at most 1000, got 0"),
        ("LAMB", {"kwargs": {"max_grad_norm": -1}}, "max_grad_norm.* got -1"),
        ("Adam", {"pconfig": {"bn_w": {"betas": ["a", "b"]}}}, r"optimizer\.pconfig\.bn_w\.betas\[0\] must be"),
        (
            "Adam",
            {"pconfig": {"bn_w": {"fused": True}}},
            "bn_w.fused is for all parameters at once; set optimizer.kwargs.fused",
        ),
        (
            "SGD",
            {"pconfig": {"bn_w": {"nesterov": True}}},
            "the options of bn_w, {'nesterov': True}, .*Nesterov momentum",
        ),
        ("SGD", {"pconfig": {"bn_w": {"momentum": 1.5}}}, "momentum.* got 1.5"),
        ("SGD", {"pconfig": {"bn_w": {"weight_decay": None}}}, "weight_decay.* got None"),
    ],
)
def test_what_cannot_be(name, kwargs, message):
    with pytest.raises(UserError, match=message):
        create_optimizer(Net(), name, **{"lr": 0.1, **kwargs})


def test_the_matrices_of_attention_are_linear_layers():
    """torch keeps queries, keys and values in one parameter beside its layers."""
    kinds = {name: kind for name, _, kind in named_kinds(torch.nn.MultiheadAttention(8, 2, add_bias_kv=True))}
    assert kinds["in_proj_weight"] == "linear_w"
    assert kinds["in_proj_bias"] == "linear_b"
    assert kinds["bias_k"] == "other"


RUBBISH = [math.inf, -math.inf, math.nan, "x", -1, 2, [], [1], [-1, 1], [math.nan, 0.9], ["a", "b"], {}, 1e39, 10**400]


@pytest.mark.parametrize("name", [*OPTIMIZERS, *TIMM])
def test_an_option_is_refused_or_trains(name):
    """Every number that a class takes has a range, and nothing inside it breaks a step."""
    build = _timm(TIMM[name]) if name in TIMM else OPTIMIZERS[name]
    found = {k: p.default for k, p in inspect.signature(build).parameters.items() if k not in ("params", "lr", "self")}
    assert {k for k, default in found.items() if not isinstance(default, bool)} <= {*RANGES, *SWITCHES}
    images = torch.ones(4, 3)
    for option in found:
        for value in RUBBISH:
            for where in ({"kwargs": {option: value}}, {"pconfig": {"linear_w": {option: value}}}):
                net = nn.Linear(3, 1)
                try:
                    optimizer = create_optimizer(net, name, lr=1e-3, **where)
                except UserError:
                    continue
                for _ in range(2):
                    optimizer.zero_grad()
                    net(images).square().mean().backward()
                    optimizer.step()
                assert all(p.isfinite().all() for p in net.parameters()), where
