"""Published robustness data sets: what they hold, where they come from, and what is said when they are not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from RobustART.data.datasets import ImageDataset, image_folder
from RobustART.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Published:
    """One published data set."""

    title: str
    """As papers call it."""
    layout: str
    """What its folder holds."""
    source: str
    """Where it comes from."""
    images: int | None = None
    """Images, in each cell where it has several; None where no source says."""
    classes: int | None = None
    """Classes they are of."""

    def missing(self, looked_for: str, found: str) -> DataError:
        """Returns the error for a data set that is not there, or not whole."""
        return DataError(
            f"{self.title} is looked for as {looked_for}, but {found}. It is laid out as {self.layout}; it comes from "
            f"{self.source}"
        )

    def folder(self, path: object, option: str) -> Path:
        """Returns a folder that exists, or raises what says how to get it."""
        if not isinstance(path, (str, Path)):
            raise ConfigError(f"{option} must be a folder, got {path!r}")
        if not Path(path).is_dir():
            raise self.missing(str(path), "there is no such folder")
        return Path(path)

    def notes(self, dataset: ImageDataset) -> tuple[str, ...]:
        """Returns a warning if a data set has another number of images or classes than the published one."""
        classes = len(set(dataset.labels))
        if (self.images in (None, len(dataset))) and (self.classes in (None, classes)):
            return ()
        return (
            f"{self.title} has {len(dataset)} images of {classes} classes here; the published set has {self.images} of "
            f"{self.classes}",
        )


def wnid_folders(spec: Published, path: object, option: str) -> ImageDataset:
    """Returns the images of a published folder of WordNet folders, with the labels of ImageNet-1k, 0 to 999.

    Raises:
        DataError: it is missing, or its folders are not WordNet ids of ImageNet-1k.
    """
    root = spec.folder(path, option)
    try:
        images = image_folder(root)
    except DataError as error:
        raise spec.missing(f"{root}/{{wnid}}/*", str(error)) from None
    if images.class_names is not None:
        raise spec.missing(f"{root}/{{wnid}}/*", f"its folders are {', '.join(images.class_names[:3])}, ...")
    return images


IMAGENET_A = Published(
    "ImageNet-A", "{wnid}/*.jpg", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar", 7500, 200
)
IMAGENET_O = Published(
    "ImageNet-O", "{wnid}/*.jpg", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar", 2000, 200
)
IMAGENET_R = Published(
    "ImageNet-R", "{wnid}/*.jpg", "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar", 30000, 200
)
IMAGENET_V2 = Published(
    "ImageNet-V2", "{0..999}/*.jpeg", "https://huggingface.co/datasets/vaishaal/ImageNetV2", 10000, 1000
)
IMAGENET_SKETCH = Published(
    "ImageNet-Sketch", "{wnid}/*.JPEG", "https://github.com/HaohanWang/ImageNet-Sketch", 50889, 1000
)
IMAGENET_C = Published(
    "ImageNet-C", "{corruption}/{1..5}/{wnid}/*.JPEG", "https://zenodo.org/record/2235448", 50000, 1000
)
IMAGENET_C_BAR = Published(
    "ImageNet-C-bar", "{corruption}/{1..5}/{wnid}/*.JPEG",
    "https://dl.fbaipublicfiles.com/inc_bar/imagenet_c_bar.tar.gz", 50000, 1000,
)  # fmt: skip
IMAGENET_3DCC = Published(
    "ImageNet-3DCC", "{corruption}/{1..5}/{wnid}/*.JPEG", "https://3dcommoncorruptions.epfl.ch", 50000, 1000
)
CIFAR_C = Published(
    "CIFAR-C", "{corruption}.npy and labels.npy", "https://zenodo.org/record/2535967 (CIFAR-10-C) or /3555552 "
    "(CIFAR-100-C)", 10000,
)  # fmt: skip
IMAGENET_P = Published("ImageNet-P", "{perturbation}/{wnid}/*.mp4", "https://zenodo.org/record/3565846")
IMAGENET_S = Published(
    "ImageNet-S", "{decoder}/{resize}/*.npy with a list {decoder}_{resize}.txt",
    "`robustart noise generate --benchmark imagenet_s`, or the original RobustART's generator",
)  # fmt: skip
