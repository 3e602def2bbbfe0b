"""Data sets that ``robustart noise generate`` wrote: what their manifest says to those who read them.

``manifest.json`` holds what was asked for and whether all of it is there; ``photos.jsonl`` has one line for each photo, in
the order of the clean data set: the name it is stored under, the file it was made from, its label, and digests.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from RobustART.core.preprocessing import Preprocessing
from RobustART.data.datasets import ImageDataset
from RobustART.errors import DataError

FORMAT = "robustart-generated/1"
MANIFEST, PHOTOS = "manifest.json", "photos.jsonl"
Dataset = TypeVar("Dataset", bound=ImageDataset)


@dataclasses.dataclass(frozen=True)
class Generated:
    """A generated data set that is whole."""

    root: Path
    """Its folder."""
    manifest: Mapping[str, Any]
    """What was asked for."""
    labels: Mapping[str, int]
    """Label of each file by its name in a cell's folder, in the order of the clean photos."""
    digests: Mapping[str, Mapping[str, str]]
    """Digest of each file by the folder of its cell and its name there."""

    def arrange(self, dataset: Dataset, *, labelled: bool = False) -> Dataset:
        """Returns its images in the order of the photos they were made from, with the photos' labels and classes.

        The order of names is not that order where class folders held folders, and labels that were in a
        list, or those of a subset without all classes, do not follow from the names of folders.

        Args:
            dataset: what its folders or lists hold.
            labelled: whether its labels are stated, in lists, and must be the photos' own.

        Raises:
            DataError: a file is not one of those that were written, or a list gives it another label.
        """
        place = {file: i for i, file in enumerate(self.labels)}
        foreign = [file for file in dataset.files if file not in place]
        if foreign:
            raise DataError(f"{foreign[0]} of {self.root} was not generated: it is not in {self.root / PHOTOS}")
        for file, label in zip(dataset.files, dataset.labels, strict=True):
            if labelled and label != self.labels[file]:
                raise DataError(
                    f"{file} of {self.root} has the label {label} in a list, but {self.labels[file]} in "
                    f"{self.root / PHOTOS}; the command that made the data set writes the lists again"
                )
        files = tuple(sorted(dataset.files, key=place.__getitem__))
        names = self.manifest["source"]["class_names"]
        return dataclasses.replace(
            dataset,
            files=files,
            labels=tuple(self.labels[file] for file in files),
            class_names=None if names is None else tuple(names),
            labelled_by=PHOTOS,
            recorded=self.digests,
        )

    def notes(self, dataset: ImageDataset) -> tuple[str, ...]:
        """Returns what the report says of the set: where it comes from, and whether all of it is still there."""
        source, seed = self.manifest["source"], self.manifest["seed"]
        origin = (
            f"{self.manifest['benchmark']} is read from files that were generated from {source['images']} of the "
            f"{source['of']} images of {source['name']} with seed {seed}"
        )
        if len(dataset) == len(self.labels):
            return (origin,)
        return (origin, f"{self.root} has {len(dataset)} images of the {len(self.labels)} that were generated")

    def notes_on(self, model: Preprocessing) -> tuple[str, ...]:
        """Returns a warning if the pictures were not made as a model of this preprocessing takes them."""
        made: Mapping[str, Any] = self.manifest["preprocessing"]
        differs = {name: getattr(model, name) for name, value in made.items() if getattr(model, name) != value}
        if not differs:
            return ()
        theirs = ", ".join(f"{name} {made[name]}" for name in differs)
        own = ", ".join(f"{name} {value}" for name, value in differs.items())
        return (
            f"{self.manifest['benchmark']} in {self.root} was generated with {theirs}, but the model takes {own}: its "
            "numbers are not those on the fly. To generate for a model, name it with --model",
        )


def read_generated(root: Path, benchmark: str) -> Generated | None:
    """Returns what the manifest of a generated data set states; None where the folder is not one.

    Args:
        root: its folder.
        benchmark: that reads it.

    Raises:
        DataError: it is not whole, of another benchmark, or its manifest is damaged.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict):
        raise DataError(f"{path} is damaged: it must hold a JSON object, got {str(manifest)[:40]}")
    kind = str(manifest.get("format"))
    if kind.partition("/")[0] != FORMAT.partition("/")[0]:
        return None
    if kind != FORMAT:
        raise DataError(f"{path} has the format {kind!r}; this version reads {FORMAT!r}")
    if manifest.get("complete") is not True:
        raise DataError(
            f"{root} is incomplete: some of its files are not written yet. Run the command that began it again, "
            f"`robustart noise generate --benchmark {manifest.get('benchmark')} --out {root} ...`"
        )
    if manifest.get("benchmark") != benchmark:
        raise DataError(f"{root} was generated for {manifest.get('benchmark')}, not for {benchmark}")
    try:
        labels, digests = _listed(root / PHOTOS, manifest["suffix"], manifest["folders"])
        source = manifest["source"]
        known = {field.name for field in dataclasses.fields(Preprocessing)}
        fits = len(labels) == source["images"] and set(manifest["preprocessing"]) <= known
        fits = fits and {"name", "of", "class_names"} <= set(source) and {"benchmark", "seed"} <= set(manifest)
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise DataError(
            f"{path} and {PHOTOS} beside it do not fit together; the command that made the data set mends them"
        )
    return Generated(root, manifest, labels, digests)


def _listed(path: Path, suffix: str, folders: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """Returns the labels and the digests of the files that ``photos.jsonl`` lists."""
    labels: dict[str, int] = {}
    digests: dict[str, dict[str, str]] = {folder: {} for folder in folders}
    for line in path.read_text(encoding="utf-8").splitlines():
        photo = json.loads(line)
        name = f"{photo['name']}{suffix}"
        labels[name] = int(photo["label"])
        for folder, digest in zip(folders, photo["files"], strict=True):
            digests[folder][name] = str(digest)
    return labels, digests
