"""Images from other libraries as data sets: torch data sets and loaders, pairs of images and labels, paths."""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import data as torch_data

from RobustART.core.imaging import Array
from RobustART.data.datasets import ImageDataset, create_dataset, integer_labels
from RobustART.data.imagenet import ORDER
from RobustART.data.pixels import Form, form_of
from RobustART.data.samples import Sample
from RobustART.errors import ConfigError, DataError, UserError, reason

log = logging.getLogger(__name__)

ASKED = 16
"""Number of images that are read before a run, each at least twice."""
_RANDOM = re.compile(
    r"Random|AutoAugment|TrivialAugment|AugMix|ColorJitter|GaussianNoise|Elastic|CutMix|MixUp|ScaleJitter"
)
_IMAGE = ("image", "img", "pixel_values")
_LABEL = ("label", "labels", "fine_label")
_ACCEPTED = (
    "a map-style torch Dataset, a DataLoader, (images, labels), a list of (image, label), or a path; class folders are "
    "read by RobustART.data.create_dataset(root_dir=FOLDER), images in memory by array_dataset(images, labels)"
)


@dataclasses.dataclass(frozen=True)
class GivenDataset(ImageDataset):
    """Images that another library's data set returns, with its own transform."""

    source: Any = None
    """Its items are images, or pairs of image and label."""
    places: Sequence[int] = ()
    """Index of each image in ``source``."""
    paired: bool = True
    """Whether the items are pairs."""
    form: Form = Form("", "8 bits")
    """What the images are."""
    made: bool = False
    """Whether the images are ready for a network: float tensors, or results of the data set's own transform."""
    as_made: bool = False
    """Whether the model gets them as they are, without a resize or crop."""

    def read(self, image_id: int) -> Array:
        """Returns the pixels of one image, uint8 (H, W, 3)."""
        name = f"{self.files[image_id]} of {self.name}"
        item = _item(self.source, self.places[image_id], name)
        image, label = _pair(item, name) if self.paired else (item, None)
        if label is not None and integer_labels([label], name)[0] != self.labels[image_id]:
            raise DataError(f"{name} has the label {label} now, but had {self.labels[image_id]} before the run")
        return self.form.pixels(image, name)

    def sample(self, image_id: int, prepare: Callable[[Array], Array]) -> Sample:
        """Returns one image; ``prepare`` makes the model's view from it unless it is given as the model gets it."""
        return super().sample(image_id, (lambda image: image) if self.as_made else prepare)

    def select(self, ids: Sequence[int]) -> GivenDataset:
        """Returns the data set of the images ``ids`` alone, numbered anew."""
        files, labels = tuple(self.files[i] for i in ids), tuple(self.labels[i] for i in ids)
        return dataclasses.replace(self, files=files, labels=labels, places=[self.places[i] for i in ids])

    def preprocessing(self) -> dict[str, Any]:
        """Returns the preprocessing of a network that states none: it gets the images as this data set returns them."""
        side = self.form.side
        return {**({"input_size": side, "resize": side} if side else {}), **self.form.normalisation}

    def fitted(self, size: int, *, chosen: bool) -> GivenDataset:
        """Returns the data set for a model.

        Args:
            size: input size of the model.
            chosen: whether the caller stated how images are resized; else those that a transform made stay as they are.

        Raises:
            ConfigError: the transform makes images of another size than the model's, and nothing was stated.
        """
        if not self.made or chosen or self.form.side == size:
            as_made = self.made and self.form.side == size
            how = (
                "given to the model as they are" if as_made else "resized and cropped as the model's preprocessing says"
            )
            return dataclasses.replace(self, as_made=as_made, pixels=f"{self.pixels}; {how}")
        own = self.form.side or "S"
        raise ConfigError(
            f"the images of {self.name} are {self.form}, but the model takes {size} x {size}; evaluate them at their "
            f"size by preprocessing={{'input_size': {own}, 'resize': {own}}}, resize them by "
            f"preprocessing={{'input_size': {size}, 'resize': {size}}}, or leave out the data set's transform"
        )


