"""Published robustness data sets: what they hold, where they come from, and what is said when they are not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

from RobustART.data.datasets import ImageDataset, check_reader, image_folder
from RobustART.data.folders import enumerate_names, subfolders, what_is_there
from RobustART.data.imagenet import imagenet_class_names, imagenet_wnids
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
    images: int
    """Images, in each cell where it has several."""
    classes: int
    """Classes they are of."""
    unit: str = "images"
    """What is counted."""

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
        root = Path(path)
        if not root.is_dir():
            raise self.missing(str(path), what_is_there(root, lambda _: False))
        return root

    def notes(self, dataset: ImageDataset, classes: Collection[int] | None = None) -> tuple[str, ...]:
        """Returns a warning if a data set has another number of images or classes than the published one.

        Args:
            dataset: what is there.
            classes: of ImageNet's 1,000, those that the published set has; a few that lack are named.
        """
        found = set(dataset.labels)
        if (len(dataset), len(found)) == (self.images, self.classes):
            return ()
        absent = sorted(set(classes or ()) - found)
        wnids = imagenet_wnids() if 0 < len(absent) <= 5 else []
        none_of = f"; none are of {', '.join(wnids[label] for label in absent)}" if wnids else ""
        return (
            f"{self.title} has {len(dataset)} {self.unit} of {len(found)} classes here; the published set has "
            f"{self.images} of {self.classes}{none_of}",
        )


def wnid_folders(
    spec: Published,
    path: object,
    option: str,
    classes: Collection[int] = range(1000),
    decoder: str = "pil",
    exif_orientation: bool = False,
) -> ImageDataset:
    """Returns the images of a published folder of WordNet folders, with the labels of ImageNet-1k, 0 to 999.

    Args:
        spec: the published set.
        path: its folder.
        option: what to call the path in errors.
        classes: of ImageNet's 1,000, those that the set has; a folder of another is refused.
        decoder: one of ``imaging.DECODERS``.
        exif_orientation: turn pictures as their EXIF tag says.

    Raises:
        DataError: it is missing, or its folders are not of these classes.
    """
    check_reader(decoder, exif_orientation)
    root, wnids = spec.folder(path, option), imagenet_wnids()
    allowed = {wnids[label] for label in classes}
    folders = subfolders(root)
    foreign = [folder for folder in folders if folder not in allowed]
    if not folders or foreign:
        there = what_is_there(root, lambda place: bool(allowed.intersection(subfolders(place))))
        if len(foreign) < len(folders):
            names = dict(zip(wnids, imagenet_class_names(), strict=True))
            named = [f"{folder} ({names[folder]})" if folder in names else folder for folder in foreign]
            there = f"of its {len(folders)} folders these are of none of them: {enumerate_names(named)}"
        raise spec.missing(f"folders of its {len(allowed)} classes, {root}/{{wnid}}", there)
    try:
        images = image_folder(root)
    except DataError as error:
        raise spec.missing(f"{root}/{{wnid}}/*", str(error)) from None
    return dataclasses.replace(images, name=spec.title, decoder=decoder, exif_orientation=exif_orientation)


def looks_right(folders: Collection[str]) -> Callable[[Path], bool]:
    """Returns whether a place holds any of the folders (or files) of a published set."""
    return lambda place: any((place / folder).exists() for folder in folders)


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
CIFAR_10_C = Published(
    "CIFAR-10-C", "{corruption}.npy and labels.npy", "https://zenodo.org/record/2535967", 10000, 10
)  # fmt: skip
CIFAR_100_C = Published(
    "CIFAR-100-C", "{corruption}.npy and labels.npy", "https://zenodo.org/record/3555552", 10000, 100
)
CIFAR_C = dataclasses.replace(
    CIFAR_10_C, title="CIFAR-C", source=f"{CIFAR_10_C.source} (CIFAR-10-C) or /3555552 (CIFAR-100-C)"
)
"""Either of the two, as long as its labels are not read."""
IMAGENET_P = Published(
    "ImageNet-P", "{perturbation}/{wnid}/*.mp4", "https://zenodo.org/record/3565846", 50000, 1000, "videos"
)
"""One video of each of ImageNet's validation images: the official generator, make_imagenet_p.py, runs over all of them."""
IMAGENET_S = Published(
    "ImageNet-S", "{decoder}/{resize}/*.npy with a list {decoder}_{resize}.txt",
    "`robustart noise generate --benchmark imagenet_s`, or the original RobustART's generator", 50000, 1000,
)  # fmt: skip
