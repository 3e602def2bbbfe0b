"""A training that takes a second: a small network on real digits."""

from pathlib import Path

import pytest

NETWORK = """
from torch import nn


def build(width=8, classes=10, dropout=0.0, bad=False):
    network = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.Dropout(dropout), nn.Flatten(), nn.Linear(32 * width, classes),
    )
    return network
"""

CONFIG = """
model: {{type: "{module}:build", preprocessing: {{input_size: 8, resize: 8, mean: [0.5], std: [0.5]}}}}
optimizer: {{type: SGD, kwargs: {{momentum: 0.9, weight_decay: 1e-4, nesterov: true}}}}
lr_scheduler: {{type: CosineEpoch, kwargs: {{base_lr: 0.02, warmup_lr: 0.1, warmup_epoch: 1, max_epoch: 3}}}}
data:
  batch_size: 128
  num_workers: 0
  train: {{type: sklearn_digits, kwargs: {{split: train}}, transforms: {{type: JUSTNORM}}}}
  test: {{type: sklearn_digits, kwargs: {{split: test}}}}
saver: {{print_freq: 1, val_freq: 11}}
training: {{device: cpu}}
"""


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config that trains on digits, three epochs of 11 steps; its network stands beside it."""
    module = f"network_{abs(hash(str(tmp_path))) % 10**8}"
    (tmp_path / f"{module}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(module=module))
    return path
