"""Evaluates sub-networks of a trained supernet with the benchmarks of a config, and writes one row for each.

One process evaluates a sub-network alone, so its row does not depend on how the list is shared out. Before that, its
BatchNorm statistics are measured on training images. Rows that exist are kept, and the evaluation of a sub-network resumes
where it was interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from RobustART.benchmarks import build_benchmark
from RobustART.benchmarks.building import clean_view
from RobustART.config.schema import Config
from RobustART.core.determinism import exact_arithmetic
from RobustART.core.distributed import Placement, World, choose_device
from RobustART.core.files import parse_json
from RobustART.data import ImageDataset, balanced_subset, load_views
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation.conditions import fingerprint, make_header
from RobustART.evaluation.run import chosen_images, evaluate
from RobustART.evaluation.scoring import to_float
from RobustART.evaluation.settings import Settings, run_settings
from RobustART.models import Classifier
from RobustART.models.section import build_section
from RobustART.nas import Space, Supernet, create_space
from RobustART.nas.rows import row_of, write_file, write_rows
from RobustART.nas.sampling import Subnet, read_subnets
from RobustART.records.journal import difference
from RobustART.records.lines import config_hash
from RobustART.training.ema import recalibrate
from RobustART.training.inputs import (
    build_dataset,
    chosen_benchmarks,
    clean_dataset,
    evaluation_options,
    evaluation_section,
    model_section,
    weights_of,
)
from RobustART.training.preflight import refuse_incompatible

log = logging.getLogger("RobustART")

NEEDS = "model.type must be a supernet, nas:resnet or nas:mobilenet_v3 without an encoding"

BN_IMAGES = 2000
"""Default number of training images on which BatchNorm statistics are measured."""
BN_BATCH = 128
"""Largest batch in that measurement."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a list that one process works on: every ``of``-th entry, from number ``index`` on."""

    index: int = 0
    """Number of the part, from 0."""
    of: int = 1
    """Number of parts."""

    def within(self, placement: Placement) -> Share:
        """Returns the part of this part for one of several processes."""
        return Share(self.index + self.of * placement.rank, self.of * placement.size)


def parse_shard(text: str) -> Share:
    """Returns the part that a string such as ``0/2``, the first of two, names; a ConfigError if it names none."""
    first, slash, second = text.partition("/")
    if not slash or not first.isdecimal() or not second.isdecimal() or int(first) >= int(second):
        raise ConfigError(f"--shard must be 0/N to N-1/N, such as 0/2 and 1/2, got {text!r}")
    return Share(int(first), int(second))


def space_of(config: Config) -> Space:
    """Returns the space of a config's supernet, without building it."""
    section = model_section(config)
    library, _, name = section.type.partition(":")
    if library != "nas" or section.kwargs.get("encoding") is not None:
        raise ConfigError(f"{NEEDS}, got {section.type!r}")
    return create_space(name, section.kwargs)


def build_supernet(config: Config, folder: Path, weights: str | None) -> Classifier:
    """Returns the trained supernet of a config; ``weights`` takes precedence over what the config names.

    Raises:
        ConfigError: the model is not a supernet, or no weights are named.
    """
    space_of(config)  # it must be one
    weights = weights_of(config, folder) if weights is None else weights
    if weights is None:
        raise ConfigError(
            "sub-networks are parts of a trained supernet: name its weights by --weights CKPT or model.weights"
        )
    model = build_section(model_section(config), weights=weights)
    assert isinstance(model.network, Supernet)
    return model


def as_classifier(supernet: Classifier, subnet: Subnet) -> Classifier:
    """Returns a sub-network behind the supernet's normalisation; input size and resize are scaled together."""
    network = supernet.network
    assert isinstance(network, Supernet)
    stated, size = supernet.preprocessing, subnet.encoding["input_size"]
    resize = round(stated.resize * size / stated.input_size)
    own = dataclasses.replace(stated, input_size=size, resize=resize)
    classifier = Classifier(network.subnet(subnet.encoding), own, supernet.source)
    classifier.arguments = {**supernet.arguments, "encoding": json.dumps(subnet.encoding)}
    classifier.notes, classifier.technique = supernet.notes, supernet.technique
    return classifier.eval()


