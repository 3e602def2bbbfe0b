"""Blends and targets by hand."""

import numpy as np
import pytest
import torch

from RobustART.config.schema import Config
from RobustART.core.options import build
from RobustART.errors import ConfigError
from RobustART.training.augment.mixing import Mixing, cutmix, mixup, rectangle
from RobustART.training.objectives.smoothing import cross_entropy, soft_cross_entropy, soft_targets


def test_label_smoothing_anchor():
    """0.1 over 1,000 classes."""
    targets = soft_targets(torch.tensor([3]), 1000, 0.1)
    assert targets[0, 3].item() == pytest.approx(0.9001)
    assert targets[0, 4].item() == pytest.approx(0.0001)
    assert targets.sum().item() == pytest.approx(1)
    logits = torch.randn(4, 10)
    labels = torch.tensor([1, 2, 3, 9])
    ours = soft_cross_entropy(logits, soft_targets(labels, 10, 0.1))
    theirs = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.allclose(ours, theirs)
    assert torch.allclose(cross_entropy(logits, labels, 0.1), ours)
    half = cross_entropy(logits.bfloat16(), labels, 0.1)
    assert half.dtype == torch.float32
    assert torch.allclose(half, ours, rtol=1e-2)


IMAGES = torch.stack([torch.zeros(3, 4, 8), torch.ones(3, 4, 8)])
TARGETS = torch.eye(2)
SWAP = torch.tensor([1, 0])


def test_mixup():
    images, targets = mixup(IMAGES, TARGETS, SWAP, 0.75)
    assert images[0].unique().tolist() == [0.25]
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert IMAGES[0].max() == 0


def test_cutmix_targets_are_the_areas():
    images, targets = cutmix(IMAGES, TARGETS, SWAP, 0.75, (0, 4))  # half of each side, clipped at the top
    assert rectangle(4, 8, 0.75, (0, 4)) == (0, 1, 2, 6)
    assert images[0, 0].tolist() == [[0, 0, 1, 1, 1, 1, 0, 0], *[[0.0] * 8] * 3]
    assert targets[0].tolist() == [1 - 4 / 32, 4 / 32]


def test_rectangles_are_rows_and_columns():
    """The original exchanged height and width."""
    assert rectangle(10, 100, 0.0, (5, 50)) == (0, 10, 0, 100)
    assert rectangle(10, 100, 1.0, (5, 50)) == (5, 5, 50, 50)


@pytest.mark.parametrize(("switch_prob", "kinds"), [(0.0, {"mixup"}), (1.0, {"cutmix"}), (0.5, {"mixup", "cutmix"})])
def test_one_or_the_other(switch_prob, kinds):
    mixing, rng = Mixing(0.2, 1.0, switch_prob), np.random.default_rng(0)
    images, targets = IMAGES.repeat(4, 1, 1, 1), torch.eye(8)
    seen = set()
    for _ in range(40):
        mixed, soft = mixing(images, targets, rng)
        values = mixed.unique().tolist()
        seen.add("cutmix" if set(values) <= {0.0, 1.0} else "mixup")
        assert soft.sum(1) == pytest.approx(1)
    assert kinds <= seen or kinds == seen


def test_off_and_impossible():
    assert not Mixing()
    assert Mixing()(IMAGES, TARGETS, np.random.default_rng(0))[0] is IMAGES
    with pytest.raises(ConfigError, match="mixup must be a number from 0 up"):
        build(Config, {"mixup": -1}, "")
