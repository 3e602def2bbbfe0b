"""The one engine: reads each image once, makes all its views, runs the model on full batches, appends records.

Nothing here names a data set, a noise or a metric. Batches are a fixed grid: the ids of a pass are cut into blocks, a
block's views are cut into chunks of nearly equal size, and blocks are dealt out to the processes. So what stands together
in a batch depends neither on how many processes there are nor on where a run was taken up again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from RobustART.data import load_views
from RobustART.distributed import World
from RobustART.errors import ModelError, RecordError
from RobustART.evaluation.benchmarks import Benchmark, Cell, Pass
from RobustART.noise.attacks import AttackLog
from RobustART.noise.attacks.log import CLEAN
from RobustART.preprocessing import Preprocessing
from RobustART.records import Journal, Key, Line, Records, read_records
from RobustART.seeding import image_seeds

log = logging.getLogger(__name__)

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an evaluation is run."""

    batch_size: int = 64
    """Images the model sees at once."""
    workers: int = 0
    """Loader processes."""
    amp: str | None = None
    """``bf16`` or ``fp16`` for passes without attacks."""
    channels_last: bool = False
    """Whether the model's weights are in the order channels-last; part of the conditions, since it rounds differently."""
    seed: int = 0
    """Seed of the noise."""
    progress: bool = True
    """Whether to show a progress bar."""


@contextlib.contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Switches off what makes float32 on a GPU less than float32, or different from run to run; puts it back after."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def view_names(cells: Sequence[Cell]) -> list[str]:
    """Returns, for each cell, the name of its view: that of the first cell with the same view."""
    first: dict[int, str] = {}
    return [first.setdefault(id(cell.view), cell.name) for cell in cells]