def as_dataset(data: Any) -> ImageDataset:
    """Returns any kind of images with labels as a data set.

    Args:
        data: an :class:`ImageDataset`; a path, as ``root_dir`` of ``create_dataset``; a map-style torch ``Dataset`` (or
            another object with ``__getitem__`` and ``__len__``) whose items are (image, label) or mappings with ``image``
            and ``label``; a ``DataLoader``, whose data set is read in its order without its batches; ``(images, labels)``
            as tensors (N, C, H, W), arrays (N, H, W, C), or lists of these or of PIL images. Images have 1 or 3 channels,
            and are uint8, or float in [0, 1] or in [0, 255], or normalised by a torchvision ``Normalize``, which is undone.

    Raises:
        ConfigError: it is of another kind, or its transform is random.
        DataError: an item is not an image with a label.
    """
    if isinstance(data, ImageDataset):
        return data
    if isinstance(data, (str, Path)):
        return create_dataset(root_dir=data)
    if isinstance(data, torch_data.DataLoader):
        return _of_loader(data)
    if isinstance(data, torch_data.IterableDataset):
        raise ConfigError(
            f"the images to evaluate are an IterableDataset, {type(data).__name__}, which has no order to resume in; give "
            f"{_ACCEPTED}"
        )
    if isinstance(data, (tuple, list)) and len(data) == 2 and _are_labels(data[1]):
        return _of_arrays(*data)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__") or isinstance(data, (Mapping, bytes)):
        raise ConfigError(
            f"the images to evaluate must be a data set of RobustART, {_ACCEPTED}; got {type(data).__name__}"
        )
    return _of_items(data)


def _are_labels(labels: Any) -> bool:
    if isinstance(labels, (torch.Tensor, np.ndarray)):
        return labels.ndim == 1
    return isinstance(labels, (list, tuple)) and all(isinstance(label, (int, np.integer)) for label in labels)


def _of_loader(loader: torch_data.DataLoader[Any]) -> ImageDataset:
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    whole = isinstance(sampler, torch_data.SequentialSampler) or (
        isinstance(sampler, torch_data.RandomSampler)
        and not sampler.replacement
        and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    )
    own_batches = type(loader.batch_sampler) not in (torch_data.BatchSampler, type(None))
    collated = loader.collate_fn not in (torch_data.default_collate, torch_data.default_convert)
    if isinstance(loader.dataset, torch_data.IterableDataset) or own_batches or collated:
        what = "collate_fn" if collated else "batch_sampler" if own_batches else "IterableDataset"
        raise ConfigError(
            f"the DataLoader has its own {what}, so its images are not those of its data set; give the data set, with "
            "items (image, label)"
        )
    if whole:
        return as_dataset(loader.dataset)
    if isinstance(sampler, torch_data.SubsetRandomSampler):
        return as_dataset(torch_data.Subset(loader.dataset, sorted(sampler.indices)))
    raise ConfigError(
        f"the DataLoader draws its images by a {type(sampler).__name__}; give its data set, or a Subset of it. RobustART "
        "distributes the images over processes itself"
    )


def _of_arrays(images: Any, labels: Any) -> GivenDataset:
    if not hasattr(images, "__getitem__") or not hasattr(images, "__len__"):
        raise ConfigError(
            f"of (images, labels), the images must be a tensor, an array or a list, got {type(images).__name__}"
        )
    if len(images) != len(labels):
        raise DataError(f"there are {len(images)} images but {len(labels)} labels")
    files = tuple(f"{i:06d}" for i in range(len(images)))
    dataset = GivenDataset(
        files, tuple(integer_labels(list(labels), "(images, labels)")), name="images", source=images,
        places=range(len(images)), paired=False,
    )  # fmt: skip
    form = form_of([images[i] for i in _spread(len(images))], dataset.name, None)
    return dataclasses.replace(dataset, form=form, made=form.scale != "8 bits", pixels=str(form))


def _of_items(data: Any) -> ImageDataset:
    base: Any = data
    places = list(range(len(data)))
    while type(base) is torch_data.Subset:
        base, places = base.dataset, [int(base.indices[place]) for place in places]
    name = type(base).__name__
    if not places:
        raise DataError(f"the data set {name} is empty")
    folder = _as_folder(base)
    if folder is not None:
        return folder if data is base else folder.select(places)
    transforms = list(_transforms(base))
    drawn = next(
        (part for part in transforms if getattr(part, "p", 1) != 0 and _RANDOM.match(type(part).__name__)), None
    )
    if drawn is not None:
        raise ConfigError(
            f"the transform of {name} is random ({type(drawn).__name__}), so that no number could be computed again; "
            "evaluate the data set with its test transform"
        )
    chosen = [places[i] for i in _spread(len(places))]
    pairs = {place: _pair(_item(base, place, f"item {place} of {name}"), f"item {place} of {name}") for place in chosen}
    found = [part for part in transforms if type(part).__name__ == "Normalize" and hasattr(part, "mean")]
    normalise = (_floats(found[0].mean), _floats(found[0].std)) if len(found) == 1 else None
    form = form_of([image for image, _ in pairs.values()], name, normalise)
    _ask_again(base, pairs, form, name)
    labels = _labels(base, places, pairs, name)
    own = getattr(base, "transform", None)
    how = (
        ""
        if own is None
        else f"; its transform: {re.sub(r' at 0x[0-9a-f]+|0x[0-9a-f]+', '', ' '.join(repr(own).split()))}"
    )
    classes = getattr(base, "classes", None)
    named = isinstance(classes, (list, tuple)) and len(set(map(str, classes))) == len(classes) > max(labels)
    named = named and getattr(base, "target_transform", None) is None
    return GivenDataset(
        tuple(_names(base, places)), labels, Path(), tuple(map(str, classes)) if named and classes else None, name=name,
        source=base, places=places, form=form, made=bool(transforms) or form.scale != "8 bits", pixels=f"{form}{how}",
    )  # fmt: skip


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in (values.flatten().tolist() if hasattr(values, "flatten") else values))


