"""The network of the digits: averages 32 x 32 pixels to the 8 x 8 that the pictures really have, then two convolutions."""

from torch import nn


def build(width: int = 32, classes: int = 10) -> nn.Module:
    """Returns a network for images (N, 3, 32, 32), normalised or not; some 100,000 weights at the default width."""
    return nn.Sequential(
        nn.AvgPool2d(4),
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * width, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
