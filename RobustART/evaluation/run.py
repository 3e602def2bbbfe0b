"""Evaluates a model on several benchmarks, and writes the result files and the report."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from RobustART.benchmarks import Benchmark, build_benchmark
from RobustART.core.defaults import BATCH_SIZE
from RobustART.core.determinism import exact_arithmetic
from RobustART.core.distributed import World
from RobustART.core.options import to_plain
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.seeding import generators_kept, seed_generators
from RobustART.data import ImageDataset, balanced_subset
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation.blocks import evaluation_passes
from RobustART.evaluation.checks import (
    check_earlier_images,
    check_labels,
    check_other,
    check_same_classes,
    check_same_images,
    earlier_images,
    one_class,
    only_writer,
    prepare_output,
    probe,
)
from RobustART.evaluation.conditions import fingerprint, make_header, versions
from RobustART.evaluation.engine import run_benchmark
from RobustART.evaluation.fitting import fit
from RobustART.evaluation.picture import draw_noise
from RobustART.evaluation.questions import questions
from RobustART.evaluation.runtime import choose_runtimes
from RobustART.evaluation.settings import Settings, run_settings
from RobustART.metrics.spec import summarize
from RobustART.models import Classifier
from RobustART.models.macs import count_macs
from RobustART.records.journal import Journal
from RobustART.records.lines import Records
from RobustART.report import Report, build_report, write_report
from RobustART.report.facts import FORMAT, Facts, keep_timing, read_facts, write_facts

log = logging.getLogger(__name__)


def evaluate(
    model: nn.Module,
    dataset: Any,
    benchmarks: Mapping[str, Mapping[str, Any] | None],
    *,
    output_dir: str | Path = ".",
    batch_size: int = BATCH_SIZE,
    workers: int | None = 0,
    amp: str | None = None,
    channels_last: bool = False,
    runtime: str = "torch",
    seed: int = 0,
    repeats: int = 1,
    limit: int | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    fresh: bool = False,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    world: World | None = None,
) -> Report:
    """Evaluates a model on benchmarks; writes records and report to ``output_dir/results``, and returns the report.

    Images that an earlier run of the same configuration has recorded there are not computed again.

    Args:
        model: a :class:`Classifier`, or a network that takes normalised images (see :func:`wrap_model`). It is moved to
            the device and set to evaluation mode.
        dataset: clean images, in any form that :func:`~RobustART.data.as_dataset` takes; may be None if every benchmark has
            its own data set. A network that states no preprocessing gets torch data sets, and images in memory, in their
            own size; float tensors also with their own normalisation.
        benchmarks: names in ``BENCHMARKS`` with their options.
        output_dir: folder in which ``results/`` is created.
        batch_size: number of images in a forward pass of each process.
        workers: number of loader processes; 0 loads in the main process, None is one per core.
        amp: ``bf16`` or ``fp16``. Attacked images are classified in float32; with ``bf16``, attacks search in it.
        channels_last: whether to use the channels-last memory format, which is often faster.
        runtime: what computes the passes without gradient: ``torch``, ``auto``, ``openvino``, ``onnxruntime`` or
            ``compile``; see :mod:`RobustART.evaluation.runtime`.
        seed: seed of all noise, and of models that draw random numbers.
        repeats: number of times that the model is asked about each view; the averaged softmax classifies it, and the report
            has the spread of the single answers.
        limit: size of a seeded, class-balanced subset of each data set; None is all images.
        preprocessing: fields that override the model's preprocessing.
        fresh: whether to delete earlier results of these benchmarks.
        progress: whether to show progress bars.
        config: configuration to quote in the report.
        world: the processes and the device; None reads the environment.

    Raises:
        UserError: an argument, image or model is invalid, or results cannot be read or written. Records are kept.
    """
    own = world or World()
    try:
        with generators_kept(own.device):
            return _evaluate(
                model, dataset, benchmarks, Path(output_dir), limit, preprocessing, fresh, config, own,
                run_settings(
                    batch_size=batch_size, workers=workers, amp=amp, channels_last=channels_last, runtime=runtime,
                    seed=seed, repeats=repeats, progress=progress,
                ),
            )  # fmt: skip
    finally:
        if world is None:
            own.close()


def _evaluate(
    model: nn.Module, dataset: Any, benchmarks: Mapping[str, Mapping[str, Any] | None], output_dir: Path,
    limit: int | None, preprocessing: Mapping[str, Any] | None, fresh: bool, config: Mapping[str, Any] | None,
    world: World, settings: Settings,
) -> Report:  # fmt: skip
    started = time.monotonic()
    if not benchmarks:
        raise ConfigError("there is nothing to evaluate: benchmarks is empty")
    classifier, dataset = fit(model, dataset, preprocessing)
    classifier = classifier.to(world.device).eval()
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    classifier = classifier.to(memory_format=layout)
    stated = classifier.preprocessing
    classes = probe(classifier, stated.input_size, world.device)
    plans: list[tuple[Benchmark, list[list[int]]]] = []
    for name, options in benchmarks.items():
        benchmark = build_benchmark(name, dataset, options)
        for key, other in benchmark.models.items():
            other.to(world.device, memory_format=layout).eval()  # type: ignore[call-overload]
            check_other(key, other, stated, classes, probe(other, stated.input_size, world.device))
        chosen = [chosen_images(part.dataset, limit, settings.seed) for part in benchmark.passes]
        for part, ids in zip(benchmark.passes, chosen, strict=True):
            check_labels(part.dataset, ids, classes)
        plans.append((benchmark, chosen))
    check_same_classes(part.dataset for benchmark, _ in plans for part in benchmark.passes)
    results = prepare_output(output_dir)
    with only_writer(results, world.is_main):
        return _run_plans(plans, classifier, classes, results, fresh, config, world, settings, limit, started)


def _run_plans(
    plans: Sequence[tuple[Benchmark, list[list[int]]]],
    classifier: Classifier,
    classes: int,
    results: Path,
    fresh: bool,
    config: Mapping[str, Any] | None,
    world: World,
    settings: Settings,
    limit: int | None,
    started: float,
) -> Report:
    stated = classifier.preprocessing
    weights = fingerprint(classifier)
    runtimes = choose_runtimes(plans, classifier, results, fresh, world, settings)
    ask = questions(plans, classifier, stated, world.device, settings.seed)
    runs: list[tuple[Benchmark, Records]] = []
    timings: dict[str, dict[str, Any]] = {}
    earlier = earlier_images(results, [benchmark.name for benchmark, _ in plans])
    for benchmark, chosen in plans:
        header = make_header(
            benchmark, chosen, classifier, weights, classes, world.device, settings,
            runtimes.conditions(benchmark, classifier),
        )  # fmt: skip
        path = results / f"{benchmark.name}.jsonl"
        if fresh and world.is_main:
            Journal(path, header, []).delete()
        world.barrier()
        models = runtimes.served({None: classifier, **benchmark.models})
        begun = time.monotonic()
        records, computed = run_benchmark(
            models, benchmark, header, chosen, stated, path, world, settings, ask, classes
        )
        check_same_images([*runs, (benchmark, records)], results)
        check_earlier_images(benchmark, records, earlier, results)
        timings[benchmark.name] = {**_timing(time.monotonic() - begun, computed), "images": sum(map(len, chosen))}
        runs.append((benchmark, records))
    every = {benchmark.name: records for benchmark, records in runs}
    summaries = summarize(every)
    images = sum(timing["images_computed"] for timing in timings.values())
    facts: Facts = {
        "format": FORMAT,
        "model": {
            "architecture": type(classifier.network).__name__,
            "parameters": sum(value.numel() for value in classifier.network.parameters()),
            "classes": classes,
            "technique": classifier.technique,
            "macs": _macs(classifier),
        },
        "conditions": {
            "subset": None if limit is None else f"{limit} images, class-balanced, drawn with seed {settings.seed}",
            "overridden": to_plain(classifier.overridden),
            "amp": settings.amp,
            "versions": versions(settings.runtime != "torch"),
            "config": to_plain(config) if config is not None else None,
        },
        "notes": [*classifier.notes, *runtimes.notes],
        "benchmarks": {
            benchmark.name: _benchmark_facts(benchmark, records, chosen, stated, settings.repeats)
            for (benchmark, records), (_, chosen) in zip(runs, plans, strict=True)
        },
        "timing": {**_timing(time.monotonic() - started, images), "benchmarks": timings},
    }
    facts = keep_timing(facts, _facts_before(results))
    report = build_report(every, facts, summaries)

    def draw() -> None:
        try:
            with exact_arithmetic():
                seed_generators(settings.seed, world.device)
                draw_noise(results, classifier, classes, runs, world.device, settings.seed)
        except OSError as error:
            log.warning("the example images of noise.png could not be written: %s", error.strerror or error)

    if world.is_main:
        for warning in report.data["warnings"]:
            log.warning("%s", warning)
        write_facts(results, facts)
        write_report(results, report, draw)
    world.barrier()
    return report


def _macs(classifier: Classifier) -> int | None:
    """Returns the multiply-adds of one image; None if they cannot be counted without memory, as in a scripted network."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return count_macs(classifier.network, classifier.preprocessing.input_size) or None
    except Exception as error:  # a user's network can raise anything on tensors without values
        log.debug("the multiply-adds of the network are not known: %s", error)
        return None


