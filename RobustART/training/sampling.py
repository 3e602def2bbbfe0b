"""Which images a process gets at a step: a pure function, so that a run resumes at any step without saved state.

The batch of a step is cut from one order of all images into the shares of the processes, so that two processes get what one
with a doubled batch gets. The names are the original's, without its faults: its ranked order was the same in every epoch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from RobustART.core.seeding import image_seed, numpy_generator
from RobustART.errors import ConfigError
from RobustART.registry import Registry

Ids = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The sizes that determine which process gets which image at which step."""

    images: int
    """Size of the data set."""
    batch_size: int
    """Images per process and step."""
    world: int = 1
    """Number of processes."""
    steps: int = 1
    """Length of the training."""
    seed: int = 0
    """Seed of the order."""

    @property
    def together(self) -> int:
        """Images per step of all processes."""
        return self.batch_size * self.world

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every image was seen once."""
        return math.ceil(self.images / self.together)

    def positions(self, step: int, rank: int) -> Ids:
        """Returns the numbers of a process's draws of a step, from 1, among all draws of the training."""
        start = (step - 1) * self.together + rank * self.batch_size
        return np.arange(start, start + self.batch_size, dtype=np.int64)


Sampler = Callable[[Plan, int, int], Ids]
"""(plan, step from 1, rank) to image ids (batch_size,)."""

SAMPLERS: Registry[Sampler] = Registry("sampler")
"""The orders in which images are seen."""


@SAMPLERS.register("distributed_epoch")
def by_epoch(plan: Plan, step: int, rank: int) -> Ids:
    """A new permutation of all images in every epoch, padded to whole batches with random images."""
    epoch, within = divmod(step - 1, plan.steps_per_epoch)
    order = _epoch_order(plan.images, plan.steps_per_epoch * plan.together, plan.seed, epoch)
    start = within * plan.together + rank * plan.batch_size
    return order[start : start + plan.batch_size]


@SAMPLERS.register("distributed_iteration")
def by_iteration(plan: Plan, step: int, rank: int) -> Ids:
    """All images, repeated to the length of the training and shuffled as a whole, without borders between epochs.

    Every image is seen equally often, to within one, but not once per epoch. As in the original, the order depends on the
    number of steps.
    """
    total = plan.steps * plan.together
    return shuffled(plan.positions(step, rank), total, image_seed(plan.seed, 0, "train order")) % plan.images


@SAMPLERS.register("ranked_iteration")
def ranked(plan: Plan, step: int, rank: int) -> Ids:
    """Each process owns a contiguous part of the list and runs through new permutations of it."""
    first, last = (plan.images * r // plan.world for r in (rank, rank + 1))
    own = last - first
    positions = (step - 1) * plan.batch_size + np.arange(plan.batch_size, dtype=np.int64)
    rounds, places = np.divmod(positions, own)
    seed = image_seed(plan.seed, rank, "train part")
    parts = [_epoch_order(own, own, seed, int(r))[places[rounds == r]] for r in np.unique(rounds)]
    return np.concatenate(parts) + first


def check_plan(name: str, plan: Plan) -> None:
    """Raises an error if a sampler is unknown or the images are too few for it."""
    SAMPLERS[name]
    if name == "ranked_iteration" and plan.images < plan.world:
        raise ConfigError(
            f"the sampler {name!r} needs an image for each of the {plan.world} processes, got {plan.images}"
        )


@functools.lru_cache(maxsize=2)
def _epoch_order(images: int, length: int, seed: int, epoch: int) -> Ids:
    rng = numpy_generator(seed, epoch, "train epoch")
    order = rng.permutation(images)
    while len(order) < length:
        order = np.concatenate([order, rng.permutation(images)])
    return order[:length].astype(np.int64)


def shuffled(positions: Ids, total: int, key: int) -> Ids:
    """Returns the places of ``positions`` in a random permutation of 0 to ``total - 1``, without making that permutation.

    A Feistel network over the next power of four permutes all numbers of that many bits; what falls outside is permuted
    again until it falls inside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = max(1, math.ceil(math.log2(max(total, 2)) / 2))
    mask = np.uint64((1 << half) - 1)
    keys = np.random.Generator(np.random.PCG64(key)).integers(0, 2**63, 4, dtype=np.uint64)
    values = positions.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left, right = values[outside] >> np.uint64(half), values[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (_mixed(right ^ round_key) & mask)
        values[outside] = left << np.uint64(half) | right
        outside = values >= np.uint64(total)
    return values.astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, see ``seeding``; products wrap around."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)
