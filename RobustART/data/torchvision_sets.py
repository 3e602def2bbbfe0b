"""CIFAR-10, CIFAR-100, SVHN and STL-10 from the files that torchvision reads and downloads."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from RobustART.data.datasets import DATASETS, ArrayDataset, array_dataset
from RobustART.data.folders import describe
from RobustART.errors import ConfigError, DataError, reason

TIMEOUT = 20.0
"""Seconds to wait for an answer of a server."""
Split = Literal["train", "test"]


@DATASETS.register("cifar10")
def cifar10(
    root_dir: str | Path | None = None, meta_file: str | None = None, *, split: Split = "test", download: bool = False
) -> ArrayDataset:
    """Returns CIFAR-10 from torchvision's files, 32 x 32, ten classes; ``root_dir`` holds ``cifar-10-batches-py``.

    Args:
        root_dir: the folder, or ``cifar-10-batches-py`` itself.
        meta_file: not allowed.
        split: ``train`` or ``test``.
        download: whether to download missing files to ``root_dir``.

    Raises:
        DataError: files are missing or not the published ones, or cannot be downloaded.
    """
    return _read("CIFAR10", root_dir, meta_file, split, download)


@DATASETS.register("cifar100")
def cifar100(
    root_dir: str | Path | None = None, meta_file: str | None = None, *, split: Split = "test", download: bool = False
) -> ArrayDataset:
    """Returns CIFAR-100 as :func:`cifar10`, with its 100 fine classes; ``root_dir`` holds ``cifar-100-python``."""
    return _read("CIFAR100", root_dir, meta_file, split, download)


@DATASETS.register("svhn")
def svhn(
    root_dir: str | Path | None = None, meta_file: str | None = None, *, split: Split = "test", download: bool = False
) -> ArrayDataset:
    """Returns SVHN's cropped digits as :func:`cifar10`; ``root_dir`` holds ``train_32x32.mat`` or ``test_32x32.mat``."""
    return _read("SVHN", root_dir, meta_file, split, download)


@DATASETS.register("stl10")
def stl10(
    root_dir: str | Path | None = None, meta_file: str | None = None, *, split: Split = "test", download: bool = False
) -> ArrayDataset:
    """Returns STL-10's labelled images as :func:`cifar10`, 96 x 96; ``root_dir`` holds ``stl10_binary``."""
    return _read("STL10", root_dir, meta_file, split, download)


def _read(name: str, root_dir: str | Path | None, meta_file: str | None, split: Split, download: bool) -> ArrayDataset:
    from torchvision import datasets

    if root_dir is None or meta_file is not None:
        raise ConfigError(
            f"the data set {name.lower()} needs root_dir, the folder of torchvision's files, and no meta_file"
        )
    kind: Any = getattr(datasets, name)
    root = Path(os.path.abspath(root_dir))
    inside = getattr(kind, "base_folder", "")
    if inside and root.name == inside:
        root = root.parent
    chosen = {"train": split == "train"} if name.startswith("CIFAR") else {"split": split}
    try:
        with _patience():
            data = kind(root, download=download, **chosen)
    except Exception as error:  # torchvision raises RuntimeError and whatever the server or the disk causes
        missing = isinstance(error, RuntimeError) and not download
        where = f"; {describe(root, str(root))}" if root.is_dir() else f"; there is no folder {root}"
        how = (
            f"could not be downloaded to {root}: {reason(error)}"
            if download
            else "is missing, or not as it was published"
        )
        advice = ". torchvision's files are downloaded by kwargs: {download: true}" if not download else ""
        cause = f"{how}{where}{advice}" if missing or download else f"cannot be read from {root}: {reason(error)}"
        raise DataError(f"the data set {name.lower()} {cause}") from None
    images = data.data if name.startswith("CIFAR") else np.ascontiguousarray(data.data.transpose(0, 2, 3, 1))
    labels = [int(label) for label in (data.targets if name.startswith("CIFAR") else data.labels)]
    classes = tuple(map(str, getattr(data, "classes", None) or range(10)))
    found = array_dataset(images, labels, f"{name.lower()}_{split}")
    return ArrayDataset(found.files, found.labels, class_names=classes, name=found.name, images=found.images)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Limits the time that sockets wait for a server."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
