"""Mixup and cutmix: blended images with soft labels. At most one of them acts on a batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Which blends are made, and how often."""

    mixup: float = 0.0
    """Alpha of mixup's Beta(alpha, alpha); 0 is off."""
    cutmix: float = 0.0
    """Alpha of cutmix; 0 is off."""
    switch_prob: float = 0.5
    """Probability of cutmix where both are on."""

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Returns new blended images (N, 3, H, W) and their targets (N, K); ``rng`` draws the blend."""
        if not self:
            return images, targets
        by_mixup = self.mixup > 0 and (self.cutmix == 0 or rng.random() > self.switch_prob)
        partners = torch.from_numpy(rng.permutation(len(images))).to(images.device)
        if by_mixup:
            return mixup(images, targets, partners, rng.beta(self.mixup, self.mixup))
        share = rng.beta(self.cutmix, self.cutmix)
        center = int(rng.integers(images.shape[-2])), int(rng.integers(images.shape[-1]))
        return cutmix(images, targets, partners, share, center)


def mixup(images: Tensor, targets: Tensor, partners: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Returns ``share`` of each image and its target plus the rest of its partner's.

    Zhang 2018, https://arxiv.org/abs/1710.09412.

    Args:
        images: (N, 3, H, W) in [0, 1].
        targets: (N, K), rows that sum to 1.
        partners: a permutation of 0 to N - 1.
        share: in [0, 1].
    """
    return images[partners].lerp_(images, share), targets[partners].lerp_(targets, share)


def cutmix(
    images: Tensor, targets: Tensor, partners: Tensor, share: float, center: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Returns each image with a rectangle of its partner's, and targets weighted by the areas in the result.

    Yun 2019, https://arxiv.org/abs/1905.04899.

    Args:
        images: (N, 3, H, W) in [0, 1].
        targets: (N, K), rows that sum to 1.
        partners: a permutation of 0 to N - 1.
        share: share of the area that is kept, before the rectangle is clipped at the border.
        center: centre of the rectangle, (row, column).
    """
    top, bottom, left, right = rectangle(images.shape[-2], images.shape[-1], share, center)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partners][..., top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (images.shape[-2] * images.shape[-1])
    return mixed, targets[partners].lerp_(targets, kept)


def rectangle(height: int, width: int, share: float, center: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns (top, bottom, left, right) of a rectangle of ``1 - share`` of the area, clipped at the border."""
    side = (1 - share) ** 0.5
    rows, columns = int(height * side), int(width * side)
    top, left = center[0] - rows // 2, center[1] - columns // 2
    return max(top, 0), min(top + rows, height), max(left, 0), min(left + columns, width)
