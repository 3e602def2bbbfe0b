"""How benchmarks are stored: what :mod:`RobustART.generation.generate` writes, as data.

A layout is a function (dataset, *, options) -> :class:`Layout`; its keyword-only parameters are the options of the noise,
and the benchmark's own builder checks them. Adding one is registering a function.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from RobustART.benchmarks import Pass, build_benchmark
from RobustART.benchmarks.perturbed import imagenet_p_folders
from RobustART.benchmarks.published import LEVELS
from RobustART.core.imaging import RESIZES, Array, encode_jpeg
from RobustART.core.imaging.video import write_video
from RobustART.core.options import check_options, option_defaults
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset, Sample, View
from RobustART.errors import ConfigError, DataError
from RobustART.metrics.stability import SCORED_PERTURBATIONS, is_noise
from RobustART.noise.corruptions import CORRUPTIONS, group_of
from RobustART.noise.perturbations import perturb
from RobustART.registry import Registry

Store = Callable[[Sample, np.random.Generator], bytes]
"""What makes a file from a photo, with the generator of that photo and cell."""
Row = tuple[str, int]
"""Name of a stored photo, ``class/name`` without the suffix, and its label."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the pictures of a benchmark are stored: a folder for each cell, in it class folders, in them a file a photo."""

    dataset: ImageDataset
    """The clean photos, read as the benchmark reads them."""
    cells: Mapping[str, Store]
    """Name of each cell, which is its folder, to what makes its files."""
    suffix: str
    """Of the files."""
    libraries: tuple[str, ...]
    """Packages that make the pictures: other versions might make others."""
    keep_suffix: bool = False
    """Whether the photo's own suffix stays in the name."""
    prepare: Callable[[Preprocessing], Preprocessing] | None = None
    """The procedure of a benchmark that resizes in its own way: only the input size can be chosen then."""
    lists: Callable[[Sequence[str], Sequence[Row]], Iterator[tuple[str, str]]] | None = None
    """(cells, photos) -> names and texts of the lists that the original's format has beside the pictures."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All options, defaults too; filled in by :func:`build_layout`."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Fields of the preprocessing that the pictures depend on."""
        return ("input_size",) if self.prepare else ("input_size", "resize", "interpolation", "crop_mode")


LAYOUTS: Registry[Callable[..., Layout]] = Registry("data set to generate")
"""Names of benchmarks to functions (dataset, *, options) -> :class:`Layout`."""


def build_layout(benchmark: str, dataset: ImageDataset, options: Mapping[str, Any] | None) -> Layout:
    """Returns how a benchmark is stored; errors as those of :func:`build_benchmark`."""
    function = LAYOUTS[benchmark]
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"the options of generating {benchmark} must be a mapping, got {options!r}")
    given = dict(options or {})
    check_options(given, function, f"generating {benchmark}")
    return dataclasses.replace(function(dataset, **given), options={**option_defaults(function), **given})


def published_names(dataset: ImageDataset, ids: Sequence[int], keep_suffix: bool) -> list[str]:
    """Returns ``class/name`` of photos: the first folder of the path, then the rest of it as one name.

    Raises:
        DataError: a photo is in no class folder, cannot be named in a list, or two would get the same name.
    """
    names: dict[str, str] = {}
    for file in (dataset.files[i] for i in ids):
        path = PurePosixPath(file if keep_suffix else PurePosixPath(file).with_suffix(""))
        if len(path.parts) < 2 or path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{file!r} of {dataset.name} is in no class folder; a published layout has one for each class"
            )
        name = f"{path.parts[0]}/{'_'.join(path.parts[1:])}"
        if len(name.encode(errors="ignore").decode()) < len(name) or len(name.splitlines()) != 1:
            raise DataError(
                f"{file!r} of {dataset.name} has bytes in its name that are not UTF-8, or a line break; lists of images "
                "cannot name it, so rename it"
            )
        if name in names:
            raise DataError(f"{names[name]} and {file} would both be written as {name}; rename one of them")
        names[name] = file
    return list(names)


