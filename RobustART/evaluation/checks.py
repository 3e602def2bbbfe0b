"""Checks of a run: its models, labels, images and output folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from RobustART.benchmarks import Benchmark
from RobustART.core.logits import check_logits
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset
from RobustART.data.imagenet import NUMBERS, ORDERED, WNIDS
from RobustART.errors import ConfigError, DataError, ModelError, RecordError, UserError, reason
from RobustART.models import Classifier
from RobustART.records.lines import Records, read_digests

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds to wait for the lock of a run that was killed: the kernel frees its memory before it closes its files."""


def probe(model: nn.Module, size: int, device: torch.device) -> int:
    """Returns the number of classes of a model, by a forward pass of one grey image.

    Raises:
        ModelError: the model does not return logits, or fails on the image.
    """
    try:
        grey = torch.full((1, 3, size, size), 0.5, device=device)
    except (RuntimeError, MemoryError):
        raise ModelError(f"an image of input_size {size} does not fit in memory; see model.preprocessing") from None
    try:
        with torch.no_grad():
            output = model(grey)
    except UserError:
        raise
    except Exception as error:
        raise ModelError(f"the model fails on an image of shape (1, 3, {size}, {size}): {reason(error)}") from error
    return check_logits(output, 1, valued=True).shape[1]


def check_other(name: str | None, model: Classifier, stated: Preprocessing, classes: int, own: int) -> None:
    """Raises a ConfigError if a further model of a benchmark takes other images or has other classes.

    Args:
        name: name of the model.
        model: the model.
        stated: preprocessing of the model under evaluation; mean and std may differ, because models apply them.
        classes: number of outputs of the model under evaluation.
        own: number of outputs of this model.
    """
    if own != classes:
        raise ConfigError(f"the model {name!r} has {own} outputs, the model under evaluation {classes}")
    for field in (field.name for field in dataclasses.fields(stated)):
        mine, theirs = getattr(model.preprocessing, field), getattr(stated, field)
        if mine != theirs and field not in ("mean", "std"):
            raise ConfigError(
                f"the model {name!r} takes images with {field} {mine}, the model under evaluation with {theirs}; both "
                f"receive the same images, so set the same for both: preprocessing: {{{field}: {theirs}}}"
            )


def check_labels(dataset: ImageDataset, ids: Sequence[int], classes: int) -> None:
    """Raises a DataError if the labels of a data set are not classes of the model."""
    if dataset.class_names is not None and len(dataset.class_names) != classes:
        first = ", ".join(dataset.class_names[:3])
        raise DataError(
            f"{dataset.name} has {len(dataset.class_names)} classes ({first}, ...), but the model has {classes} outputs. "
            "If the classes are folders, give the labels in a meta_file, or, for ImageNet's classes, name the folders by "
            "their WordNet ids"
        )
    for image_id in ids:
        if not 0 <= dataset.labels[image_id] < classes:
            raise DataError(
                f"{dataset.files[image_id]} of {dataset.name} has the label {dataset.labels[image_id]}, but the model "
                f"has {classes} outputs (labels from 0 to {classes - 1}){_ordered(dataset, classes)}"
            )


def _ordered(dataset: ImageDataset, classes: int) -> str:
    """Returns advice where the order of the class folders may be the order of the model's outputs, else ""."""
    if dataset.labelled_by not in (WNIDS, NUMBERS) or type(dataset) is not ImageDataset:
        return ""
    folders = len({file.partition("/")[0] for file in dataset.files})
    labels = f". The labels are the {dataset.labelled_by}, of which there are {folders}"
    return f"{labels}. If these are the model's classes, {ORDERED}" if folders == classes else labels


def one_class(dataset: ImageDataset, ids: Sequence[int]) -> str | None:
    """Returns a warning if several images are all of one class, which a constant answer classifies correctly, or None."""
    labels = {dataset.labels[i] for i in ids}
    if len(ids) < 2 or len(labels) > 1:
        return None
    return (
        f"all {len(ids)} images of {dataset.name} have the label {labels.pop()}: a model that always answers this class "
        "has an accuracy of 100"
    )


