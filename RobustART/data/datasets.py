"""Data sets as lists of (file, label), from class folders, lists of files, or arrays."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image

from RobustART.core.imaging import DECODERS, Array, decode_picture, encode_jpeg, read_bytes
from RobustART.core.options import checked, convert, option_defaults
from RobustART.core.ranges import Range
from RobustART.data.folders import IMAGE_SUFFIXES, describe, dropped_note, list_classes
from RobustART.data.imagenet import folder_labels
from RobustART.data.lists import read_list
from RobustART.data.samples import Sample, content_digest
from RobustART.errors import ConfigError, DataError, UserError, reason
from RobustART.registry import Registry


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """Files with labels.

    Raises:
        DataError: it is empty, or a label is not an integer.
    """

    files: tuple[str, ...]
    """File names relative to ``root``; they name the images in results."""
    labels: tuple[int, ...]
    """Class of each, from 0."""
    root: Path = Path()
    """Folder of the files."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes where the data set fixes all of them: a model must then have as many outputs."""
    name: str = "data"
    """For messages and the report."""
    exif_orientation: bool = False
    """Rotate and mirror images as their EXIF tag says."""
    decoder: str = "pil"
    """One of ``imaging.DECODERS``."""
    note: str = ""
    """Warning for reports on these images."""
    labelled_by: str = ""
    """Where the labels come from, such as ``imagenet.WNIDS``, for the report; empty if the data set's type says it."""
    recorded: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """Digests of generated files by folder and name; a file with another one was exchanged."""

    def __post_init__(self) -> None:
        """Refuses an empty data set, and labels that are not integers."""
        if not len(self.files):
            raise DataError(f"the data set {self.name} is empty")
        object.__setattr__(self, "labels", integer_labels(self.labels, self.name))
        assert len(self.files) == len(self.labels)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, image_id: int) -> bytes | Array:
        """Returns the bytes (or, in a data set of pixels, the pixels) of one image."""
        return self.read_file(self.root, image_id)

    def read_file(self, folder: Path, image_id: int) -> bytes:
        """Returns the bytes of an image in a folder; a DataError if its digest is another than the recorded one."""
        data, file = read_bytes(folder / self.files[image_id]), self.files[image_id]
        for place, digests in self.recorded.items():
            if folder.parts[-len(Path(place).parts) :] == Path(place).parts and digests.get(file) != content_digest(
                data
            ):
                raise DataError(
                    f"{folder / file} is not the file that was generated: its digest is {content_digest(data)}, recorded "
                    f"is {digests.get(file)}"
                )
        return data

    def sample(self, image_id: int, prepare: Callable[[Array], Array]) -> Sample:
        """Returns one image; ``prepare`` makes the model's view from the decoded image."""
        read = functools.partial(self.read, image_id)
        name, label = self.files[image_id], self.labels[image_id]
        return Sample(image_id, name, label, read, prepare, self.exif_orientation, self.decoder)

    def picture(self, image_id: int) -> Image.Image:
        """Returns one image as a PIL image (RGB), the same pixels as :attr:`Sample.image`."""
        source, name = self.read(image_id), self.files[image_id]
        if not isinstance(source, bytes):
            return Image.fromarray(source)
        return decode_picture(source, exif_orientation=self.exif_orientation, name=name, decoder=self.decoder)

    def select(self, ids: Sequence[int]) -> ImageDataset:
        """Returns the data set of the images ``ids`` alone, numbered anew."""
        files, labels = tuple(self.files[i] for i in ids), tuple(self.labels[i] for i in ids)
        return dataclasses.replace(self, files=files, labels=labels)

    def fingerprint(self, ids: Sequence[int]) -> str:
        """Returns 16 hexadecimal digits over the names and labels of the images ``ids`` and how they are decoded.

        Contents are not part of it: each record says by :attr:`Sample.digest` what it was made from, so that a damaged
        file can be replaced without losing the records of the others.
        """
        decoder = "" if self.decoder == "pil" else f" decoder {self.decoder}"
        digest = hashlib.sha256(f"exif {self.exif_orientation}{decoder}\n".encode())
        for i in ids:
            digest.update(f"{self.files[i]} {self.labels[i]}\n".encode("utf-8", errors="surrogateescape"))
        return digest.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class ArrayDataset(ImageDataset):
    """Images held in memory as uint8 arrays (H, W, 3)."""

    images: Sequence[Array] = ()
    """The images."""

    def read(self, image_id: int) -> Array:
        """Returns the pixels of one image."""
        return self.images[image_id]

    def select(self, ids: Sequence[int]) -> ArrayDataset:
        """Returns the data set of the images ``ids`` alone, numbered anew."""
        files, labels = tuple(self.files[i] for i in ids), tuple(self.labels[i] for i in ids)
        return dataclasses.replace(self, files=files, labels=labels, images=[self.images[i] for i in ids])


