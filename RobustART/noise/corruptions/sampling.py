"""Draws from discrete distributions by inversion, a table look-up for nearly every draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BITS = 32


class InverseTable:
    """Outcomes 0 to K of several distributions, drawn as the number of thresholds that a uniform number reaches.

    The 2**32 values of a uniform integer are cut into bins. Nearly all bins lie between two thresholds, so the outcome
    is in a table; draws in the others are looked up by bisection. The draw is exact to the 32 bits of the number.

    Args:
        cdf: (L, K) probabilities of an outcome of at most 0, 1, ... K - 1, for each of L distributions.
        bits: binary logarithm of the bins per distribution; more make a larger table and fewer bisections.
    """

    def __init__(self, cdf: NDArray[np.float64], bits: int) -> None:
        levels, self.outcomes = cdf.shape
        self.bits = bits
        thresholds = np.ceil(cdf * 2.0**_BITS - 0.5).clip(0, 2.0**_BITS).astype(np.uint64)
        thresholds += np.arange(levels, dtype=np.uint64)[:, None] << np.uint64(_BITS)
        self.thresholds = thresholds.reshape(-1)
        shift = np.uint64(_BITS - bits)
        first = np.arange(levels << bits, dtype=np.uint64) << shift
        base = np.repeat(np.arange(levels) * self.outcomes, 1 << bits)
        low = np.searchsorted(self.thresholds, first, side="right") - base
        high = np.searchsorted(self.thresholds, first + (np.uint64(1) << shift) - np.uint64(1), side="right") - base
        self.unclear = self.outcomes + 1
        kind = np.uint8 if self.unclear < 256 else np.int16
        self.table = np.where(low == high, low, self.unclear).astype(kind)

    def outcome(self, number: NDArray[np.uint32], level: NDArray[np.uint8] | None = None) -> NDArray[Any]:
        """Returns the outcomes of uniform integers.

        Args:
            number: uint32, any shape, uniform over all values.
            level: which distribution each is drawn from, of the same shape; None if there is one only.
        """
        bins = number >> np.uint32(_BITS - self.bits)
        if level is not None:
            bins |= level.astype(np.uint32) << np.uint32(self.bits)
        found = self.table.take(bins)
        unclear = np.flatnonzero(found == self.unclear)
        key = number.reshape(-1)[unclear].astype(np.uint64)
        base = np.zeros(len(unclear), np.int64)
        if level is not None:
            own = level.reshape(-1)[unclear]
            key |= own.astype(np.uint64) << np.uint64(_BITS)
            base += own * np.int64(self.outcomes)
        found.reshape(-1)[unclear] = np.searchsorted(self.thresholds, key, side="right") - base
        return found


def random_words(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Returns uniform integers of 32 bits."""
    return rng.integers(0, 1 << _BITS, shape, dtype=np.uint32)
