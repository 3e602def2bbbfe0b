"""ImageNet-C's noise in batches: the draws of :mod:`RobustART.noise.corruptions.noise`, looked up on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from RobustART.noise.corruptions import noise
from RobustART.noise.corruptions.device.arrays import Generators, looked_up, on_device, to_uint8
from RobustART.noise.corruptions.sampling import InverseTable, random_words


def _words(images: Tensor, rngs: Generators) -> Tensor:
    """Returns uniform integers of 32 bits for all values, as int64 (N, H, W, 3)."""
    words = np.stack([random_words(rng, tuple(images.shape[1:])) for rng in rngs])
    return on_device(words.view(np.int32), images).long() & 0xFFFFFFFF


def _outcomes(table: InverseTable, words: Tensor, level: Tensor | None = None) -> Tensor:
    """Returns the outcomes of uniform integers, see :meth:`InverseTable.outcome`."""
    level = torch.zeros((), dtype=torch.int64, device=words.device) if level is None else level.long()
    thresholds = on_device(table.thresholds.astype(np.int64), words)
    return torch.searchsorted(thresholds, words | level << 32, right=True) - level * table.outcomes


def gaussian_noise(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`noise.gaussian_noise` of each image."""
    return to_uint8(_outcomes(noise.gaussian_table(severity), _words(images, rngs)) - 255 + images)


def shot_noise(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`noise.shot_noise` of each image."""
    table, grey = noise.shot_table(severity)
    return looked_up(grey, _outcomes(table, _words(images, rngs), images))


def impulse_noise(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`noise.impulse_noise` of each image."""
    words, amount = _words(images, rngs), noise.IMPULSE_AMOUNT[severity - 1] * 2.0**32
    noisy = images.masked_fill(words < int(amount), 0)
    return noisy.masked_fill_(words < int(amount / 2), 255)


def speckle_noise(images: Tensor, severity: int, rngs: Generators) -> Tensor:
    """Returns :func:`noise.speckle_noise` of each image."""
    noisy = on_device(
        np.stack([rng.standard_normal(tuple(images.shape[1:]), dtype=np.float32) for rng in rngs]), images
    )
    noisy *= noise.SPECKLE_SIGMA[severity - 1]
    noisy += 1
    noisy *= images
    return to_uint8(noisy)
