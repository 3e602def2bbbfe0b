"""The supernet answers as any of its sub-networks, by parts of its own weights."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.errors import ConfigError, ModelError, UnknownNameError
from RobustART.models import create_model
from RobustART.nas import Network, Supernet, create_space
from RobustART.nas.networks import part
from tests.nas.test_spaces import SMALL

MOBILE = {
    "channels": [8, 16], "depths": [[1, 2], [1, 2]], "strides": [1, 2], "activations": ["relu", "hswish"],
    "squeeze": [False, True], "widths": [0.5, 1.0], "expansions": [2, 3], "kernels": [3, 5], "input_sizes": [16, 24],
    "stem": 8, "head": [24, 32], "num_classes": 10,
}  # fmt: skip
SPACES = [("resnet", SMALL), ("mobilenet_v3", MOBILE)]


def randomised(space):
    """A supernet whose BatchNorm layers do something, also the last ones of blocks, which begin at zero."""
    torch.manual_seed(0)
    network = Supernet(space)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight, layer.bias, layer.running_mean):
                nn.init.normal_(value)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return network


@pytest.mark.parametrize(("name", "options"), SPACES)
@pytest.mark.parametrize("training", [False, True])
def test_a_subnet_answers_as_the_supernet(name, options, training):
    space = create_space(name, options)
    network = randomised(space)
    rng = np.random.default_rng(0)
    for encoding in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(6))):
        images = torch.randn(4, 3, encoding["input_size"], encoding["input_size"])
        network.set(encoding)
        alone = network.subnet(encoding).train(training)
        assert type(alone) is Network
        assert alone.preprocessing.input_size == encoding["input_size"]
        with torch.no_grad():
            torch.testing.assert_close(network.train(training)(images), alone(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), SPACES)
def test_only_the_largest_moves_the_running_statistics(name, options):
    space = create_space(name, options)
    network = randomised(space).train()
    before = {key: value.clone() for key, value in network.named_buffers()}
    images = torch.randn(4, 3, 24, 24)
    network.set(space.smallest())
    network(images)
    assert all(torch.equal(value, before[key]) for key, value in network.named_buffers())
    for own in (copy.deepcopy(network), network):  # averages of weights are kept in copies
        own.set(space.largest())
        own(images)
        assert not any(torch.equal(value, before[key]) for key, value in own.named_buffers())


@pytest.mark.parametrize(("name", "options"), SPACES)
def test_gradients_reach_the_parts_that_were_used(name, options):
    space = create_space(name, options)
    network = randomised(space)
    with network.together([space.largest(), space.smallest()]):
        logits = network(torch.randn(4, 3, 24, 24))
    assert logits.shape == (2, 4, 10)
    logits[1].square().sum().backward()
    first = network.stages[-1][0].convs[0].conv.weight
    channels = space.plan(space.smallest()).stages[-1][0].convs[0]
    own = first.grad[: channels.outputs, : channels.inputs]
    assert own.abs().sum() > 0
    assert first.grad.count_nonzero() == own.count_nonzero()
    assert all(value.grad is None or value.grad.abs().sum() == 0 for value in network.stages[-1][1].parameters())
    network.zero_grad()
    with network.together([space.largest(), space.smallest()]):
        network(torch.randn(4, 3, 24, 24)).sum().backward()
    assert all(value.grad is not None for value in network.parameters())  # which distributed training relies on
    assert network(torch.randn(1, 3, 24, 24)).shape == (1, 10)


def test_smaller_kernels_are_the_middle_of_larger_ones():
    weights = torch.arange(49.0).view(1, 1, 7, 7)
    assert part(weights, (1, 1, 3, 3)).tolist() == [[[[16, 17, 18], [23, 24, 25], [30, 31, 32]]]]


def test_images_of_another_size_are_resized():
    space = create_space("resnet", SMALL)
    network = randomised(space).eval()
    images = torch.rand(2, 3, 24, 24)
    network.set(space.smallest())
    resized = torch.nn.functional.interpolate(images, (16, 16), mode="bilinear", antialias=True)
    assert torch.equal(network(images), network(resized))


def test_by_name_and_weights_between_supernet_and_subnet(tmp_path):
    supernet = create_model("nas:resnet", **SMALL)
    assert isinstance(supernet.network, Supernet)
    assert (supernet.source, supernet.preprocessing.input_size, supernet.preprocessing.resize) == ("nas:resnet", 24, 27)
    assert any("randomly initialised" in note for note in supernet.notes)
    encoding = supernet.network.space.smallest()
    torch.save({"model": supernet.network.subnet(encoding).state_dict()}, tmp_path / "small.pth")
    small = create_model("nas:resnet", encoding=encoding, weights=str(tmp_path / "small.pth"), **SMALL)
    images = torch.rand(2, 3, 16, 16)
    supernet.network.set(encoding)
    torch.testing.assert_close(small(images), supernet(images))
    with pytest.raises(UnknownNameError, match="did you mean 'nas:resnet'"):
        create_model("nas:resnett")
    with pytest.raises(ModelError, match="'nas' has none, train 'nas:resnet'"):
        create_model("nas:resnet", weights="pretrained")
    with pytest.raises(ConfigError, match="model.kwargs.encoding of nas:resnet must be a mapping"):
        create_model("nas:resnet", encoding=[1])