def grid(ids: Sequence[int], cells: Sequence[Cell], batch_size: int) -> list[list[int]]:
    """Returns the blocks of a pass: images that are computed and recorded together.

    With one view a block is one batch. With many, it is a few images whose views fill about four batches, so that the
    chunks are nearly full without holding hundreds of images' views in memory.
    """
    views = len(set(view_names(cells)))
    if any(cell.attack for cell in cells):
        # Fooled images leave an attack's batch and waiting ones take their places, so a block is more than a batch; but
        # there must be enough blocks for many processes.
        size = min(4 * batch_size, max(batch_size, len(ids) // 16))
    else:
        size = batch_size if views == 1 else math.ceil(4 * batch_size / views)
    return [list(ids[i : i + size]) for i in range(0, len(ids), size)]


class PassRunner:
    """Runs blocks of one pass through a model.

    Args:
        model: takes images in [0, 1] on the device, in evaluation mode.
        number: of the pass in its benchmark.
        part: the pass.
        device: of the model.
        settings: batch size, precision and seed.
    """

    def __init__(self, model: nn.Module, number: int, part: Pass, device: torch.device, settings: Settings) -> None:
        self.model, self.number, self.part, self.device, self.settings = model, number, part, device, settings
        self.cells = part.cells
        self.view_of = view_names(part.cells)
        self.views = {name: cell.view for name, cell in zip(self.view_of, self.cells, strict=True) if name == cell.name}
        self.columns = {name: i for i, name in enumerate(self.views)}
        self.classes = None if part.classes is None else torch.tensor(part.classes, device=device)
        self.half = None if any(cell.attack for cell in part.cells) else AMP_TYPES.get(settings.amp or "")

    def logits(self, images: Tensor, half: torch.dtype | None = None) -> Tensor:
        """Returns float32 logits (N, K) of images (N, C, H, W) in [0, 1] on the device, in chunks of the batch size."""
        chunks = images.tensor_split(math.ceil(len(images) / self.settings.batch_size))
        with torch.no_grad(), torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            return torch.cat([check_logits(self.model(chunk), len(chunk)).float() for chunk in chunks])

    def block(self, ids: Sequence[int], views: Tensor, digests: Sequence[str]) -> list[Line]:
        """Returns the records of a block.

        Args:
            ids: of its images.
            views: uint8 (images, views, S, S, 3).
            digests: of the images' files.
        """
        labels = torch.tensor([self.part.dataset.labels[i] for i in ids], device=self.device)
        pixels = views.to(self.device, non_blocking=True).flatten(0, 1)
        seen = torch.cat(
            [self.logits(to_float(chunk), self.half) for chunk in pixels.split(4 * self.settings.batch_size)]
        ).unflatten(0, views.shape[:2])
        results = []
        logs: list[AttackLog] = []
        for cell, name in zip(self.cells, self.view_of, strict=True):
            logits = seen[:, self.columns[name]]
            self._check_finite(logits, cell, ids)
            log = AttackLog()
            if cell.attack is not None:
                logits = self._attack(cell, views[:, self.columns[name]], logits, labels, ids, log)
            logs.append(log)
            results.append(score(logits, labels, self.classes))
        costs = [self._costs(logs, row) for row in range(len(ids))]
        table = [torch.stack(column, dim=1).tolist() for column in zip(*results, strict=True)]
        extra = self.part.measured(views, seen, [self.columns[name] for name in self.view_of])
        return [
            Line(
                self.number, image_id, self.part.dataset.files[image_id], self.part.dataset.labels[image_id],
                digests[row], table[0][row], [round(value, 8) for value in table[1][row]], table[2][row], *costs[row],
                extra=extra[row] or None,
            )
            for row, image_id in enumerate(ids)
        ]  # fmt: skip

    def _attack(
        self, cell: Cell, view: Tensor, logits: Tensor, labels: Tensor, ids: Sequence[int], log: AttackLog
    ) -> Tensor:
        """Returns the logits after the attack; images that are seen wrong already keep theirs and cost nothing.

        ``log`` gets the verdicts and costs of all images, as far as the attack tells them.
        """
        assert cell.attack is not None
        active = score(logits, labels, self.classes)[2] == 0
        log.broken_by[:] = [None if right else CLEAN for right in active.tolist()]
        if not active.any():
            return logits
        rows = active.nonzero().flatten()
        known = inspect.signature(cell.attack).parameters
        options: dict[str, Any] = {}
        if "batch_size" in known and known["batch_size"].default is None:
            options["batch_size"] = self.settings.batch_size
        step = len(rows) if "batch_size" in known else self.settings.batch_size
        after = logits.clone()
        for chunk in rows.split(step):
            images = to_float(view[chunk.cpu()].to(self.device))
            names = [ids[row] for row in chunk.tolist()]
            one = AttackLog()
            if "log" in known:
                options["log"] = one
            seeds = image_seeds(self.settings.seed, names, cell.name).to(self.device)
            attacked = cell.attack(self.model, images, labels[chunk], seeds=seeds, **options)
            if attacked.shape != images.shape or not (attacked.isfinite() & (attacked >= 0) & (attacked <= 1)).all():
                raise ModelError(f"the attack {cell.name} returned something else than finite images in [0, 1]")
            found = self.logits(attacked)
            self._check_finite(found, cell, names)
            after[chunk] = found
            wrong = (score(found, labels[chunk], self.classes)[2] > 0).tolist()
            self._note(log, one, chunk.tolist(), wrong, cell.name)
        return after

    @staticmethod
    def _note(log: AttackLog, one: AttackLog, rows: Sequence[int], wrong: Sequence[bool], name: str) -> None:
        """Adds what an attack did to ``rows`` to the log of the block; the engine's own verdict is what counts."""
        stages = one.broken_by or [None] * len(rows)
        for row, stage, fooled in zip(rows, stages, wrong, strict=True):
            log.broken_by[row] = (stage or name.partition("/")[0]) if fooled else None
        for mine, theirs in ((log.forward, one.forward), (log.backward, one.backward)):
            total = mine.setdefault("", torch.zeros(len(log.broken_by), dtype=torch.int64))
            for passes in theirs.values():
                total[list(rows)] += passes

    def _costs(self, logs: Sequence[AttackLog], row: int) -> tuple[Any, Any, Any]:
        """Returns stage, forward and backward passes of each cell for one image; None in a pass without attacks."""
        if not any(cell.attack for cell in self.cells):
            return None, None, None
        stages = [log.broken_by[row] if log.broken_by else None for log in logs]
        passes = [[int(table[""][row]) if table else 0 for table in (log.forward, log.backward)] for log in logs]
        return stages, [forward for forward, _ in passes], [backward for _, backward in passes]

    def _check_finite(self, logits: Tensor, cell: Cell, ids: Sequence[int]) -> None:
        finite = logits.isfinite().all(dim=1)
        if not finite.all():
            row = int((~finite).nonzero()[0])
            raise ModelError(
                f"the model returned nan or infinity in the cell {cell.name!r} for {self.part.dataset.files[ids[row]]} "
                f"(image {ids[row]})"
            )


def to_float(pixels: Tensor) -> Tensor:
    """Returns images (N, 3, H, W) in [0, 1] from uint8 (N, H, W, 3), on the same device."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def check_logits(output: object, count: int) -> Tensor:
    """Returns a model's output if it is logits (count, K); otherwise a ModelError says how to wrap the model."""
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise ModelError(
            f"the model must return logits as a tensor (N, K), got {kind}. Wrap it in a module whose forward returns, "
            f"for example, `self.model(images){'[0]' if isinstance(output, (tuple, list)) else '.logits'}`"
        )
    if output.ndim != 2 or len(output) != count or not output.is_floating_point():
        raise ModelError(
            f"the model must return logits of shape ({count}, K), got {output.dtype} {tuple(output.shape)}"
        )
    return output


def score(logits: Tensor, labels: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns prediction, confidence and label rank, each (N,).

    Args:
        logits: (N, K).
        labels: (N,).
        classes: only these compete, (C,); a label outside them has rank C. None is all.

    Equal scores are in the order of the classes, so rank 0 and a right prediction are the same thing.
    """
    if classes is None:
        classes = torch.arange(logits.shape[1], device=logits.device)
    scores = logits[:, classes].double()
    top = scores.amax(dim=1, keepdim=True)
    prediction = torch.where(scores == top, classes, logits.shape[1]).amin(dim=1)
    confidence = scores.softmax(dim=1).amax(dim=1)
    own = torch.gather(logits, 1, labels[:, None]).double()
    above = (scores > own) | ((scores == own) & (classes < labels[:, None]))
    inside = (classes == labels[:, None]).any(dim=1)
    return prediction, confidence, torch.where(inside, above.sum(dim=1), len(classes))


def run_benchmark(
    model: nn.Module,
    benchmark: Benchmark,
    header: dict[str, Any],
    ids: Sequence[Sequence[int]],
    preprocessing: Preprocessing,
    path: Path,
    world: World,
    settings: Settings,
) -> tuple[Records, int]:
    """Runs what of a benchmark is not recorded yet; returns all its records, and how many images were computed now.

    Args:
        model: takes images in [0, 1], on ``world.device``, in evaluation mode.
        benchmark: what to run.
        header: first line of the result file.
        ids: image ids of each pass, sorted.
        preprocessing: of the model.
        path: the result file.
        world: the processes.
        settings: batch size, loader processes, precision, seed.

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
    several = len(journal.parts()) > 1  # asked here, because process 0 changes it after the barrier
    world.barrier()  # everyone has read before anyone writes
    left = [place for i, place in enumerate(places) if i not in done]
    if world.is_main and done:
        count = sum(len(keys[i]) for i in done)
        log.info("%s: %d of %d images are recorded already", benchmark.name, count, sum(map(len, keys)))
    if left or several:
        if world.is_main:
            journal.compact()
        world.barrier()
        journal.open()
        try:
            _run_blocks(model, benchmark, left[world.rank :: world.size], preprocessing, journal, world, settings)
        finally:
            journal.close()
        world.barrier()
        if world.is_main:
            journal.compact()
    world.barrier()
    return read_records(path), sum(len(block) for _, block in left)


def check_images(benchmark: Benchmark, lines: Mapping[Key, str], path: Path) -> None:
    """Raises a RecordError if images are not those of the records any more; up to 64, spread over all, are read again."""
    keys = sorted(lines)
    for key in keys[:: max(1, len(keys) // 64)]:
        record = json.loads(lines[key])
        sample = benchmark.passes[key[0]].dataset.sample(key[1], lambda image: image)
        if sample.digest != record["digest"]:
            raise RecordError(
                f"{sample.filename} is not the image that {path} was made from: its digest is {sample.digest}, recorded is "
                f"{record['digest']}. Results are never mixed: take another output_dir, or --fresh to delete the old ones."
            )


def _run_blocks(
    model: nn.Module,
    benchmark: Benchmark,
    blocks: Sequence[tuple[int, list[int]]],
    preprocessing: Preprocessing,
    journal: Journal,
    world: World,
    settings: Settings,
) -> None:
    total = sum(len(block) for _, block in blocks)
    bar = tqdm(
        total=total, desc=benchmark.name, unit="img", disable=not (settings.progress and world.is_main), file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0, dynamic_ncols=True,
    )  # fmt: skip
    with bar, exact_arithmetic():
        for number, part in enumerate(benchmark.passes):
            mine = [block for index, block in blocks if index == number]
            if not mine:
                continue
            runner = PassRunner(model, number, part, world.device, settings)
            step = max(1, 32 // len(runner.views))
            groups = [block[i : i + step] for block in mine for i in range(0, len(block), step)]
            loaded = load_views(
                part.dataset, groups, runner.views, part.prepare(preprocessing).apply, size=preprocessing.input_size,
                seed=settings.seed, workers=settings.workers, pin_memory=world.device.type == "cuda",
            )  # fmt: skip
            for block in mine:
                pieces = [next(loaded) for _ in range(math.ceil(len(block) / step))]
                views = torch.cat([piece for piece, _ in pieces]) if len(pieces) > 1 else pieces[0][0]
                digests = [digest for _, some in pieces for digest in some]
                journal.append(runner.block(block, views, digests))
                bar.update(len(block))
