"""Training batches from any step on: decoded and transformed in loader processes, shipped as uint8.

The randomness of an image is seeded from (seed, number of its draw in the training), so a batch depends neither on the
number of loader processes nor on where a run was resumed, and the generators of the main process keep their state.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from RobustART.core.seeding import generators_kept, image_seed, seed_generators
from RobustART.core.workers import work
from RobustART.data import ImageDataset
from RobustART.data.loader import name_images
from RobustART.training.augment.transforms import TrainingView
from RobustART.training.sampling import SAMPLERS, Ids, Plan


@dataclasses.dataclass(frozen=True)
class Batch:
    """The images and labels of one process at one step."""

    images: Tensor
    """From the loader uint8; in objectives float in [0, 1]: (N, 3, H, W), or (N, V, 3, H, W) with several views."""
    labels: Tensor
    """Classes, int64 (N,)."""
    seeds: Tensor
    """A key per image, int64 (N,), for the ``seeds`` of attacks: a new one each time that an image is drawn."""
    step: int = 0
    """Number of the step, from 1."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device, memory_format: torch.memory_format = torch.contiguous_format) -> Batch:
        """Returns the batch on a device, with images as float in [0, 1]."""
        images = self.images.to(device, non_blocking=True).to(torch.float32).div_(255)
        if images.ndim == 4:
            images = images.contiguous(memory_format=memory_format)
        labels, seeds = (value.to(device, non_blocking=True) for value in (self.labels, self.seeds))
        return Batch(images, labels, seeds, self.step)

    def split(self, portions: int) -> list[Batch]:
        """Returns the batch in portions of nearly equal size."""
        parts = (value.tensor_split(portions) for value in (self.images, self.labels, self.seeds))
        return [Batch(images, labels, seeds, self.step) for images, labels, seeds in zip(*parts, strict=True)]

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Returns the batch with a function applied to each of its tensors."""
        return Batch(function(self.images), function(self.labels), function(self.seeds), self.step)


Draw = tuple[int, Ids, Ids]
"""Step, image ids, and numbers of the draws."""


class _Batches:
    """Makes the batch of a draw."""

    def __init__(self, dataset: ImageDataset, view: TrainingView, seed: int) -> None:
        self.dataset, self.view, self.seed = dataset, view, seed

    def __call__(self, draw: Draw) -> Batch:
        step, ids, positions = draw
        keys = [image_seed(self.seed, int(position), "train image") for position in positions]
        with generators_kept():
            images = [self._image(int(i), key) for i, key in zip(ids, keys, strict=True)]
        labels = torch.tensor([self.dataset.labels[int(i)] for i in ids], dtype=torch.int64)
        return Batch(torch.stack(images), labels, torch.tensor(keys, dtype=torch.int64), step)

    def _image(self, image_id: int, key: int) -> Tensor:
        seed_generators(key)
        return self.view(self.dataset.picture(image_id), self.dataset.files[image_id])


def _draws(plan: Plan, sampler: str, rank: int, first: int, repeats: int) -> Iterator[Draw]:
    """Yields the draws of a process, from a given step on; ``repeats`` gives every batch several times in a row."""
    for step in range(first, plan.steps + 1):
        place = (step - 1) // repeats + 1
        yield step, SAMPLERS[sampler](plan, place, rank), plan.positions(place, rank)


def load_batches(
    dataset: ImageDataset,
    view: TrainingView,
    plan: Plan,
    sampler: str,
    *,
    rank: int = 0,
    first: int = 1,
    repeats: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
    prefetch_factor: int | None = None,
) -> Generator[Batch, None, None]:
    """Yields the batches of a process, of the steps ``first`` to ``plan.steps``.

    Args:
        dataset: the images.
        view: the transform of each image.
        plan: how the images are distributed over steps and processes.
        sampler: a name in ``SAMPLERS``.
        rank: number of this process.
        first: the first step.
        repeats: number of consecutive steps with the same batch.
        workers: loader processes; 0 loads in this one.
        pin_memory: put batches into pinned memory.
        prefetch_factor: batches that each loader process prepares ahead.

    Raises:
        DataError: an image cannot be read; the message names it.
        ProcessLostError: a loader process has ended.
    """
    made = work(
        _Batches(dataset, view, plan.seed), _draws(plan, sampler, rank, first, repeats),
        min(workers, max(plan.steps - first + 1, 0)), ahead=prefetch_factor or 2,
        name=lambda draw: name_images(dataset, draw[1].tolist()), remedy="lower data.num_workers or data.batch_size",
    )  # fmt: skip
    with contextlib.closing(made):
        for _, batch in made:
            yield batch.map(Tensor.pin_memory) if pin_memory else batch
