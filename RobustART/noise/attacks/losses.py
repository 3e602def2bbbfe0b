"""Losses of attacks: logits (N, K) and labels (N,) to one value per image; higher is worse for the model.

Nothing is averaged, so the gradient of an image does not depend on the others in the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_TINY = 1e-12


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the cross-entropy of each image, (N,)."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the largest other logit minus the label's, (N,): positive where the model is wrong."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - own


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the difference of logits ratio (Croce and Hein 2020, https://arxiv.org/abs/2003.01690, equation 6), (N,).

    The denominator is the gap between the largest and the third largest logit. With two classes there is no third one,
    and the second takes its place: the ratio is then -1 or 1 with a zero gradient, so the plain margin is returned.
    """
    if logits.shape[1] < 3:
        return margin(logits, labels)
    order = logits.topk(3, dim=1)
    top, second, third = order.values.unbind(1)
    own = logits.gather(1, labels[:, None])[:, 0]
    # The label's place decides, not its value: with a tie for the first place, one of both is the rival of the other.
    rival = torch.where(order.indices[:, 0] == labels, second, top)
    return (rival - own) / (top - third + _TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Returns the targeted difference of logits ratio (the same, equation 7), (N,): positive where the target leads.

    The denominator is the largest logit minus the mean of the third and fourth. With fewer than four classes there is
    no such mean, and the plain difference is returned.
    """
    pair = logits.gather(1, targets[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]
    if logits.shape[1] < 4:
        return pair
    top = logits.topk(4, dim=1).values
    return pair / (top[:, 0] - top[:, 2:].mean(1) + _TINY)