def array_dataset(images: Sequence[Array] | Array, labels: Sequence[int], name: str = "arrays") -> ArrayDataset:
    """Returns a data set of images in memory: uint8 arrays (H, W, 3), or one of (N, H, W, 3), and the class of each."""
    for i, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise DataError(f"image {i} of {name} must be a uint8 array (H, W, 3), got {got}")
    if len(images) != len(labels):
        raise DataError(f"{name} has {len(images)} images but {len(labels)} labels")
    files = tuple(f"{i:06d}" for i in range(len(images)))
    return ArrayDataset(files, tuple(labels), name=name, images=list(images))


def integer_labels(labels: Sequence[Any], name: str) -> tuple[int, ...]:
    """Returns labels as integers; raises a DataError if one is anything else.

    Args:
        labels: integers, also of numpy or torch.
        name: name of the data set.
    """
    if all(type(label) is int for label in labels):
        return tuple(labels)
    found = []
    for i, label in enumerate(labels):
        value = label.item() if getattr(label, "ndim", None) == 0 else label
        if type(value) is not int:
            several = not isinstance(value, str) and hasattr(value, "__len__")
            hint = "; of one-hot labels, pass the index of the 1, such as labels.argmax(1)" if several else ""
            raise DataError(
                f"the labels of {name} must be integers from 0, one for each image; that of image {i} is {value!r}{hint}"
            )
        found.append(value)
    return tuple(found)


DATASETS: Registry[Callable[..., ImageDataset]] = Registry("data set")
"""Names to functions (root_dir=, meta_file=) -> data set."""


@DATASETS.register("image_folder")
def image_folder(
    root_dir: str | Path | None = None, meta_file: str | None = None, *, classes: Literal["folder"] | None = None
) -> ImageDataset:
    """Returns the images of a folder with one folder per class, labelled by the rules of ``imagenet.folder_labels``.

    Args:
        root_dir: the folder.
        meta_file: not allowed.
        classes: ``folder`` numbers the class folders in the order of their names, whatever these are.

    Raises:
        DataError: the folder is missing, holds no class folders or no images, or the folders are 1 to N.
    """
    if root_dir is None:
        raise ConfigError("an image_folder needs root_dir")
    if meta_file is not None:
        raise ConfigError("an image_folder takes no meta_file; leave out type, or say type: meta_file")
    return read_class_folders(Path(root_dir), ordered=classes is not None)