def _store(sample: Sample, rng: np.random.Generator, *, view: View, encode: Callable[[Array], bytes]) -> bytes:
    return encode(view(sample, rng))


def _views(part: Pass, encode: Callable[[Array], bytes]) -> dict[str, Store]:
    """Returns the views of a pass as files."""
    return {cell.name: functools.partial(_store, view=cell.view, encode=encode) for cell in part.cells}


@LAYOUTS.register("imagenet_c")
def imagenet_c(
    dataset: ImageDataset,
    *,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = LEVELS,
    jpeg_quality: int = 85,
    backend: str = "robustart",
) -> Layout:
    """Returns ImageNet-C as JPEG files, with the original's meta files; the options are those of the benchmark."""
    options = {"corruptions": corruptions, "severities": severities, "backend": backend}
    part = build_benchmark("imagenet_c", dataset, options).passes[0]
    encode = functools.partial(encode_jpeg, quality=jpeg_quality)
    encode(np.zeros((8, 8, 3), np.uint8))
    libraries = ("numpy", "scipy", "pillow", "opencv-python", "opencv-python-headless", "imagecorruptions-imaug")
    return Layout(part.dataset, _views(part, encode), ".JPEG", libraries, lists=_meta_files)


def _meta_files(cells: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for cell in cells:
        corruption, _, severity = cell.partition("/")
        group = group_of(corruption) or "other"
        file = f"{group}-{corruption}-{severity}.jsonl"
        lines = (json.dumps({"filename": f"{cell}/{name}.JPEG", "label": label}) + "\n" for name, label in rows)
        yield f"meta/{file}", "".join(lines)
        groups.setdefault(group, {}).setdefault(corruption, {})[severity] = file
    yield "meta/all.json", json.dumps(groups, indent=2) + "\n"


@LAYOUTS.register("imagenet_s")
def imagenet_s(
    dataset: ImageDataset,
    *,
    decoders: Sequence[str] = ("pil", "opencv", "ffmpeg"),
    resizes: Sequence[str] = tuple(RESIZES),
) -> Layout:
    """Returns ImageNet-S as ``.npy`` files, one list a system; the options are those of the benchmark."""
    part = build_benchmark("imagenet_s", dataset, {"decoders": decoders, "resizes": resizes}).passes[0]
    libraries = ("numpy", "pillow", "opencv-python", "opencv-python-headless", "av", "simplejpeg", "torchvision")
    return Layout(
        part.dataset, _views(part, _npy), ".npy", libraries, keep_suffix=True, prepare=part.preprocessing,
        lists=_system_lists,
    )  # fmt: skip


def _npy(image: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, image)
    return buffer.getvalue()


def _system_lists(cells: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for cell in cells:
        yield f"{cell.replace('/', '_')}.txt", "".join(f"{cell}/{name}.npy {label}\n" for name, label in rows)


@LAYOUTS.register("imagenet_p")
def imagenet_p(
    dataset: ImageDataset, *, perturbations: Sequence[str] = SCORED_PERTURBATIONS, difficulty: int = 1
) -> Layout:
    """Returns ImageNet-P as MP4 files; the options are those of the benchmark."""
    folders = imagenet_p_folders(perturbations, difficulty).values()
    cells = {folder: functools.partial(_video, perturbation=folder) for folder in folders}
    libraries = ("numpy", "scipy", "pillow", "opencv-python", "opencv-python-headless", "av", "imagecorruptions-imaug")
    return Layout(dataset, cells, ".mp4", libraries, prepare=_still)


def _still(model: Preprocessing) -> Preprocessing:
    """Returns the preprocessing that has the model's input size; :func:`perturb` resizes the photo by itself."""
    return Preprocessing(input_size=model.input_size, resize=model.input_size)


def _video(sample: Sample, rng: np.random.Generator, *, perturbation: str) -> bytes:
    """Returns a sequence, encoded as the official ones: x264's grain tuning for noise, its rate 20 for the others."""
    frames = perturb(sample.image, perturbation, size=sample.size, rng=rng)
    return write_video(frames, crf=23, tune="grain") if is_noise(perturbation) else write_video(frames, crf=20)
