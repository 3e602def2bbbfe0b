"""Targets and losses of training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_targets(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Returns targets (N, K): ``1 - s + s / K`` for the label, ``s / K`` for all others.

    Label smoothing is of Szegedy 2016, https://arxiv.org/abs/1512.00567.

    Args:
        labels: (N,), int64.
        classes: K.
        smoothing: s in [0, 1).
    """
    return F.one_hot(labels, classes).to(torch.float32).mul_(1 - smoothing).add_(smoothing / classes)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean over images of the cross-entropy between targets (N, K) and the softmax of logits (N, K)."""
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    return F.cross_entropy(logits, targets.to(logits.dtype))


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Returns the mean cross-entropy for the targets of :func:`soft_targets`, without building them.

    Args:
        logits: (N, K).
        labels: (N,), int64.
        smoothing: s in [0, 1).
    """
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)