class Statistics:
    """Measures the BatchNorm statistics of sub-networks, on the same training images with the preprocessing of evaluation.

    Args:
        dataset: training images.
        count: number of images; None is 2,000, or all if there are fewer.
        seed: seed of the choice, which is class-balanced.
        workers: loader processes.
    """

    def __init__(self, dataset: ImageDataset, count: int | None, seed: int, workers: int) -> None:
        count = min(BN_IMAGES, len(dataset)) if count is None else count
        if not 1 <= count <= len(dataset):
            raise ConfigError(
                f"BatchNorm (--bn-images) can take from 1 to the {len(dataset)} images of {dataset.name}, got {count}"
            )
        self.dataset, self.workers = dataset, workers
        self.ids = balanced_subset(dataset.labels, count, seed, dataset.name)

    def conditions(self) -> dict[str, Any]:
        """Returns all that the statistics depend on, as plain data."""
        return {"images": len(self.ids), "batch": BN_BATCH, "data": self.dataset.fingerprint(self.ids)}

    def measure(self, model: Classifier, device: torch.device) -> None:
        """Replaces a model's running statistics by the mean over batches of nearly equal size, computed on ``device``."""
        model.to(device)
        with exact_arithmetic():
            recalibrate(model, self._batches(model, device))

    def _batches(self, model: Classifier, device: torch.device) -> Iterator[Tensor]:
        groups = [part.tolist() for part in np.array_split(self.ids, -(-len(self.ids) // BN_BATCH))]
        stated = model.preprocessing
        views = load_views(
            self.dataset, groups, {"": clean_view}, stated.apply, size=stated.input_size, seed=0, workers=self.workers
        )
        for pixels, _ in views:
            yield to_float(pixels[:, 0].to(device))


def evaluate_subnets(
    config: Config,
    folder: Path,
    subnets: Path,
    output: Path,
    *,
    weights: str | None = None,
    bn_images: int | None = None,
    share: Share | None = None,
    placement: Placement | None = None,
    report: Callable[[str], None] = log.info,
) -> list[Path]:
    """Evaluates a share of a list of sub-networks; returns the files of all rows once the whole list is evaluated.

    Args:
        config: the supernet's config, with the benchmarks in ``evaluation``.
        folder: folder of the config file.
        subnets: the list, see :mod:`RobustART.nas.sampling`.
        output: folder for ``subnets/ID/``, what the evaluation of each writes, and for the rows of all.
        weights: weights of the supernet.
        bn_images: see :class:`Statistics`.
        share: the part of the list to evaluate.
        placement: rank of this process among those that share the work.
        report: called with a line about every row.

    Raises:
        ConfigError: the config is invalid.
        RecordError: ``output`` holds results of other conditions.
    """
    refuse_incompatible(config, training=False)
    section, placement = evaluation_section(config), placement or Placement()
    if config.data.train is None:
        raise ConfigError("data.train is missing: the sub-networks' BatchNorm statistics are measured on its images")
    settings = run_settings(**evaluation_options(config), progress=False)
    device = choose_device(section.device, placement.local_rank)
    supernet = build_supernet(config, folder, weights)
    assert isinstance(supernet.network, Supernet)
    wanted = read_subnets(subnets, supernet.network.space)
    training = build_dataset(config.data.train, folder, "data.train")
    statistics = Statistics(training, bn_images, section.seed, settings.workers)
    dataset, benchmarks, limit = clean_dataset(config, folder), chosen_benchmarks(config, folder), section.limit
    conditions = _conditions(dataset, benchmarks, limit, supernet, device, settings, statistics)
    _claim(output, conditions)
    share = (share or Share()).within(placement)
    mine = wanted[share.index :: share.of]
    with World(str(device), environ={}) as world:
        for number, subnet in enumerate(mine, 1):
            place = output / "subnets" / subnet.id
            if (place / "row.json").is_file():
                continue
            model = as_classifier(supernet, subnet)
            statistics.measure(model, device)
            own = evaluate(
                model, dataset, benchmarks, output_dir=place, batch_size=settings.batch_size, workers=settings.workers,
                amp=settings.amp, channels_last=settings.channels_last, runtime=settings.runtime, seed=settings.seed,
                repeats=settings.repeats,
                limit=limit, progress=False, world=world,
            )  # fmt: skip
            row = row_of(subnet.to_plain(), own.data)
            write_file(place / "row.json", json.dumps(row) + "\n")
            report(f"{number} of {len(mine)}: {subnet.id}, {subnet.cost.macs / 1e6:.4g}M multiply-adds")
    return _collect(output, conditions, wanted)


def _conditions(
    dataset: ImageDataset | None, benchmarks: Mapping[str, Mapping[str, Any]], limit: int | None, supernet: Classifier,
    device: torch.device, settings: Settings, statistics: Statistics,
) -> dict[str, Any]:  # fmt: skip
    """Returns all that the rows depend on except the encodings, as plain data."""
    assert isinstance(supernet.network, Supernet)
    weights, classes, found = fingerprint(supernet), supernet.network.space.classes, {}
    for name, options in benchmarks.items():
        benchmark = build_benchmark(name, dataset, options)
        chosen = [chosen_images(part.dataset, limit, settings.seed) for part in benchmark.passes]
        stated = make_header(benchmark, chosen, supernet, weights, classes, device, settings)["conditions"]
        found[name] = {**stated, "data": [{**row, "name": None} for row in stated["data"]]}
    if not found:
        raise ConfigError("there is nothing to evaluate: evaluation.benchmarks is empty")
    return json.loads(
        json.dumps(
            {
                "space": supernet.network.space.to_plain(),
                "statistics": statistics.conditions(),
                "benchmarks": found,
            }
        )
    )


def _claim(output: Path, conditions: dict[str, Any]) -> None:
    """Writes the conditions into the folder, or raises a RecordError if it holds results of others."""
    path = output / "conditions.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror or error}") from None
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        write_file(temporary, json.dumps(conditions, indent=2) + "\n")
        try:
            os.link(temporary, path)  # of several processes that begin together, one is first
        except FileExistsError:
            pass
        except OSError:
            os.replace(temporary, path)  # a file system without links
        temporary.unlink(missing_ok=True)
    try:
        before = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from None
    rows = difference(before, conditions)
    if rows:
        raise RecordError(
            f"{output} holds sub-networks of another run. What differs (there -> here): {'; '.join(rows[:8])}. Results "
            "are never mixed: take another folder"
        )


def _collect(output: Path, conditions: dict[str, Any], wanted: Sequence[Subnet]) -> list[Path]:
    """Writes the rows of the whole list if all exist; the last process to finish does, and any would write the same."""
    rows = []
    for subnet in wanted:
        path = output / "subnets" / subnet.id / "row.json"
        if not path.is_file():
            return []
        try:
            row = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordError(
                f"{path} cannot be read ({error}); delete it, and the same command writes it again"
            ) from None
        rows.append(row)
    header = {
        "conditions": config_hash(conditions),
        "space": conditions["space"],
        "statistics": conditions["statistics"],
    }
    return write_rows(output, header, rows)
