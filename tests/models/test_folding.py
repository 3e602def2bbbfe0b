"""The private copy for gradients: the same logits, nearly the same gradients, and a network that is not changed."""

import copy

import pytest
import torch
from timm import create_model
from torch import nn

from RobustART.models import wrap_model
from RobustART.models.folding import folded
from RobustART.models.runtimes import Unsuited

SIZE = {"input_size": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3}


def ready(network):
    """Gives a network running statistics and puts it into evaluation mode."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
    return wrap_model(network, SIZE).eval()


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_the_copy_computes_the_same(name):
    torch.manual_seed(0)
    model = ready(create_model(name, num_classes=10))
    before, modules = copy.deepcopy(model.state_dict()), [type(part) for part in model.modules()]
    images = torch.rand(2, 3, 64, 64)
    ours = folded(model)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in ours.modules())
    answers = []
    for network in (model, ours):
        points = images.clone().requires_grad_()
        logits = network(points)
        answers.append((logits.detach(), torch.autograd.grad(logits.logsumexp(1).sum(), points)[0]))
    spread = answers[0][0].max() - answers[0][0].min()
    assert (answers[0][0] - answers[1][0]).abs().max() <= 1e-5 * spread
    agree = (answers[0][1].sign() == answers[1][1].sign()).float().mean()
    assert agree > 0.99
    assert [type(part) for part in model.modules()] == modules
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(value.requires_grad for value in model.parameters())


class Shared(nn.Module):
    """One convolution before two norms, and one whose output is used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.n, self.m, self.o, self.p = (nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, images):
        one = self.n(self.a(images)) + self.m(self.a(images))
        two = self.b(one)
        return self.p(self.c(self.o(two) + two)).mean((2, 3))


def test_only_pairs_are_folded():
    torch.manual_seed(0)
    model = ready(Shared())
    ours = folded(model)
    assert [name for name, part in ours.named_modules() if isinstance(part, nn.Identity)] == ["network.network.p"]
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(ours(images), model(images), rtol=1e-5, atol=1e-5)


class Asking(Shared):
    def forward(self, images):
        return super().forward(images if images.mean() > 0 else -images)


def test_reasons():
    with pytest.raises(Unsuited, match="no BatchNorm directly follows"):
        folded(ready(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten())))
    with pytest.raises(Unsuited, match="torch.fx cannot trace the network .*control flow"):
        folded(ready(Asking()))
    hooked = ready(Shared())
    hooked.network.a.register_forward_hook(lambda *_: None)
    with pytest.raises(Unsuited, match=r"'network\.a' has hooks"):
        folded(hooked)
