"""Synthetic images, to try a configuration before the data are available."""

from __future__ import annotations

import dataclasses

import numpy as np

from RobustART.core.imaging import Array, resize
from RobustART.core.ranges import Count, Natural
from RobustART.data.datasets import DATASETS, ImageDataset

FAKE_NOTE = "the images are made up (the data set 'fake'), so these numbers say nothing about a model"
"""Warning for reports on them."""


@dataclasses.dataclass(frozen=True)
class FakeDataset(ImageDataset):
    """Random patches of colour, different in every image, made when an image is read."""

    size: int = 256
    """Side of the images in pixels."""
    seed: int = 0
    """Seed of the images."""

    def read(self, image_id: int) -> Array:
        """Returns the pixels of one image."""
        number = int(self.files[image_id])  # of the whole set, so that an image of a subset stays the same
        blots = np.random.default_rng([self.seed, number]).integers(0, 256, (7, 7, 3), dtype=np.uint8)
        return resize(blots, (self.size, self.size), "bilinear")


@DATASETS.register("fake")
def fake(
    root_dir: object = None,
    meta_file: object = None,
    *,
    images: Count = 1024,
    classes: Count = 1000,
    size: Count = 256,
    seed: Natural = 0,
) -> FakeDataset:
    """Returns synthetic images with labels; every report on them has a warning.

    Args:
        root_dir: not used, so that ``data.train.type: fake`` alone tries a config that names real folders.
        meta_file: likewise.
        images: how many.
        classes: labels go from 0 to this, one after the other.
        size: side of the images in pixels.
        seed: seed of the images.
    """
    files = tuple(f"{i:08d}" for i in range(images))
    labels = tuple(i % classes for i in range(images))
    return FakeDataset(files, labels, name="fake", note=FAKE_NOTE, size=size, seed=seed)
