"""The files generated from one source image: making, verifying and writing them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from RobustART.core.preprocessing import Preprocessing
from RobustART.core.seeding import numpy_generator
from RobustART.data import Sample
from RobustART.data.samples import content_digest
from RobustART.errors import ConfigError, UserError
from RobustART.generation.layouts import Layout
from RobustART.generation.manifest import Photo, file_digest, write_file

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of a data set to be generated."""

    layout: Layout
    """Layout of the files."""
    photos: Mapping[int, Photo]
    """Source images by id, without digests."""
    preprocessing: Preprocessing
    """Preprocessing of the source images before the noise."""
    seed: int
    """Seed of the noise."""
    root: Path
    """Folder of the data set."""

    def sample(self, image_id: int) -> Sample:
        """Returns a source image."""
        return self.layout.dataset.sample(image_id, self.preprocessing.apply)

    def path(self, image_id: int, folder: str) -> Path:
        """Returns the path of a generated file."""
        return self.root / folder / f"{self.photos[image_id]['name']}{self.layout.suffix}"

    def make(self, sample: Sample, folder: str) -> bytes:
        """Returns the bytes of a generated file, with the same random draws as an evaluation."""
        return self.layout.cells[folder](sample, numpy_generator(self.seed, sample.image_id, folder))


def naming(plan: Plan, task: Callable[[int], T], image_id: int) -> T:
    """Returns the result of a task on a source image; errors name the image."""
    file = plan.photos[image_id]["file"]
    try:
        return task(image_id)
    except UserError as error:
        if file in str(error):
            raise
        raise type(error)(f"{file}: {error}") from None
    except Exception:
        log.error("an error was raised while generating the files of %s", file)
        raise


def make_photo(plan: Plan, image_id: int) -> dict[str, bytes]:
    """Returns the bytes of all files of a source image by folder, without writing them."""
    sample = plan.sample(image_id)
    return {folder: plan.make(sample, folder) for folder in plan.layout.cells}


def _check_source(plan: Plan, sample: Sample, done: Mapping[int, Photo]) -> None:
    """Raises a ConfigError if a source image is not the one that its files were made from."""
    recorded = done.get(sample.image_id, {}).get("digest")
    if recorded is not None and sample.digest != recorded:
        raise ConfigError(
            f"the source image {sample.filename} is not the one that the files in {plan.root} were made from: its digest "
            f"is {sample.digest}, the recorded one {recorded}. Nothing was changed there; restore the image, or use "
            "another folder"
        )


def is_whole(plan: Plan, done: Mapping[int, Photo], image_id: int) -> bool:
    """Returns whether all files of a source image have their recorded digests."""
    _check_source(plan, plan.sample(image_id), done)
    places = (plan.path(image_id, folder) for folder in plan.layout.cells)
    return all(file_digest(path) == digest for path, digest in zip(places, done[image_id]["files"], strict=True))


def write_photo(
    plan: Plan, done: Mapping[int, Photo], ready: Mapping[int, Mapping[str, bytes]], image_id: int
) -> Photo:
    """Writes the missing and damaged files of a source image; returns its line."""
    sample = plan.sample(image_id)
    _check_source(plan, sample, done)
    made = ready.get(image_id, {})
    digests: list[str] = []
    for place, folder in enumerate(plan.layout.cells):
        path = plan.path(image_id, folder)
        recorded = done[image_id]["files"][place] if image_id in done else None
        if recorded is None or file_digest(path) != recorded:
            data = made[folder] if folder in made else plan.make(sample, folder)
            if recorded not in (None, content_digest(data)):
                raise ConfigError(
                    f"{path} is damaged and cannot be made again: a library that makes the images has changed. Use another "
                    "folder"
                )
            write_file(path, data)
            recorded = content_digest(data)
        digests.append(recorded)
    return {**plan.photos[image_id], "digest": sample.digest, "files": digests}