def _as_folder(data: Any) -> ImageDataset | None:
    """Returns torchvision's ImageFolder as a data set of files, if it reads them without a transform; else None."""
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import default_loader

    if type(data) is not ImageFolder or data.loader is not default_loader or data.transforms is not None:
        return None
    names = tuple(_names(data, range(len(data))))
    root = Path(data.root)
    return ImageDataset(
        names, tuple(data.targets), root, tuple(data.classes), name=root.absolute().name, labelled_by=ORDER
    )


def _names(data: Any, places: Sequence[int]) -> Iterator[str]:
    """Yields the names of items: their files relative to the root, where these are listed, else their numbers."""
    samples = getattr(data, "samples", None)
    for place in places:
        try:
            yield Path(samples[place][0]).relative_to(data.root).as_posix()  # type: ignore[index]
        except (TypeError, ValueError, IndexError, AttributeError, KeyError):
            yield f"{place:06d}"


def _spread(count: int) -> list[int]:
    """Returns up to :data:`ASKED` indices, evenly spread over ``count``."""
    return sorted({round(i * (count - 1) / max(ASKED - 1, 1)) for i in range(min(ASKED, count))} | {0, count - 1})


def _transforms(data: Any) -> Iterator[Any]:
    """Yields the transforms of a data set and of those within it, as far as they can be found by name."""
    stack, seen = [data], {id(data)}
    while stack:
        part = stack.pop()
        inner = [getattr(part, key, None) for key in ("transform", "transforms", "dataset", "datasets")]
        for value in inner:
            for one in value if isinstance(value, (list, tuple, torch.nn.ModuleList)) else [value]:
                if one is not None and id(one) not in seen and not isinstance(one, (str, int, float)):
                    seen.add(id(one))
                    stack.append(one)
                    if not isinstance(one, torch_data.Dataset):
                        yield one


def _item(data: Any, place: int, name: str) -> Any:
    try:
        return data[place]
    except UserError:
        raise
    except Exception as error:  # a user's data set can raise anything
        raise DataError(f"{name} cannot be read: {reason(error)}") from error


def _pair(item: Any, name: str) -> tuple[Any, Any]:
    """Returns the image and the label of an item."""
    if isinstance(item, Mapping):
        keys = [next((key for key in names if key in item), None) for names in (_IMAGE, _LABEL)]
        if None not in keys:
            return item[keys[0]], item[keys[1]]
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return item[0], item[1]
    keys_ = f" with the keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else ""
    raise ConfigError(
        f"{name} must be (image, label), or a mapping with image and label, got {type(item).__name__}{keys_}. The images "
        f"to evaluate must be a data set of RobustART, {_ACCEPTED}"
    )


def _ask_again(data: Any, pairs: Mapping[int, tuple[Any, Any]], form: Form, name: str) -> None:
    """Raises a ConfigError if images differ when they are read again, each as often as makes 32 readings in all."""
    for place, (image, _) in pairs.items():
        before = form.pixels(image, f"item {place} of {name}")
        for _ in range(max(1, 2 * ASKED // len(pairs) - 1)):
            again = form.pixels(_pair(_item(data, place, name), name)[0], f"item {place} of {name}")
            if not np.array_equal(before, again):
                raise ConfigError(
                    f"item {place} of {name} differs when it is read twice: its transform is random, so that no number "
                    "could be computed again; evaluate the data set with its test transform"
                )


def _labels(data: Any, places: Sequence[int], pairs: Mapping[int, tuple[Any, Any]], name: str) -> tuple[int, ...]:
    """Returns the labels of items: those that a data set lists, if they are those of its items, else those of its items."""
    listed = next((value for key in ("targets", "labels") if (value := getattr(data, key, None)) is not None), None)
    if listed is None and type(data) is torch_data.TensorDataset:
        listed = data.tensors[1]
    change = getattr(data, "target_transform", None) or (lambda label: label)
    try:
        labels = integer_labels([change(listed[place]) for place in places], name)  # type: ignore[index]
        if all(dict(zip(places, labels, strict=True))[place] == int(pair[1]) for place, pair in pairs.items()):
            return labels
    except Exception as error:  # the list is of another kind
        log.debug("%s lists no labels: %s", name, error)
    if len(places) > 10_000:
        log.info("reading %d images of %s for their labels", len(places), name)
    ask = functools.partial(_item, data)
    return integer_labels([_pair(ask(place, name), f"item {place} of {name}")[1] for place in places], name)
