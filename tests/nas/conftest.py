"""A supernet small enough to be trained on digits in seconds."""

from pathlib import Path

import pytest

CONFIG = """
model:
  type: nas:mobilenet_v3
  kwargs:
    num_classes: 10
    channels: [16, 32]
    depths: [[1, 2], [1, 2, 3]]
    strides: [1, 2]
    activations: [relu, hswish]
    squeeze: [false, true]
    widths: [0.5, 0.75, 1.0]
    kernels: [3, 5]
    expansions: [1, 2, 3]
    input_sizes: [8, 12, 16]
    stem: 8
    head: [48, 64]
  preprocessing: {resize: 16, mean: [0.5], std: [0.5]}
optimizer: {type: SGD, kwargs: {momentum: 0.9, weight_decay: 1e-4, nesterov: true}}
lr_scheduler: {type: CosineEpoch, kwargs: {base_lr: 0.02, warmup_lr: 0.1, warmup_epoch: 1, max_epoch: 3}}
data:
  batch_size: 128
  num_workers: 0
  train: {type: sklearn_digits, kwargs: {split: train, size: 16}, transforms: {type: JUSTNORM}}
  test: {type: sklearn_digits, kwargs: {split: test, size: 16}}
saver: {print_freq: 1, val_freq: 11}
training: {device: cpu, objective: {type: supernet, kwargs: {random: 2}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config that trains a supernet on digits, three epochs of 11 steps."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path
