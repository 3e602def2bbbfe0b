"""Videos as samples with frames, such as ImageNet-P's: one record a video, one cell a frame."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from RobustART.data.datasets import ImageDataset, Sample
from RobustART.data.imagenet import class_index
from RobustART.data.published import Published
from RobustART.errors import DataError
from RobustART.imaging import Array, read_bytes
from RobustART.imaging.video import read_video

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")
"""What counts as a video in a class folder."""


class VideoSample(Sample):
    """One video; it is decoded once, when its first frame is asked for."""

    length: int = 0

    @functools.cached_property
    def frames(self) -> Array:
        """All its frames, uint8 (T, H, W, 3)."""
        frames = read_video(self.data, self.filename)
        if len(frames) != self.length:
            raise DataError(f"{self.filename} has {len(frames)} frames; the first video of its set has {self.length}")
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
            raise DataError(f"{self.filename}: {error}") from None


@dataclasses.dataclass(frozen=True)
class VideoDataset(ImageDataset):
    """Videos with labels, all of one length."""

    length: int = 0
    """Frames of each."""

    def sample(self, image_id: int, prepare: Callable[[Array], Array]) -> VideoSample:
        """Returns one video."""
        read = functools.partial(self.read, image_id)
        sample = VideoSample(image_id, self.files[image_id], self.labels[image_id], read, prepare)
        sample.length = self.length
        return sample


def video_folder(spec: Published, root: Path) -> VideoDataset:
    """Returns the videos of a folder of class folders; their length is that of the first.

    Raises:
        DataError: the folder is missing or holds no videos.
    """
    if not root.is_dir():
        raise spec.missing(str(root), "there is no such folder")
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        path.relative_to(root).as_posix()
        for folder in folders
        for path in sorted((root / folder).iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES
    ]
    if not files:
        raise spec.missing(f"{root}/{{wnid}}/*.mp4", "there are no videos")
    index, names = class_index(folders)
    labels = tuple(index[file.split("/", 1)[0]] for file in files)
    length = len(read_video(read_bytes(root / files[0]), files[0]))
    return VideoDataset(tuple(files), labels, root, names, name=f"{spec.title} {root.name}", length=length)


def frame_view(sample: Sample, rng: np.random.Generator, *, index: int) -> Array:
    """One frame of the video, as the model takes it."""
    assert isinstance(sample, VideoSample)
    return sample.frame(index)
