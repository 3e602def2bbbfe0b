"""The digits networks under the judges: trains and stores them (``python -m tests.noise.attacks.make_judges``), loads them.

The tests load the stored weights. A network trained in a fixture would be another one on another processor, thread count or
version of torch, and its accuracies with it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

WEIGHTS = Path(__file__).with_name("judges.safetensors")
SHA256 = "2185c9e6141200a68637484ea89ef68bd0c22f8113c1ed817d2c5491a471c132"
TRAINED_ON = 1400
"""The first images of :func:`digits` are for training, the rest is held out."""


def digits() -> tuple[Tensor, Tensor]:
    """Returns scikit-learn's digits in a fixed random order: images (1797, 1, 8, 8) in [0, 1] and labels (1797,)."""
    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))  # numpy guarantees this stream
    return torch.tensor(data.images[order], dtype=torch.float32)[:, None] / 16, torch.tensor(data.target[order])


def network(width: int = 16) -> nn.Sequential:
    """Returns an untrained digits CNN of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, padding=1, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * width, 10),
    )  # fmt: skip


def train(*, adversarial: bool, width: int = 16, seed: int = 0, eps: float = 0.15, epochs: int = 20) -> nn.Sequential:
    """Returns a trained digits CNN: adversarially (PGD-4 in Linf at ``eps``), or plainly."""
    images, labels = (value[:TRAINED_ON] for value in digits())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(width)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(images)).split(100):
                x, y = images[batch], labels[batch]
                low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
                z = x + eps * (2 * torch.rand_like(x) - 1)
                for _ in range(4 if adversarial else 0):
                    z = z.detach().clamp(0, 1).requires_grad_()
                    (gradient,) = torch.autograd.grad(cross_entropy(model(z), y), z)
                    z = torch.minimum(torch.maximum(z + eps / 2 * gradient.sign(), low), high)
                optimizer.zero_grad()
                cross_entropy(model(z.detach() if adversarial else x), y).backward()
                optimizer.step()
    return model.eval()


def load(name: str) -> nn.Sequential:
    """Returns the stored network ``robust`` (adversarially trained) or ``plain``."""
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert digest == SHA256, (
        f"{WEIGHTS.name} has the digest {digest}, not the stored one; run make_judges and update it"
    )
    model = network()
    weights = safetensors.torch.load_file(WEIGHTS)
    model.load_state_dict({key: weights[f"{name}.{key}"].float() for key in model.state_dict()})
    return model.eval()


def main() -> None:
    """Trains both networks, stores their weights in float16 and prints the file's digest."""
    torch.set_num_threads(1)
    weights = {}
    for name in ("robust", "plain"):
        model = train(adversarial=name == "robust")
        weights |= {f"{name}.{key}": value.half().contiguous() for key, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, WEIGHTS)
    print(hashlib.sha256(WEIGHTS.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