def _benchmark_facts(
    benchmark: Benchmark, records: Records, ids: Sequence[Sequence[int]], stated: Preprocessing, repeats: int
) -> dict[str, Any]:
    """Returns the entry of a benchmark in ``run.json``."""
    data = [(part.dataset, chosen) for part, chosen in zip(benchmark.passes, ids, strict=True)]
    notes = [*benchmark.notes, *(dataset.note for dataset, _ in data if dataset.note)]
    notes += dict.fromkeys(note for dataset, chosen in data if (note := one_class(dataset, chosen)))
    return {
        "hash": records.header["hash"],
        "data": [
            {
                "name": part.dataset.name,
                "images": len(chosen),
                "of": len(part.dataset),
                **({"labels": part.dataset.labelled_by} if part.dataset.labelled_by else {}),
                **({"pixels": part.dataset.pixels} if part.dataset.pixels else {}),
            }
            for part, chosen in zip(benchmark.passes, ids, strict=True)
        ],
        **({"folders": benchmark.folders} if benchmark.folders else {}),
        "forward": repeats * evaluation_passes(benchmark.passes, ids),
        "notes": [*notes, *(benchmark.notes_on(stated) if benchmark.notes_on else ())],
    }


def _facts_before(results: Path) -> Facts | None:
    """Returns the facts of an earlier run in a folder; None if ``run.json`` is missing or damaged."""
    try:
        return read_facts(results)
    except RecordError:
        return None


def _timing(seconds: float, images: int) -> dict[str, Any]:
    return {
        "wall_seconds": round(seconds, 3),
        "images_computed": images,
        "images_per_second": round(images / seconds, 3),
    }


def chosen_images(dataset: ImageDataset, limit: int | None, seed: int) -> list[int]:
    """Returns the ids of the images to evaluate: all, or a subset of ``limit``; raises a ConfigError if it is invalid."""
    every = list(range(len(dataset)))
    return every if limit is None else balanced_subset(dataset.labels, limit, seed, dataset.name)
