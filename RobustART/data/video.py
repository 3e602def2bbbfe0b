"""Videos as samples with frames, such as ImageNet-P's: one record a video, one cell a frame."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from RobustART.core.imaging import Array, read_bytes
from RobustART.core.imaging.video import read_video
from RobustART.core.published_set import PublishedSet
from RobustART.data.datasets import ImageDataset
from RobustART.data.samples import Sample
from RobustART.data.variants import class_labels, same_files
from RobustART.errors import DataError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")
"""What counts as a video in a class folder."""


class VideoSample(Sample):
    """One video; it is decoded once, when its first frame is asked for.

    Attributes:
        length: frames it must have.
        place: what to call it in errors.
    """

    length: int = 0
    place: str = ""

    @functools.cached_property
    def frames(self) -> Array:
        """All its frames, uint8 (T, H, W, 3)."""
        frames = read_video(self.data, self.place)
        if len(frames) != self.length:
            raise DataError(f"{self.place} has {len(frames)} frames; the first video of its set has {self.length}")
        return frames

    @functools.cached_property
    def image(self) -> Array:
        """Its first frame."""
        return self.frames[0]

    def frame(self, index: int) -> Array:
        """The model's view of one frame, uint8 (S, S, 3)."""
        try:
            return self._prepare(self.frames[index])
        except DataError as error:
            raise DataError(f"{self.place}: {error}") from None


@dataclasses.dataclass(frozen=True)
class VideoDataset(ImageDataset):
    """Videos with labels, all of one length."""

    length: int = 0
    """Frames of each."""

    def sample(self, image_id: int, prepare: Callable[[Array], Array]) -> VideoSample:
        """Returns one video."""
        read = functools.partial(self.read, image_id)
        sample = VideoSample(image_id, self.files[image_id], self.labels[image_id], read, prepare)
        sample.length, sample.place = self.length, f"{self.root.name}/{self.files[image_id]}"
        return sample


def video_folders(published: PublishedSet, root: Path, folders: Mapping[str, str]) -> dict[str, VideoDataset]:
    """Returns the videos of folders of class folders with the same names; a set's length is that of its first video."""
    files, note = same_files(published, root, folders, VIDEO_SUFFIXES)
    labels, stated = class_labels(published, files)
    found = {}
    for name, folder in folders.items():
        place = root / folder
        length = len(read_video(read_bytes(place / files[0]), str(place / files[0])))
        found[name] = VideoDataset(
            files, labels, place, stated.names, name=f"{published.title} {folder}", note=note, labelled_by=stated.rule,
            length=length,
        )  # fmt: skip
    return found


def frame_view(sample: Sample, rng: np.random.Generator, *, index: int) -> Array:
    """One frame of the video, as the model takes it."""
    assert isinstance(sample, VideoSample)
    return sample.frame(index)
