"""Data sets that store each image in several versions, such as ImageNet-C: one record an image, one cell a version."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from RobustART.core.imaging import Array, decode
from RobustART.core.imaging.npy import from_npy
from RobustART.core.published_set import PublishedSet
from RobustART.data.datasets import ImageDataset
from RobustART.data.folders import IMAGE_SUFFIXES, Dropped, dropped_note, enumerate_names, list_classes, what_is_there
from RobustART.data.imagenet import WNIDS, FolderLabels, folder_labels, imagenet_wnids
from RobustART.data.published import looks_right, missing
from RobustART.data.samples import Sample, content_digest
from RobustART.errors import DataError


class VariantSample(Sample):
    """One image in all its versions, each of which is read when it is needed."""

    def __init__(self, dataset: VariantDataset, image_id: int, prepare: Callable[[Array], Array]) -> None:
        read = functools.partial(dataset.read, image_id)
        super().__init__(
            image_id, dataset.files[image_id], dataset.labels[image_id], read, prepare, dataset.exif_orientation,
            dataset.decoder,
        )  # fmt: skip
        self._dataset = dataset
        self._digests: dict[str, str] = {}

    def _read_variant(self, name: str) -> bytes | Array:
        content = self._dataset.read_variant(self.image_id, name)
        self._digests[name] = content_digest(content)
        return content

    def variant(self, name: str) -> Array:
        """The model's view of one version, uint8 (S, S, 3)."""
        content, place = self._read_variant(name), f"{name}/{self.filename}"
        try:
            if not isinstance(content, bytes):
                return self._prepare(content)
            if content.startswith(b"\x93NUMPY"):
                return self._prepare(_from_npy(content))
            return self._prepare(decode(content, exif_orientation=self._exif_orientation, decoder=self._decoder))
        except DataError as error:
            raise DataError(f"{place}: {error}") from None

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all versions."""
        for name in self._dataset.variants:
            if name not in self._digests:
                self._read_variant(name)
        text = " ".join(self._digests[name] for name in self._dataset.variants)
        return content_digest(text.encode())


def _from_npy(data: bytes) -> Array:
    image = from_npy(data, "the file")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"a stored image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    return np.array(image, order="C")


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
        return self.read_file(self.root / self.folders[name], image_id)

    def sample(self, image_id: int, prepare: Callable[[Array], Array]) -> VariantSample:
        """Returns one image in all its versions."""
        return VariantSample(self, image_id, prepare)


@dataclasses.dataclass(frozen=True)
class StackedDataset(VariantDataset):
    """Versions held in arrays, as CIFAR-10-C: ``arrays[name][image_id + offsets[name]]``."""

    arrays: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    """Name of a version to images uint8 (M, H, W, 3), which may be mapped from a file."""
    offsets: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Row of the version's first image."""

    def read_variant(self, image_id: int, name: str) -> Array:
        """Returns the pixels of one version of an image."""
        return np.array(self.arrays[name][self.offsets[name] + image_id])


def same_files(
    published: PublishedSet, root: Path, folders: Mapping[str, str], suffixes: tuple[str, ...] = IMAGE_SUFFIXES
) -> tuple[tuple[str, ...], str]:
    """Returns ``class/name`` of each file in the class folders of all these folders, which must hold the same, and a note.

    The note names what is in the folders and not read; it is empty if everything is read.
    """
    absent = [folder for folder in folders.values() if not (root / folder).is_dir()]
    if absent:
        found = what_is_there(root, looks_right(folders.values()))
        raise missing(
            published,
            f"{root}/{enumerate_names(folders.values(), 3)}",
            f"{len(absent)} of these {len(folders)} folders are not there, such as {absent[0]}: {found}. Restrict the run "
            "to what is there, or fetch the rest",
        )
    names: tuple[str, ...] = ()
    dropped: Dropped = Counter()
    first = ""
    for folder in folders.values():
        here = list_classes(root / folder, suffixes)
        found_here = here.files
        dropped += here.dropped
        if not found_here:
            there = what_is_there(root / folder, lambda _: False)
            raise missing(published, f"{published.unit} in {root / folder}/{{wnid}}/", f"it has no such files: {there}")
        if not first:
            names, first = found_here, folder
        elif found_here != names:
            odd = sorted(set(names) ^ set(found_here))
            raise missing(
                published,
                f"the same {published.unit} in all {len(folders)} folders",
                f"{folder} has {len(found_here)} and {first} {len(names)}; {odd[0]} is in only one of them. Restrict the "
                "run to what is complete, or fetch the rest",
            )
    return names, dropped_note(published.title, dropped)