def check_same_classes(datasets: Iterable[ImageDataset]) -> None:
    """Raises a DataError if a class folder has one label in a data set of a run and another label in another one."""
    seen: dict[str, tuple[int, ImageDataset]] = {}
    for dataset in {id(dataset): dataset for dataset in datasets}.values():
        labels: dict[str, set[int]] = {}
        for file, label in zip(dataset.files, dataset.labels, strict=True):
            folder, inside, _ = file.partition("/")
            if inside:
                labels.setdefault(folder, set()).add(label)
        for folder, (label, *others) in labels.items():
            if others:  # a folder of several classes
                continue
            before, other = seen.setdefault(folder, (label, dataset))
            if before != label:
                raise DataError(
                    f"the class folder {folder} has the label {before} in {other.name} ({other.labelled_by or 'its type'}) "
                    f"but {label} in {dataset.name} ({dataset.labelled_by or 'its type'}); both must number classes as the "
                    "model does"
                )


def check_same_images(runs: Sequence[tuple[Benchmark, Records]], results: Path) -> None:
    """Raises a RecordError if the content of an image differs between two benchmarks of a run.

    Args:
        runs: benchmarks and their records; the images of the last one are compared with those of the others.
        results: folder of the result files.
    """
    seen: dict[Path, tuple[str, str]] = {}
    for benchmark, records in runs:
        for part, table in zip(benchmark.passes, records.passes, strict=True):
            # Digests of other data sets cover several files, or pixels in memory.
            if type(part.dataset) is not ImageDataset:
                continue
            for file, digest in zip(table.files, table.digests, strict=True):
                name, before = seen.setdefault(part.dataset.root / file, (benchmark.name, digest))
                if before != digest:
                    raise RecordError(
                        f"{file} was another image for {name} than for {benchmark.name}: {results / f'{name}.jsonl'} has "
                        f"the digest {before}, {results / f'{benchmark.name}.jsonl'} has {digest}. It was replaced between "
                        "the two; restore the image and delete the result file of the wrong one, or use --fresh"
                    )


Earlier = dict[str, dict[tuple[str, str], dict[str, str]]]
"""Digests of images by benchmark, data set and file."""


def earlier_images(results: Path, names: Collection[str]) -> Earlier:
    """Returns the images of the result files in a folder, except those of the benchmarks ``names`` and damaged files."""
    found: Earlier = {}
    for path in sorted(results.glob("*.jsonl")):
        if path.stem not in names:
            with contextlib.suppress(RecordError, OSError):
                found[path.stem] = read_digests(path)
    return found


def check_earlier_images(benchmark: Benchmark, records: Records, earlier: Earlier, results: Path) -> None:
    """Raises a RecordError if an image differs from the one of an earlier run, of another benchmark in the same folder.

    Args:
        benchmark: the benchmark.
        records: its records.
        earlier: images of earlier runs.
        results: folder of the result files.
    """
    data = records.header["conditions"]["data"]
    for part, table, stated in zip(benchmark.passes, records.passes, data, strict=True):
        if type(part.dataset) is not ImageDataset:
            continue
        for name, images in earlier.items():
            before = images.get((stated["name"], stated["fingerprint"]), {})
            for file, digest in zip(table.files, table.digests, strict=True):
                if before.get(file, digest) != digest:
                    raise RecordError(
                        f"{file} is another image for {benchmark.name} than it was for {name}: "
                        f"{results / f'{name}.jsonl'} has the digest {before[file]}, "
                        f"{results / f'{benchmark.name}.jsonl'} has {digest}. It was replaced between the two; restore the "
                        "image, evaluate both with --fresh, or use another output_dir"
                    )


def prepare_output(output_dir: Path) -> Path:
    """Returns the results folder under ``output_dir``, created if missing; raises a ConfigError if it is not writable."""
    results = output_dir / "results"
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe_file = results / f".write-test-{os.getpid()}"
        probe_file.write_bytes(b"")
        probe_file.unlink()
    except OSError as error:
        raise ConfigError(f"output_dir {output_dir} cannot be written: {error.strerror or error}") from None
    return results


_held: set[int] = set()
"""Descriptors of the locks of this process."""


def _let_go() -> None:
    """Closes the locks that a new process has from its parent, so that they end with the parent."""
    while _held:
        os.close(_held.pop())


if fcntl is not None:
    os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def only_writer(folder: Path, main: bool = True) -> Iterator[None]:
    """Holds a lock on a folder, so that a second run on it is refused instead of spoiling both.

    The lock ends with this process, however it ends; processes that it forks do not hold it.

    Args:
        folder: where the run writes.
        main: whether this process takes the lock; one of a run's does.

    Raises:
        RecordError: another run has the lock.
    """
    if not main or fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    _held.add(descriptor)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            raise RecordError(f"another run is writing to {folder}; wait for it, or take another folder") from None
        except OSError:
            log.info("%s is on a file system without locks; do not start two runs on it at once", folder)
        return
