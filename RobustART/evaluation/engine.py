"""The evaluation engine: reads each image once, makes all its views, runs the model on full batches, appends records.

It does not depend on any data set, noise or metric. Batches form a fixed grid: the ids of a pass are cut into blocks, the
views of a block into chunks of nearly equal size, and blocks are distributed over the processes. The contents of a batch
therefore depend neither on the number of processes nor on the point where a run was resumed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from RobustART.benchmarks import Benchmark, Cell
from RobustART.core.determinism import exact_arithmetic
from RobustART.core.distributed import World
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.serving import Served
from RobustART.core.termination import Terminated, terminated
from RobustART.data import load_views
from RobustART.errors import RecordError
from RobustART.evaluation.blocks import PassRunner, view_names
from RobustART.evaluation.portions import Portions
from RobustART.evaluation.settings import Settings
from RobustART.metrics.reading import read_result
from RobustART.records.journal import Journal
from RobustART.records.lines import Key, Records

log = logging.getLogger(__name__)


def grid(ids: Sequence[int], cells: Sequence[Cell], batch_size: int) -> list[list[int]]:
    """Returns the blocks of a pass: the ids of images that are computed and recorded together.

    With one view, a block is one batch. With many views, it is a few images whose views fill about four batches, so that
    chunks are nearly full without keeping the views of hundreds of images in memory.
    """
    views = len(set(view_names(cells)))
    if any(cell.attack for cell in cells):
        # Waiting images replace fooled ones in an attack's batch, so a block should exceed a batch; but many processes need
        # many blocks.
        size = min(4 * batch_size, max(batch_size, len(ids) // 16))
    else:
        size = batch_size if views == 1 else math.ceil(4 * batch_size / views)
    return [list(ids[i : i + size]) for i in range(0, len(ids), size)]


def run_benchmark(
    models: Mapping[str | None, nn.Module],
    benchmark: Benchmark,
    header: dict[str, Any],
    ids: Sequence[Sequence[int]],
    preprocessing: Preprocessing,
    path: Path,
    world: World,
    settings: Settings,
    ask: Callable[[Benchmark], dict[str, Any]] = lambda _: {},
    outputs: int | None = None,
) -> tuple[Records, int]:
    """Evaluates the blocks of a benchmark that are not recorded yet.

    Args:
        models: the model under evaluation (None) and other models by name; they take images in [0, 1] on ``world.device``
            and are in evaluation mode.
        benchmark: the benchmark.
        header: header of the result file.
        ids: image ids of each pass, sorted.
        preprocessing: preprocessing of the model.
        path: path of the result file.
        world: the processes.
        settings: batch size, loader processes, precision, seed.
        ask: returns the signs of the benchmark's models that the header states, see
            :func:`~RobustART.evaluation.questions.questions`; called if there is something to compute.
        outputs: number of outputs that all models must have; None is that of each model's first answer.

    Returns:
        All records of the benchmark, and the number of images that this run computed.

    Raises:
        RecordError: the file belongs to another config or cannot be written.
        DataError, ModelError: an image or the model fails; the blocks before are recorded.
    """
    grids = [
        grid(part_ids, part.cells, settings.batch_size) for part, part_ids in zip(benchmark.passes, ids, strict=True)
    ]
    places = [(number, block) for number, blocks in enumerate(grids) for block in blocks]
    keys: list[list[Key]] = [[(number, image_id) for image_id in block] for number, block in places]
    journal = Journal(path, header, keys, world.rank)
    done = journal.done()
    check_images(benchmark, journal.lines, path)
    world.barrier()  # all processes read before one writes
    left = [place for i, place in enumerate(places) if i not in done]
    if world.is_main and done:
        count = sum(len(keys[i]) for i in done)
        log.info("%s: %d of %d images are recorded already", benchmark.name, count, sum(map(len, keys)))
    if left or journal.untidy:
        if world.is_main:
            signs = ask(benchmark)
            header.update({"signs": signs} if signs else {})
            journal.compact()
        world.barrier()
        journal.open()
        try:
            _run_blocks(
                models,
                benchmark,
                grids,
                left[world.rank :: world.size],
                preprocessing,
                journal,
                world,
                settings,
                outputs,
            )
        finally:
            journal.close()
        world.barrier()
        if world.is_main:
            journal.compact()
    world.barrier()
    return read_result(path), sum(len(block) for _, block in left)


def check_images(benchmark: Benchmark, lines: Mapping[Key, str], path: Path) -> None:
    """Raises a RecordError if images have changed since they were recorded; checks up to 64, spread over all."""
    keys = sorted(lines)
    for key in keys[:: max(1, len(keys) // 64)]:
        record = json.loads(lines[key])
        sample = benchmark.passes[key[0]].dataset.sample(key[1], lambda image: image)
        if sample.digest != record["digest"]:
            raise RecordError(
                f"{sample.filename} is not the image that {path} was made from: its digest is {sample.digest}, the "
                f"recorded one {record['digest']}. Results are never mixed: use another output_dir, or --fresh to delete "
                "the old ones."
            )


def _run_blocks(
    models: Mapping[str | None, nn.Module],
    benchmark: Benchmark,
    grids: Sequence[Sequence[Sequence[int]]],
    blocks: Sequence[tuple[int, list[int]]],
    preprocessing: Preprocessing,
    journal: Journal,
    world: World,
    settings: Settings,
    outputs: int | None,
) -> None:
    total = sum(len(block) for _, block in blocks)
    if world.device.type == "cpu":
        models = {name: model if isinstance(model, Served) else Portions(model) for name, model in models.items()}
    bar = tqdm(
        total=total, desc=benchmark.name, unit="img", disable=not (settings.progress and world.is_main), file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0, dynamic_ncols=True,
    )  # fmt: skip
    with bar, exact_arithmetic():
        for number, part in enumerate(benchmark.passes):
            mine = [block for index, block in blocks if index == number]
            if not mine:
                continue
            runner = PassRunner(models, number, part, world.device, settings, grids[number], outputs)
            step = max(1, 32 // len(runner.views))
            groups = [block[i : i + step] for block in mine for i in range(0, len(block), step)]
            loaded = load_views(
                part.dataset, groups, runner.views, part.prepare(preprocessing).apply, size=preprocessing.input_size,
                seed=settings.seed, workers=settings.workers, pin_memory=world.device.type == "cuda",
            )  # fmt: skip
            with contextlib.closing(loaded):
                for block in mine:
                    if terminated():  # raised where nothing could pass it on
                        raise Terminated
                    pieces = [next(loaded) for _ in range(math.ceil(len(block) / step))]
                    shipped = torch.cat([piece for piece, _ in pieces]) if len(pieces) > 1 else pieces[0][0]
                    digests = [digest for _, some in pieces for digest in some]
                    journal.append(runner.block(block, shipped, digests, journal))
                    bar.update(len(block))
