"""Models and images for the attack tests: small, on the CPU, the same on every machine."""

import pytest
import torch
from torch import nn

from tests.noise.attacks import make_judges


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The models are too small to share among threads, which only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class HalfSpaces(nn.Module):
    """A linear classifier of small images: the distance to its boundaries is known in closed form."""

    def __init__(self, classes, shape=(1, 4, 4), seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = shape[0] * shape[1] * shape[2]
        self.weight = nn.Parameter(torch.randn(classes, size, generator=generator))
        self.bias = nn.Parameter(-self.weight.detach().sum(1) / 2)  # all boundaries meet in the middle of the box

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias

    @torch.no_grad()
    def distance(self, x, norm):
        """The exact distance of each image to the nearest boundary of its class, (N,), where the box does not bind."""
        logits = self(x)
        top = logits.argmax(1)
        dual = {"Linf": 1, "L2": 2, "L1": torch.inf}[norm]
        gap = logits.gather(1, top[:, None]) - logits
        size = torch.linalg.vector_norm(self.weight[top][:, None] - self.weight[None], dual, dim=2)
        return (gap / size).scatter(1, top[:, None], torch.inf).amin(1)


@pytest.fixture
def half_spaces():
    """(classes) to a linear model, images near the middle of [0, 1], and the model's own labels."""

    def make(classes, count=12, shape=(1, 4, 4)):
        model = HalfSpaces(classes, shape).eval()
        generator = torch.Generator().manual_seed(1)
        images = 0.5 + 0.1 * (2 * torch.rand(2000, *shape, generator=generator) - 1)
        # Far enough from the boundary to measure, and near enough for one value to cross it without meeting the box.
        reach = model.distance(images, "L1")
        images = images[(reach > 0.1) & (reach < 0.3)][:count]
        assert len(images) == count
        with torch.no_grad():
            labels = model(images).argmax(1)
        return model, images, labels

    return make


@pytest.fixture
def small_net():
    """A small random float64 network of five classes with images (20, 3, 6, 6) that it gets right."""
    generator = torch.Generator().manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 5)).double()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
    images = torch.rand(20, 3, 6, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        labels = model(images).argmax(1)
    return model.eval(), images, labels


@pytest.fixture(scope="session")
def digits():
    """Shuffled digits, (1797, 1, 8, 8) in [0, 1], and labels; networks were trained on the first 1400."""
    return make_judges.digits()


@pytest.fixture(scope="session")
def robust_model():
    """A digits CNN after adversarial training in Linf at 0.15, from stored weights."""
    return make_judges.load("robust")


@pytest.fixture(scope="session")
def plain_model():
    """The same without adversarial training."""
    return make_judges.load("plain")
