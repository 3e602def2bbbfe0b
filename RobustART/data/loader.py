"""The views of images, made in loader processes and shipped as uint8: one decode for all of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from RobustART.core.imaging import Array
from RobustART.core.seeding import numpy_generator
from RobustART.core.workers import work
from RobustART.data.datasets import ImageDataset
from RobustART.data.samples import Sample
from RobustART.errors import DataError, UserError, reason

View = Callable[[Sample, np.random.Generator], Array]
"""Makes a cell's view of an image, uint8 (S, S, 3), from a sample and the generator of that image and that cell.

A view with an attribute ``draws`` has the generator of that name instead of its cell's: so the frames of one sequence,
each of which is a cell, are made from the same draws.
"""


def generator_of(view: View, seed: int, image_id: int, name: str) -> np.random.Generator:
    """Returns a view's generator for an image; ``name`` is that of its cell."""
    return numpy_generator(seed, image_id, getattr(view, "draws", name))


Group = tuple[Tensor, list[str]]
"""The views of some images, uint8 (images, views, S, S, 3), and a digest of each image's file."""


class _Views:
    """Makes the views of a group of images."""

    def __init__(
        self, dataset: ImageDataset, views: Mapping[str, View], prepare: Callable[[Array], Array], size: int, seed: int
    ) -> None:
        self.dataset, self.views, self.prepare, self.size, self.seed = dataset, views, prepare, size, seed

    def __call__(self, group: Sequence[int]) -> Group:
        samples = [self.dataset.sample(image_id, self.prepare) for image_id in group]
        made = np.empty((len(samples), len(self.views), self.size, self.size, 3), np.uint8)
        for sample, images in zip(samples, made, strict=True):
            for place, (name, view) in enumerate(self.views.items()):
                try:
                    image = view(sample, generator_of(view, self.seed, sample.image_id, name))
                except UserError:
                    raise
                except Exception as error:
                    raise DataError(f"the view {name!r} of {sample.filename} fails: {reason(error)}") from error
                if image.dtype != np.uint8 or image.shape != images[place].shape:
                    raise DataError(
                        f"the view {name!r} of {sample.filename} must be uint8 ({self.size}, {self.size}, 3), "
                        f"got {image.dtype} {image.shape}"
                    )
                images[place] = image
        return torch.from_numpy(made), [sample.digest for sample in samples]


def name_images(dataset: ImageDataset, ids: Sequence[int]) -> str:
    """Returns what to call some images in an error: the first one's file, and how many more there are."""
    return f"{dataset.files[ids[0]]}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")


def load_views(
    dataset: ImageDataset,
    groups: Sequence[Sequence[int]],
    views: Mapping[str, View],
    prepare: Callable[[Array], Array],
    *,
    size: int,
    seed: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> Generator[Group, None, None]:
    """Yields the views of each group of images, in order, as uint8 (images, views, size, size, 3), and their digests.

    Args:
        dataset: the images.
        groups: image ids; one group is made by one process.
        views: names to views; a view's generator depends on (seed, image id, name), see :func:`generator_of`.
        prepare: makes the model's view from a decoded image.
        size: side of every view.
        seed: seed of the noise.
        workers: loader processes; 0 works in this one.
        pin_memory: whether to put the result into pinned memory.

    Raises:
        DataError: an image cannot be read; the message names it.
        ProcessLostError: a loader process has ended.
    """
    made = work(
        _Views(dataset, views, prepare, size, seed), groups, min(workers, len(groups)),
        name=functools.partial(name_images, dataset),
    )  # fmt: skip
    with contextlib.closing(made):
        for _, (pixels, digests) in made:
            yield (pixels.pin_memory() if pin_memory else pixels), digests