def read_class_folders(root: Path, name: str | None = None, *, ordered: bool = False) -> ImageDataset:
    """Returns the images of class folders, see :func:`image_folder`; ``ordered`` numbers them by name."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    name = Path(os.path.abspath(root)).name if name is None else name
    folders = list_classes(root, deep=True)
    if not folders.names:
        raise DataError(
            f"{root} holds no class folders ({describe(root)}); for a flat folder give a meta_file with 'path label' lines"
        )
    stated = folder_labels(folders.names, str(root), ordered=ordered)
    note = dropped_note(name, folders.dropped)
    if not folders.files:
        raise DataError(f"the class folders of {root} hold no images ({', '.join(IMAGE_SUFFIXES)}): {note}")
    labels = tuple(stated.index[file.split("/", 1)[0]] for file in folders.files)
    return ImageDataset(folders.files, labels, root, stated.names, name=name, note=note, labelled_by=stated.rule)


@DATASETS.register("meta_file")
def from_meta_file(root_dir: str | Path | None = None, meta_file: str | Path | None = None) -> ImageDataset:
    """Returns the images that a list names: ``path label`` on each line, or JSON lines with ``filename`` and ``label``.

    Raises:
        DataError: the list is missing or a line is not of either form; the message names file and line.
    """
    if meta_file is None:
        raise ConfigError("a data set of type meta_file needs meta_file")
    path = Path(meta_file)
    files, labels = read_list(path)
    root = Path(root_dir or path.parent)
    return ImageDataset(files, labels, root, name=path.stem, labelled_by=f"list {path.name}")


@DATASETS.register("foolbox_photos")
def foolbox_photos(root_dir: str | None = None, meta_file: str | None = None) -> ImageDataset:
    """Returns the 20 images of ImageNet classes in the package ``foolbox``.

    Their class is the last number of the file name: ``imagenet_00_243.jpg`` is of class 243.
    """
    if root_dir is not None or meta_file is not None:
        raise ConfigError("foolbox_photos takes neither root_dir nor meta_file")
    spec = importlib.util.find_spec("foolbox")
    if spec is None or spec.origin is None:
        raise DataError("the foolbox photos come with a package that is not installed: pip install foolbox")
    folder = Path(spec.origin).parent / "data"
    files = sorted(p.name for p in folder.glob("imagenet_*.jpg"))
    labels = tuple(int(Path(file).stem.rsplit("_", 1)[1]) for file in files)
    return ImageDataset(tuple(files), labels, folder, name="foolbox_photos")


def create_dataset(
    type: str | None = None,
    *,
    root_dir: str | Path | None = None,
    meta_file: str | Path | None = None,
    exif_orientation: bool = False,
    decoder: str = "pil",
    classes: Literal["folder"] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> ImageDataset:
    """Returns a data set.

    Args:
        type: a name in :data:`DATASETS` or ``module:function``; by default ``meta_file`` if that is given, else
            ``image_folder``.
        root_dir: folder of the images.
        meta_file: list of images.
        exif_orientation: rotate and mirror images as their EXIF tag says.
        decoder: one of ``imaging.DECODERS``.
        classes: ``folder`` numbers class folders in the order of their names, whatever these are.
        kwargs: further arguments of the type's function.

    Raises:
        DataError, ConfigError, UnknownNameError: what their names say.
    """
    check_reader(decoder, exif_orientation)
    for key, value in (("root_dir", root_dir), ("meta_file", meta_file)):
        convert(value, str | Path | None, f"{key} of a data set")
    name = type or ("meta_file" if meta_file is not None else "image_folder")
    builder = DATASETS[name]
    given = {} if kwargs is None else kwargs
    if classes is not None:
        if option_defaults(builder).get("classes", 0) is not None:  # made-up images have a number of classes
            raise ConfigError(f"classes: {classes} numbers class folders; the data set {name} has none")
        given = {**given, "classes": classes}
    options = checked(builder, given, f"the data set {name}")
    try:
        dataset = builder(root_dir=root_dir, meta_file=meta_file, **options)
    except UserError:
        raise
    except Exception as error:
        raise DataError(f"the data set {name!r} cannot be made: {reason(error)}") from error
    if not isinstance(dataset, ImageDataset):
        raise DataError(f"the data set {name!r} must return an ImageDataset, got {dataset.__class__.__name__}")
    return dataclasses.replace(dataset, exif_orientation=exif_orientation, decoder=decoder)


def check_reader(decoder: str, exif_orientation: bool) -> None:
    """Raises an UnknownNameError or ConfigError if images cannot be read so, or the decoder is not installed."""
    function = DECODERS[decoder]
    convert(exif_orientation, bool, "exif_orientation")
    if decoder != "pil":
        function(encode_jpeg(np.zeros((8, 8, 3), np.uint8), 90))


def balanced_subset(labels: Sequence[int], limit: int, seed: int, name: str = "the data set") -> list[int]:
    """Returns ``limit`` image ids, sorted, with the classes as even as the data allow; the same for the same seed.

    Args:
        labels: class of each image.
        limit: how many images.
        seed: of the choice.
        name: of the data set, for messages.

    Raises:
        ConfigError: ``limit`` is not from 1 to the number of images.
    """
    most = Range(1, len(labels), text=f"from 1 to {len(labels)}, the number of images of {name}")
    limit = convert(limit, Annotated[int, most], "limit")
    rng = np.random.default_rng([seed, 0x5AB5E7])
    order = rng.permutation(len(labels))
    array = np.asarray(labels)[order]
    classes = rng.permutation(np.unique(array))
    turn = np.empty(len(array), dtype=np.int64)
    place = np.empty(len(array), dtype=np.int64)
    for i, label in enumerate(classes):
        members = np.flatnonzero(array == label)
        turn[members] = np.arange(len(members))
        place[members] = i
    chosen = order[np.lexsort((place, turn))[:limit]]
    return sorted(int(i) for i in chosen)
