"""Attacks a block of images in stages, commits each stage, and evaluates the judge of each cell on the result.

Several cells may share one attack: the adversarial images are made once, on the attacked model, and the judge of every cell
classifies them. A transfer attack has a judge other than the attacked model; otherwise they are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from RobustART.core.seeding import image_seed, image_seeds
from RobustART.core.signs import SIGNS
from RobustART.errors import ModelError, RecordError
from RobustART.evaluation.scoring import Verdict, check_finite, score_answers, to_float
from RobustART.noise.attacks.log import CLEAN, AttackLog
from RobustART.noise.attacks.stages import Stage, run_stages
from RobustART.noise.attacks.watching import Watched

Answer = Callable[[str | None, Tensor, int], Tensor]
"""(name of a model, images, key of its random draws) -> logits of each answer, (N, R, K)."""


class BlockAttack:
    """One attack on the images of one block.

    Args:
        name: name of the first cell with this attack; it determines the random draws and labels the progress.
        stages: stages of the attack.
        model: attacked model.
        attacked: name of the attacked model.
        judges: name of each cell's judge, by name of the cell.
        answer: evaluates a model by its name.
        labels: true classes of the images, (N,), on the device.
        ids: ids of the images.
        names: names of the images in errors.
        classes: competing classes; None is all.
        batch_size: number of images in a forward pass.
        seed: seed of the evaluation.
        amp: precision in which attacks search, for attacks that confirm successes in float32.
        repeats: number of answers that ``answer`` returns about an image.
    """

    def __init__(
        self, name: str, stages: Sequence[Stage], model: nn.Module, attacked: str | None, judges: dict[str, str | None],
        answer: Answer, labels: Tensor, ids: Sequence[int], names: Sequence[str], classes: Tensor | None, *,
        batch_size: int, seed: int, amp: str | None, repeats: int = 1,
    ) -> None:  # fmt: skip
        self.name, self.stages, self.model, self.attacked = name, stages, model, attacked
        self.judges, self.answer, self.labels, self.names, self.classes = judges, answer, labels, names, classes
        self.batch_size, self.amp = batch_size, amp
        self.columns = 3 if repeats == 1 else 4
        self.seeds = image_seeds(seed, ids, name)

    def run(
        self, view: Tensor, active: Tensor, verdicts: dict[str, Verdict], saved: Sequence[dict[str, Any]],
        commit: Callable[[dict[str, Any]], None],
    ) -> None:  # fmt: skip
        """Attacks the images that are classified correctly, and updates the verdicts of the cells.

        Args:
            view: the images, uint8 (N, S, S, 3).
            active: images to attack, bool (N,): those that the attacked model classifies correctly.
            verdicts: verdicts on the images without attack, by cell; changed in place.
            saved: entries that an interrupted run committed for this block, in order.
            commit: called after every stage with its entry, JSON data.

        Raises:
            RecordError: a saved entry does not match the block.
            ModelError: the attack or a model returns invalid values.
        """
        for verdict in verdicts.values():
            verdict.broken_by = [None if right else CLEAN for right in verdict.right.tolist()]
        first = next(iter(verdicts.values()))
        done = {entry["stage"]: entry for entry in saved}

        def attack(stage: Stage, left: Tensor) -> Tensor:
            if not len(left):
                return left
            entry = done.get(stage.name)
            if entry is None:
                entry = self._stage(stage, view, left, last=stage is self.stages[-1])
                commit(entry)
            elif entry["ran"] != left.tolist():
                raise RecordError(f"the progress of {self.name} does not match its block; --fresh starts over")
            finished = torch.tensor(entry["finished"], dtype=torch.int64)
            for cell, verdict in verdicts.items():
                verdict.put(finished, entry["scores"][cell])
                for row, right in zip(finished.tolist(), verdict.right[finished].tolist(), strict=True):
                    if verdict.broken_by[row] != CLEAN:
                        verdict.broken_by[row] = None if right else stage.name
                for row in entry["ran"]:
                    verdict.flags[row].update(entry["flags"])
                for name, rows in entry.get("signs", {}).items():
                    for row in rows:
                        verdict.flags[row][name] = SIGNS[name].meaning
            first.forward[left] += torch.tensor(entry["forward"], dtype=torch.int64)
            first.backward[left] += torch.tensor(entry["backward"], dtype=torch.int64)
            return finished

        run_stages(self.stages, active.nonzero()[:, 0].cpu(), attack)

    def _stage(self, stage: Stage, view: Tensor, standing: Tensor, *, last: bool) -> dict[str, Any]:
        """Returns the entry of a stage that attacks the images ``standing``, as JSON data.

        Images that fool the attacked model are finished; after the last stage all are.
        """
        whole = stage.takes("batch_size")
        finished: list[int] = []
        scores: dict[str, list[list[Any]]] = {cell: [[] for _ in range(self.columns)] for cell in self.judges}
        passes = torch.zeros(2, len(view), dtype=torch.int64)
        flags: dict[str, str] = {}
        signs: dict[str, list[int]] = {}
        for chunk in standing.split(len(standing) if whole else self.batch_size):
            log = AttackLog()
            images = to_float(view[chunk].to(self.labels.device))
            attacked = self._call(stage, images, chunk, log)
            for table, total in zip(passes, (log.forward, log.backward), strict=True):
                for spent in total.values():
                    table[chunk] += spent
            flags.update(log.flags)
            for name, shown in log.signs.items():
                signs.setdefault(name, []).extend(chunk[shown].tolist())
            # Images whose success the attack did not confirm are evaluated after the last stage only.
            look = torch.tensor([last or name is not None for name in log.broken_by or [CLEAN] * len(chunk)])
            rows, attacked = chunk[look], attacked[look.to(attacked.device)]
            if not len(rows):
                continue
            judges = {self.attacked, *self.judges.values()}
            answers = {judge: self._answer(judge, stage.name, attacked, rows) for judge in judges}
            wrong = answers[self.attacked][2] > 0
            over = torch.ones_like(wrong) if last else wrong
            finished += rows[over].tolist()
            for cell, judge in self.judges.items():
                for column, values in zip(scores[cell], answers[judge], strict=True):
                    column += values[over].tolist()
        return {
            "progress": self.name, "stage": stage.name, "ran": standing.tolist(), "finished": finished, "scores": scores,
            "forward": passes[0, standing].tolist(), "backward": passes[1, standing].tolist(), "flags": flags,
            **({"signs": signs} if signs else {}),
        }  # fmt: skip

    def _call(self, stage: Stage, images: Tensor, rows: Tensor, log: AttackLog) -> Tensor:
        options: dict[str, Any] = {}
        if stage.takes("batch_size"):
            options["batch_size"] = self.batch_size
        if stage.takes("log"):
            options["log"] = log
        if stage.takes("amp") and self.amp is not None:
            options["amp"] = self.amp
        seeds = self.seeds[rows].to(images.device)
        model = self.model if stage.takes("log") else Watched(self.model, images)
        attacked = stage.attack(model, images, self.labels[rows.to(images.device)], seeds=seeds, **options)
        if isinstance(model, Watched):
            log.forward[stage.name], log.backward[stage.name] = model.forward_passes.cpu(), model.watch.backward.cpu()
            log.signs.update(model.watch.signs())
        if attacked.shape != images.shape or not (attacked.isfinite() & (attacked >= 0) & (attacked <= 1)).all():
            raise ModelError(f"the attack {self.name} must return finite images in [0, 1] of the shape of its input")
        return attacked

    def _answer(self, judge: str | None, stage: str, images: Tensor, rows: Tensor) -> list[Tensor]:
        answers = self.answer(judge, images, image_seed(int(self.seeds[rows[0]]), 0, f"verdict {stage}"))
        check_finite(answers, self.name, [self.names[row] for row in rows.tolist()])
        labels = self.labels[rows.to(images.device)]
        return [value.cpu() for value in score_answers(answers, labels, self.classes)]
