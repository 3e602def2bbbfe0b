"""Evaluates one block of images: runs the models on every view, makes every attack, and returns one record per image."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.benchmarks import Cell, Pass
from RobustART.core.logits import average, check_logits
from RobustART.core.seeding import image_seed, seed_generators
from RobustART.core.serving import own_module
from RobustART.data.loader import View, generator_of
from RobustART.errors import ModelError, RecordError, UserError, reason
from RobustART.evaluation.attacking import BlockAttack, Place
from RobustART.evaluation.scoring import Verdict, check_finite, to_float
from RobustART.evaluation.settings import AMP_TYPES, Settings
from RobustART.noise.attacks.stages import stages_of
from RobustART.records.journal import Journal
from RobustART.records.lines import Line


def view_names(cells: Sequence[Cell]) -> list[str]:
    """Returns for each cell the name of its view, which is that of the first cell with the same view."""
    first: dict[str, str] = {}
    return [first.setdefault(cell.view_key or cell.name, cell.name) for cell in cells]


def shipped_views(cells: Sequence[Cell]) -> tuple[dict[str, View], list[int]]:
    """Returns the views that the loader makes, by name, and for each cell the index of the one that it needs."""
    first: dict[str, int] = {}
    views: dict[str, View] = {}
    places = []
    for cell in cells:
        batched = cell.batched
        key = (cell.view_key or cell.name) if batched is None else batched.key
        if key not in first:
            first[key] = len(views)
            views[cell.name] = cell.view if batched is None else batched.source
        places.append(first[key])
    return views, places


def attack_groups(cells: Sequence[Cell]) -> list[list[int]]:
    """Returns the indices of the attacked cells, grouped by view, attack and attacked model.

    An attack is made once for its group, with the random draws of the first cell.
    """
    groups: dict[tuple[str, str, str | None], list[int]] = {}
    for i, (cell, view) in enumerate(zip(cells, view_names(cells), strict=True)):
        if cell.attack is not None:
            groups.setdefault((view, cell.attack_key or cell.name, cell.victim), []).append(i)
    return list(groups.values())


def evaluation_passes(passes: Sequence[Pass], ids: Sequence[Sequence[int]]) -> int:
    """Returns the number of forward passes of an evaluation: one for each image, view and model.

    Those of attacks, and of the evaluation of their results, are not counted.
    """
    total = 0
    for part, chosen in zip(passes, ids, strict=True):
        asked = {cell.judge for cell in part.cells} | {cell.victim for cell in part.cells if cell.attack}
        total += len(chosen) * len(set(view_names(part.cells))) * len(asked)
    return total


def _asked(
    network: Callable[[Tensor], Tensor], images: Tensor, rows: Tensor, place: Place, classes: int | None
) -> Tensor:
    """Returns the float32 logits of a batch, or raises a ModelError that has the cell and the image.

    ``classes`` is the number of outputs of the model; None if any is valid.
    """

    def ask(some: Tensor) -> Tensor:
        logits = check_logits(network(some), len(some), valued=True)
        if classes is not None and logits.shape[1] != classes:
            raise ModelError(f"the model returned {logits.shape[1]} outputs, but {classes} before")
        return logits.float()

    try:
        return ask(images)
    except Exception as error:
        for i, row in enumerate(rows.tolist()):  # which of them it is
            try:
                ask(images[i : i + 1])
            except Exception as alone:
                why = str(alone) if isinstance(alone, UserError) else f"the model fails: {reason(alone)}"
                raise ModelError(f"{why} (in {place(row)})") from alone
        why = str(error) if isinstance(error, UserError) else f"the model fails: {reason(error)}"
        first, last = (place(int(rows[i])) for i in (0, -1))
        raise ModelError(f"{why} (in a batch of {len(rows)}, from {first} to {last}, but not in each alone)") from error


class PassRunner:
    """Evaluates the models on blocks of one pass.

    Args:
        models: the model under evaluation (None) and other models by name; they take images in [0, 1] on the device and are
            in evaluation mode.
        number: index of the pass in its benchmark.
        part: the pass.
        device: device of the models.
        settings: batch size, precision and seed.
        grid: all blocks of the pass.
        outputs: number of outputs that all models must have; None is that of each model's first answer.
    """

    def __init__(
        self, models: Mapping[str | None, nn.Module], number: int, part: Pass, device: torch.device, settings: Settings,
        grid: Sequence[Sequence[int]], outputs: int | None = None,
    ) -> None:  # fmt: skip
        self.places = {block[0]: (place, place + 1) for place, block in enumerate(grid)}
        self.models, self.number, self.part, self.device, self.settings = models, number, part, device, settings
        self.cells = part.cells
        self.outputs = dict.fromkeys(models, outputs)
        self.view_of = view_names(part.cells)
        self.seen_as = [cell for name, cell in zip(self.view_of, self.cells, strict=True) if name == cell.name]
        self.columns = {cell.name: i for i, cell in enumerate(self.seen_as)}
        self.views, self.shipped_as = shipped_views(self.seen_as)
        self.victims = {cell.victim for cell in part.cells if cell.attack}
        self.classes = None if part.classes is None else torch.tensor(part.classes, device=device)
        self.half = None if any(cell.attack for cell in part.cells) else AMP_TYPES.get(settings.amp or "")

    def logits(self, model: str | None, images: Tensor, key: int, place: Place) -> Tensor:
        """Returns float32 logits (N, R, K) of R answers about images (N, C, H, W) in [0, 1] on the device, in batches.

        The global generators are seeded before each batch and answer from ``key`` and both numbers, for models that draw
        from them. Those about an attacked model's images are of the user's module, which confirms successes. ``place``
        returns the cell and the name of an image, by its row; a ModelError has them.
        """
        network = own_module(self.models[model]) if model in self.victims else self.models[model]
        found = []
        rows = torch.arange(len(images)).tensor_split(math.ceil(len(images) / self.settings.batch_size))
        with torch.no_grad(), torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            for number, own in enumerate(rows):
                chunk, answers = images[own[0] : own[-1] + 1], []
                for repeat in range(self.settings.repeats):
                    seed_generators(image_seed(key, number, f"answer {repeat}"), self.device)
                    answers.append(_asked(network, chunk, own, place, self.outputs.get(model)))
                    self.outputs[model] = answers[-1].shape[1]
                found.append(torch.stack(answers, dim=1))
        return torch.cat(found)

    def made(self, ids: Sequence[int], shipped: Tensor) -> Tensor:
        """Returns all views of images, uint8 (images, views, S, S, 3), from those that the loader made."""
        if not any(cell.batched for cell in self.seen_as):
            return shipped
        views = []
        for cell, place in zip(self.seen_as, self.shipped_as, strict=True):
            view = shipped[:, place].to(self.device, non_blocking=True)
            if cell.batched is not None:
                rngs = [generator_of(cell.view, self.settings.seed, image_id, cell.name) for image_id in ids]
                view = cell.batched.change(view, rngs=rngs).to(self.device)
            views.append(view)
        return torch.stack(views, dim=1)

    def block(self, ids: Sequence[int], shipped: Tensor, digests: Sequence[str], journal: Journal) -> list[Line]:
        """Returns the records of a block.

        Args:
            ids: ids of the images.
            shipped: views that the loader made, uint8 (images, views, S, S, 3).
            digests: digests of the images' files.
            journal: records the stages of attacks, and has those of an interrupted run.
        """
        data = self.part.dataset
        labels = torch.tensor([data.labels[i] for i in ids], device=self.device)
        views = self.made(ids, shipped)
        asked = {cell.judge for cell in self.cells} | self.victims
        seen = {model: self._seen(model, views, ids) for model in asked}
        verdicts = []
        for cell, name in zip(self.cells, self.view_of, strict=True):
            answers = seen[cell.judge][:, self.columns[name]]
            check_finite(answers, cell.name, self._names(ids))
            verdicts.append(Verdict.of(answers, labels, self.classes))
        for group in attack_groups(self.cells):
            cell, column = self.cells[group[0]], self.columns[self.view_of[group[0]]]
            clean = Verdict.of(seen[cell.victim][:, column], labels, self.classes)
            assert cell.attack is not None
            self._attack(
                cell.name, cell.attack, cell.victim, {self.cells[i].name: self.cells[i].judge for i in group},
                views[:, column], clean.right, [verdicts[i] for i in group], labels, ids, digests, journal,
            )  # fmt: skip
        probes: list[dict[str, dict[str, int]]] = [{} for _ in ids]
        for probe in self.part.probes:
            members = [i for i, cell in enumerate(self.cells) if cell.name in probe.cells]
            cell, column = self.cells[members[0]], self.columns[self.view_of[members[0]]]
            left = torch.stack([verdicts[i].right for i in members]).all(0)
            before, after = (probe.images * place // len(self.places) for place in self.places[ids[0]])
            tried = left & (left.cumsum(0) <= after - before)
            verdict = Verdict.of(seen[cell.victim][:, column], labels, self.classes)
            self._attack(
                probe.name, probe.attack, cell.victim, {probe.name: cell.victim}, views[:, column], tried, [verdict],
                labels, ids, digests, journal,
            )  # fmt: skip
            for row in tried.nonzero()[:, 0].tolist():
                spent = int(verdict.forward[row])
                probes[row][probe.name] = {"broken": int(not verdict.right[row]), "forward": spent}
        columns = [self.columns[name] for name in self.view_of]
        extra = self.part.measured(views, average(seen[self.cells[0].judge]), columns)
        return [
            self._line(row, image_id, digests[row], verdicts, probes[row], extra[row])
            for row, image_id in enumerate(ids)
        ]

    def _names(self, ids: Sequence[int]) -> list[str]:
        return [f"{self.part.dataset.files[i]} (image {i})" for i in ids]

    def _seen(self, model: str | None, views: Tensor, ids: Sequence[int]) -> Tensor:
        """Returns a model's answers on all views, (images, views, R, K)."""
        step, names = 4 * self.settings.batch_size, self._names(ids)
        pixels = views.to(self.device, non_blocking=True).flatten(0, 1).split(step)
        keys = [image_seed(self.settings.seed, ids[0], f"pass {self.number}, part {i}") for i in range(len(pixels))]

        def place(first: int, row: int) -> str:
            image, view = divmod(first + row, views.shape[1])
            return f"the cell {self.seen_as[view].name!r} of {names[image]}"

        chunks = [
            self.logits(model, to_float(part), key, functools.partial(place, i * step))
            for i, (part, key) in enumerate(zip(pixels, keys, strict=True))
        ]
        return torch.cat(chunks).unflatten(0, views.shape[:2])

    def _attack(
        self, name: str, attack: Callable[..., Tensor], victim: str | None, judges: dict[str, str | None], view: Tensor,
        active: Tensor, verdicts: Sequence[Verdict], labels: Tensor, ids: Sequence[int], digests: Sequence[str],
        journal: Journal,
    ) -> None:  # fmt: skip
        """Attacks the ``active`` images of a block and updates the verdicts, one for each entry of ``judges``."""
        key = self.number, ids[0]
        saved = journal.stages(key, name)
        if any(entry["digests"] != list(digests) for entry in saved):
            raise RecordError(
                f"{journal.path} has progress of {name} on images whose content has changed since, from "
                f"{self.part.dataset.files[ids[0]]} on. Results are never mixed: use another output_dir, or --fresh"
            )
        stages = stages_of(attack, name.partition("/")[0])
        run = BlockAttack(
            name, stages, self.models[victim], victim, judges, self.logits, labels, ids, self._names(ids), self.classes,
            batch_size=self.settings.batch_size, seed=self.settings.seed, amp=self.settings.proposals,
            repeats=self.settings.repeats,
        )  # fmt: skip

        def commit(entry: dict[str, Any]) -> None:
            journal.note({**entry, "pass": key[0], "first": key[1], "digests": list(digests)})

        run.run(view, active, dict(zip(judges, verdicts, strict=True)), saved, commit)

    def _line(
        self, row: int, image_id: int, digest: str, verdicts: Sequence[Verdict], probes: dict[str, dict[str, int]],
        extra: dict[str, list[Any]],
    ) -> Line:  # fmt: skip
        costs: dict[str, Any] = {}
        if any(cell.attack for cell in self.cells):
            flags = {c.name: v.flags[row] for c, v in zip(self.cells, verdicts, strict=True) if v.flags[row]}
            costs = {
                "broken_by": [v.broken_by[row] for v in verdicts],
                "forward": [v.lists["forward"][row] for v in verdicts],
                "backward": [v.lists["backward"][row] for v in verdicts],
                "flags": flags or None,
                "probes": probes or None,
            }
        if self.settings.repeats > 1:
            costs["answers"] = [int(v.answers[row]) for v in verdicts if v.answers is not None]
        data = self.part.dataset
        return Line(
            self.number, image_id, data.files[image_id], data.labels[image_id], digest,
            [v.lists["prediction"][row] for v in verdicts], [round(v.lists["confidence"][row], 8) for v in verdicts],
            [v.lists["label_rank"][row] for v in verdicts], **costs, extra=extra or None,
        )  # fmt: skip
