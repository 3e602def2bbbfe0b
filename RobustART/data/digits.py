"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels, which come with scikit-learn."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from RobustART.core.imaging import resize
from RobustART.core.ranges import Natural, Range
from RobustART.data.datasets import DATASETS, ArrayDataset, array_dataset
from RobustART.errors import ConfigError


@DATASETS.register("sklearn_digits")
def sklearn_digits(
    root_dir: str | None = None,
    meta_file: str | None = None,
    *,
    split: Literal["train", "test", "all"] = "all",
    size: Annotated[int, Range(8, 512)] = 8,
    test_fraction: Annotated[float, Range(0, 1, above=True, below=True)] = 0.25,
    seed: Natural = 0,
) -> ArrayDataset:
    """Returns the digits, ten classes, the grey value in all three channels.

    Args:
        root_dir: not used; there are no files.
        meta_file: likewise.
        split: ``train``, ``test`` or ``all``.
        size: side of the images in pixels; above 8 they are enlarged by bilinear interpolation.
        test_fraction: share of each class that belongs to ``test``.
        seed: seed of the split.

    Raises:
        ConfigError: the arguments name files.
    """
    if root_dir is not None or meta_file is not None:
        raise ConfigError("sklearn_digits takes neither root_dir nor meta_file; it has kwargs: split, size, seed")
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.arange(len(digits.target))
    if split != "all":
        rng = np.random.default_rng(seed)
        test = np.zeros(len(chosen), dtype=bool)
        for label in range(10):
            members = rng.permutation(np.flatnonzero(digits.target == label))
            test[members[: round(len(members) * test_fraction)]] = True
        chosen = np.flatnonzero(test == (split == "test"))
    grey = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    pictures = [resize(np.repeat(picture[:, :, None], 3, axis=2), (size, size), "bilinear") for picture in grey]
    return array_dataset(pictures, digits.target[chosen].tolist(), name=f"sklearn_digits_{split}")
