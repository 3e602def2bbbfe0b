"""Batches in portions: the same numbers, never more than the caches hold."""

import pytest
import torch
from torch import nn

from RobustART.evaluation.portions import Portions


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3, stride=2, dtype=torch.float64)
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return self.layer(images).tanh().mean(dim=(2, 3))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Counting().eval()


def test_logits_and_gradients_are_those_of_the_whole_batch(network):
    images = torch.rand(19, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for model in (network, Portions(network)):
        points = images.clone().requires_grad_()
        logits = model(points)
        logits.square().sum().backward()
        results.append((logits.detach(), points.grad))
    assert network.seen == [19, 4, 4, 4, 4, 3]
    for whole, portions in zip(*results, strict=True):
        torch.testing.assert_close(portions, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("count", "side", "seen"), [(64, 32, [64]), (4, 224, [4]), (2, 1024, [1, 1]), (1, 1024, [1])])
def test_portions_follow_the_size_of_the_images(network, count, side, seen):
    Portions(network)(torch.zeros(count, 3, side, side, dtype=torch.float64))
    assert network.seen == seen
