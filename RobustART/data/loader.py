"""The views of images, made in loader processes and shipped as uint8: one decode for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from RobustART.core.imaging import Array
from RobustART.core.plugins import import_plugins, imported_plugins
from RobustART.core.seeding import numpy_generator
from RobustART.data.datasets import ImageDataset
from RobustART.data.samples import Sample
from RobustART.errors import DataError, UserError

View = Callable[[Sample, np.random.Generator], Array]
"""How a cell sees an image: uint8 (S, S, 3) from a sample and a generator of that image and that cell.

A view with an attribute ``draws`` has the generator of that name instead of its cell's: so the frames of one sequence,
each of which is a cell, are made from the same draws.
"""


def generator_of(view: View, seed: int, image_id: int, name: str) -> np.random.Generator:
    """Returns a view's generator for an image; ``name`` is that of its cell."""
    return numpy_generator(seed, image_id, getattr(view, "draws", name))


Group = tuple[Tensor, list[str]]
"""The views of some images, uint8 (images, views, S, S, 3), and a digest of each image's file."""


class _Views(Dataset[Group]):
    """Item i is the i-th group of images, or the error it ran into."""

    def __init__(
        self,
        dataset: ImageDataset,
        groups: Sequence[Sequence[int]],
        views: Mapping[str, View],
        prepare: Callable[[Array], Array],
        size: int,
        seed: int,
    ) -> None:
        self.dataset, self.groups, self.views = dataset, groups, views
        self.prepare, self.size, self.seed = prepare, size, seed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Group | UserError:  # type: ignore[override]
        try:
            samples = [self.dataset.sample(image_id, self.prepare) for image_id in self.groups[index]]
            rows = [self._views(sample) for sample in samples]
            digests = [sample.digest for sample in samples]
        except UserError as error:
            return error  # raised by the main process, without the traceback of a worker
        return torch.from_numpy(np.stack(rows)), digests

    def _views(self, sample: Sample) -> Array:
        rows = []
        for name, view in self.views.items():
            image = view(sample, generator_of(view, self.seed, sample.image_id, name))
            if image.dtype != np.uint8 or image.shape != (self.size, self.size, 3):
                raise DataError(
                    f"the view {name!r} of {sample.filename} must be uint8 ({self.size}, {self.size}, 3), "
                    f"got {image.dtype} {image.shape}"
                )
            rows.append(image)
        return np.stack(rows)


def begin_worker(plugins: Sequence[str], _: int = 0) -> None:
    """Prepares a loader process: one thread, and the user's own modules, which a process that is not forked lacks."""
    limit_threads()
    import_plugins(plugins, "imports")


def limit_threads(_: int = 0) -> None:
    """Keeps this process to one thread: where processes are the parallelism, more threads would fight over the cores."""
    torch.set_num_threads(1)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(0)


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
) -> Iterator[Group]:
    """Yields the views of each group of images, in order, as uint8 (images, views, size, size, 3), and their digests.

    Args:
        dataset: the images.
        groups: image ids; one group is made by one process.
        views: names to views; a view's generator depends on (seed, image id, name), see :func:`generator_of`.
        prepare: makes the model's view from a decoded picture.
        size: side of every view.
        seed: seed of the noise.
        workers: loader processes; 0 works in this one.
        pin_memory: whether to put the result into pinned memory.

    Raises:
        DataError: an image cannot be read; the message names it.
    """
    source = _Views(dataset, groups, views, prepare, size, seed)
    loader = DataLoader(
        source,
        batch_size=None,
        num_workers=min(workers, len(groups)),
        worker_init_fn=functools.partial(begin_worker, imported_plugins()),
        pin_memory=False,
    )
    for item in loader:
        if isinstance(item, UserError):
            raise item
        made, digests = item
        yield (made.pin_memory() if pin_memory else made), digests
