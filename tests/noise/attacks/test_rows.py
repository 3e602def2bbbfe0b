"""How many rows are in a batch, and how their passes are counted."""

import pytest
import torch
from torch import nn

from RobustART.noise.attacks import ATTACKS, AttackLog
from RobustART.noise.attacks.victim import Victim


class Sizes(nn.Module):
    """A linear classifier that keeps the size of every batch that it sees with a graph."""

    def __init__(self, values):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.seen = nn.Linear(values, 10), []

    def forward(self, images):
        if images.requires_grad:
            self.seen.append(len(images))
        return 50 * self.layer(images.flatten(1))  # eps below breaks no image


@pytest.mark.parametrize(
    ("name", "side", "options", "rows"),
    [
        ("apgd_t", 8, {}, 4 * 9),
        ("fab_t", 8, {}, 4 * 9),
        ("apgd_t", 64, {}, 16),  # 65,536 values
        ("apgd_t", 64, {"batch_size": 20}, 20),
        ("apgd_t", 160, {}, 4),
        ("apgd_ce", 8, {"restarts": 5}, 4),
    ],
)
def test_targets_fill_the_batch_of_small_images(name, side, options, rows):
    model = Sizes(side * side)
    images = torch.rand(4, 1, side, side)
    log = AttackLog()
    ATTACKS[name](model, images, model(images).argmax(1), eps=1e-5, steps=2, log=log, **options)
    assert max(model.seen) == rows
    assert log.backward[name].tolist() == [sum(model.seen) // 4] * 4


def test_passes_of_the_same_rows_are_added_at_once():
    victim = Victim(lambda images: images.flatten(1), torch.zeros(3, dtype=torch.int64))
    points, some, others = torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), torch.tensor([2, 2])
    for index in (some, some, others, some):
        victim.gradient(points, index, lambda logits: logits[:, 0])
    assert victim.watch.backward.tolist() == [3, 0, 5]
    victim.logits(points, others)
    assert victim.forward_passes.tolist() == [3, 0, 7]
    assert victim.forward_passes.tolist() == [3, 0, 7]
