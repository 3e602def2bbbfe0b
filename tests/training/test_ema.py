"""Averages against their closed forms."""

import pytest
import torch
from torch import nn

from RobustART.config.schema import Config
from RobustART.core.options import build
from RobustART.errors import ConfigError
from RobustART.training.ema import Ema, Swa, recalibrate


def walk(average, net, values):
    for step, value in enumerate(values, 1):
        with torch.no_grad():
            net.weight.fill_(value)
        net.num_batches_tracked.fill_(step)
        average.update(step)


@pytest.fixture
def net():
    net = nn.BatchNorm1d(1)
    with torch.no_grad():
        net.weight.fill_(100.0)
    return net


VALUES = [3.0, -1.0, 4.0, 1.0, 5.0, 9.0]


@pytest.mark.parametrize("warmup", [1, 10])
@pytest.mark.parametrize("inner", [1, 2])
@pytest.mark.parametrize("copy_init", [False, True])
def test_closed_form(net, warmup, inner, copy_init):
    ema = Ema(net, decay=0.9, warmup=warmup, inner_T=inner, copy_init=copy_init, use_double=True)
    walk(ema, net, VALUES)
    total, weight, keep = 0.0, 0.0, 1.0
    for step in range(len(VALUES), 0, -1):  # each value times (1 - its decay) times all later decays
        if step % inner == 0:
            decay = min(0.9**inner, (1 + step) / (warmup + step))
            total += keep * (1 - decay) * VALUES[step - 1]
            weight += keep * (1 - decay)
            keep *= decay
    expected = total + keep * 100 if copy_init else total / weight
    assert ema.values["weight"].item() == pytest.approx(expected, rel=1e-12)
    assert ema.values["num_batches_tracked"].item() == 6


def test_the_first_average_is_the_first_weight(net):
    """The original's was 0.0001 of it."""
    ema = Ema(net, decay=0.9999)
    walk(ema, net, [3.0])
    assert ema.values["weight"].item() == 3.0
    walk(ema, net, [3.0] * 100)
    assert ema.values["weight"].item() == pytest.approx(3.0, rel=1e-6)


def test_taken_up_again(net):
    whole, first, second = (Ema(net, decay=0.9) for _ in range(3))
    for step, value in enumerate(VALUES, 1):
        with torch.no_grad():
            net.weight.fill_(value)
        whole.update(step)
        if step == 4:
            second.load_state_dict(first.state_dict())
        (first if step < 4 else second).update(step)
    assert torch.equal(whole.values["weight"], second.values["weight"])
    with pytest.raises(ConfigError, match="averaged weights do not fit the model: .*, w"):
        whole.load_state_dict({"w": torch.zeros(1)})


def test_swa_is_the_mean(net):
    swa = Swa(net, first=2, every=2)
    walk(swa, net, VALUES)
    assert swa.values["weight"].item() == pytest.approx((-1 + 1 + 9) / 3)
    assert swa.count == 3


def test_batchnorm_is_measured_anew():
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(3)).eval()
    batches = [torch.rand(8, 3, 4, 4) for _ in range(5)]
    recalibrate(net, batches)
    assert torch.allclose(net[0].running_mean, torch.cat(batches).mean((0, 2, 3)), atol=1e-6)
    assert net[0].momentum == 0.1
    assert not net.training


def test_statistics_are_the_same_each_time_also_behind_dropout_and_of_several_views():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.BatchNorm2d(4)).eval()
    views = [torch.rand(4, 3, 3, 6, 6) for _ in range(3)]
    found = []
    for batches in (views, views, [batch.flatten(0, 1) for batch in views]):
        recalibrate(net, batches)
        found.append(net[2].running_mean.clone())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert not net[2].training


@pytest.mark.parametrize("kwargs", [{"decay": 1.0}, {"decay": -0.1}, {"inner_T": 0}, {"warmup": 0.5}, {"copy_init": 1}])
def test_what_cannot_be(kwargs):
    with pytest.raises(ConfigError, match=rf"ema\.kwargs\.{next(iter(kwargs))} must be"):
        build(Config, {"ema": {"kwargs": kwargs}}, "")