def class_labels(published: PublishedSet, names: Sequence[str]) -> tuple[tuple[int, ...], FolderLabels]:
    """Returns the label of each ``class/name``, and what the class folders state."""
    folders = sorted({name.split("/", 1)[0] for name in names})
    stated = folder_labels(folders, None)
    if stated.rule != WNIDS:
        wnids = set(imagenet_wnids())
        foreign = [folder for folder in folders if folder not in wnids]
        if len(foreign) < len(folders):
            raise missing(
                published,
                "class folders that are WordNet ids of ImageNet-1k",
                f"{len(foreign)} of {len(folders)} are not: {enumerate_names(foreign)}",
            )
    return tuple(stated.index[name.split("/", 1)[0]] for name in names), stated


def scan_variants(published: PublishedSet, root: Path, folders: Mapping[str, str]) -> VariantDataset:
    """Returns the images of a published set with one folder of class folders for each version."""
    names, note = same_files(published, root, folders)
    labels, stated = class_labels(published, names)
    return VariantDataset(
        names,
        labels,
        root,
        stated.names,
        name=published.title,
        note=note,
        labelled_by=stated.rule,
        folders=dict(folders),
    )


def listed_variants(
    published: PublishedSet, root: Path, folders: Mapping[str, str], lists: Mapping[str, Sequence[tuple[str, int]]]
) -> VariantDataset:
    """Returns the images that lists name, one list of (path relative to ``root``, label) for each version."""
    rows: dict[str, int] = {}
    first = ""
    for name, folder in folders.items():
        found: dict[str, int] = {}
        for path, label in lists[name]:
            file = path[len(folder) + 1 :]
            if not path.startswith(folder + "/"):
                raise missing(published, f"paths in {folder}/ in the list of {name}", f"it names {path}")
            if file in found:
                raise missing(
                    published,
                    f"one line for each image in the list of {name}",
                    f"{path} is listed twice, with the labels {found[file]} and {label}",
                )
            found[file] = label
        if not found:
            raise missing(published, f"images in the list of {name}", "it is empty")
        if not first:
            rows, first = found, name
        elif found != rows:
            odd = sorted(file for file in {*rows, *found} if rows.get(file) != found.get(file))[0]
            raise missing(
                published,
                "the same images and labels in every list",
                f"{odd} is {found.get(odd, 'not there')} in that of {name} and {rows.get(odd, 'not there')} in that of "
                f"{first}",
            )
        absent = _absent(root / folder, found)
        if absent:
            raise missing(
                published,
                f"the {len(found)} images that the list of {name} names",
                f"{len(absent)} of them are not there, such as {root / folder / absent[0]}",
            )
    return VariantDataset(tuple(rows), tuple(rows.values()), root, name=published.title, folders=dict(folders))


def _absent(root: Path, files: Iterable[str]) -> list[str]:
    """Returns the files that are not in a folder; each of its folders is listed once."""
    listed: dict[str, set[str]] = {}
    absent = []
    for file in files:
        folder, _, name = file.rpartition("/")
        if folder not in listed:
            try:
                listed[folder] = set(os.listdir(root / folder))
            except OSError:
                listed[folder] = set()
        if name not in listed[folder]:
            absent.append(file)
    return absent


def variant_view(sample: Sample, rng: np.random.Generator, *, name: str) -> Array:
    """One stored version of the image, as the model takes it."""
    assert isinstance(sample, VariantSample)
    return sample.variant(name)
