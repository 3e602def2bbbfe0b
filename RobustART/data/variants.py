"""Data sets that store each image in several versions, such as ImageNet-C: one record an image, one cell a version."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from RobustART.data.datasets import IMAGE_SUFFIXES, ImageDataset, Sample
from RobustART.data.imagenet import class_index
from RobustART.data.published import Published
from RobustART.errors import DataError
from RobustART.imaging import Array, decode, read_bytes


class VariantSample(Sample):
    """One image in all its versions; what is not asked for is not read.

    Args:
        dataset: where it belongs.
        image_id: its number there.
        prepare: makes the model's view from a decoded picture.
    """

    def __init__(self, dataset: VariantDataset, image_id: int, prepare: Callable[[Array], Array]) -> None:
        read = functools.partial(dataset.read, image_id)
        super().__init__(
            image_id, dataset.files[image_id], dataset.labels[image_id], read, prepare, dataset.exif_orientation
        )
        self._dataset = dataset
        self._digests: dict[str, str] = {}

    def _read_variant(self, name: str) -> bytes | Array:
        content = self._dataset.read_variant(self.image_id, name)
        data = content if isinstance(content, bytes) else np.ascontiguousarray(content).data
        self._digests[name] = hashlib.blake2b(data, digest_size=8).hexdigest()
        return content

    def variant(self, name: str) -> Array:
        """The model's view of one version, uint8 (S, S, 3)."""
        content, place = self._read_variant(name), f"{name}/{self.filename}"
        try:
            if not isinstance(content, bytes):
                return self._prepare(content)
            if content.startswith(b"\x93NUMPY"):
                return self._prepare(_from_npy(content))
            return self._prepare(decode(content, exif_orientation=self._exif_orientation))
        except DataError as error:
            raise DataError(f"{place}: {error}") from None

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all versions."""
        for name in self._dataset.variants:
            if name not in self._digests:
                self._read_variant(name)
        text = " ".join(self._digests[name] for name in self._dataset.variants)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _from_npy(data: bytes) -> Array:
    try:
        image = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the .npy file cannot be read: {error}") from None
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"a stored picture must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    return np.asarray(image)


@dataclasses.dataclass(frozen=True)
class VariantDataset(ImageDataset):
    """Images of which several versions are stored under ``root``, each in a folder with the same ``files``."""

    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Name of a version to its folder, relative to ``root``."""

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the versions."""
        return tuple(self.folders)

    def read(self, image_id: int) -> bytes | Array:
        """Returns the first version of an image."""
        return self.read_variant(image_id, self.variants[0])

    def read_variant(self, image_id: int, name: str) -> bytes | Array:
        """Returns one version of an image: the bytes of its file, or its pixels."""
        return read_bytes(self.root / self.folders[name] / self.files[image_id])

    def sample(self, image_id: int, prepare: Callable[[Array], Array]) -> VariantSample:
        """Returns one image in all its versions."""
        return VariantSample(self, image_id, prepare)


@dataclasses.dataclass(frozen=True)
class StackedDataset(VariantDataset):
    """Versions held in arrays, as CIFAR-10-C: ``arrays[name][image_id + offsets[name]]``."""

    arrays: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    """Name of a version to pictures uint8 (M, H, W, 3), which may be mapped from a file."""
    offsets: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Row of the version's first image."""

    def read_variant(self, image_id: int, name: str) -> Array:
        """Returns the pixels of one version of an image."""
        return np.array(self.arrays[name][self.offsets[name] + image_id])


def _names(folder: Path) -> list[str]:
    """Returns ``class/file`` of each image of a folder of class folders, sorted."""
    found = []
    with os.scandir(folder) as classes:
        for entry in classes:
            if entry.is_dir() and not entry.name.startswith("."):
                names = os.listdir(entry.path)
                found += [f"{entry.name}/{name}" for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    return sorted(found)


def scan_variants(spec: Published, root: Path, folders: Mapping[str, str]) -> VariantDataset:
    """Returns the images of a published set with one folder of class folders for each version.

    Args:
        spec: the published set.
        root: its folder.
        folders: name of a version to its folder, relative to ``root``.

    Raises:
        DataError: a folder is missing, or the folders do not hold the same images.
    """
    absent = [folder for folder in folders.values() if not (root / folder).is_dir()]
    if absent:
        here = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())[:20]) or "nothing"
        raise spec.missing(
            f"{len(folders)} folders such as {root / absent[0]}", f"{len(absent)} of them are not there (found: {here})"
        )
    names: list[str] = []
    first = ""
    for folder in folders.values():
        found = _names(root / folder)
        if not found:
            raise spec.missing(f"images in {root / folder}/{{wnid}}/", "there are none")
        if not first:
            names, first = found, folder
        elif found != names:
            odd = sorted(set(names) ^ set(found))
            raise spec.missing(
                f"the same images in all {len(folders)} folders",
                f"{folder} has {len(found)} and {first} {len(names)}; {odd[0]} is in only one of them. Restrict the run to "
                "what is complete, or fetch the rest",
            )
    index, class_names = class_index(sorted({name.split("/", 1)[0] for name in names}))
    labels = tuple(index[name.split("/", 1)[0]] for name in names)
    return VariantDataset(tuple(names), labels, root, class_names, name=spec.title, folders=dict(folders))


def listed_variants(
    spec: Published, root: Path, folders: Mapping[str, str], lists: Mapping[str, Sequence[tuple[str, int]]]
) -> VariantDataset:
    """Returns the images that lists name, one list of (path relative to ``root``, label) for each version.

    Raises:
        DataError: a path lies outside its version's folder, or the lists do not name the same images.
    """
    rows: dict[str, int] = {}
    first = ""
    for name, folder in folders.items():
        found: dict[str, int] = {}
        for path, label in lists[name]:
            if not path.startswith(folder + "/"):
                raise spec.missing(f"paths in {folder}/ in the list of {name}", f"it names {path}")
            found[path[len(folder) + 1 :]] = label
        if not found:
            raise spec.missing(f"images in the list of {name}", "it is empty")
        if not first:
            rows, first = found, name
        elif found != rows:
            odd = sorted(file for file in {*rows, *found} if rows.get(file) != found.get(file))[0]
            raise spec.missing(
                "the same images and labels in every list",
                f"{odd} is {found.get(odd, 'not there')} in that of {name} and {rows.get(odd, 'not there')} in that of "
                f"{first}",
            )
    return VariantDataset(tuple(rows), tuple(rows.values()), root, name=spec.title, folders=dict(folders))


def variant_view(sample: Sample, rng: np.random.Generator, *, name: str) -> Array:
    """One stored version of the image, as the model takes it."""
    assert isinstance(sample, VariantSample)
    return sample.variant(name)
