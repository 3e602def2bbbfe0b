"""Clean accuracy on the test set during a training, to watch it; reports come from the evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch

from RobustART.benchmarks.building import clean_view
from RobustART.core.termination import Terminated, terminated
from RobustART.data import ImageDataset, load_views
from RobustART.evaluation.scoring import to_float
from RobustART.models import Classifier
from RobustART.records.lines import CLEAN
from RobustART.training.parallel import Parallel


@torch.no_grad()
def validate(
    models: Mapping[str, Classifier], dataset: ImageDataset, parallel: Parallel, *, batch_size: int, workers: int
) -> dict[str, float]:
    """Returns the top-1 accuracy of each model in percent, and top-5 where there are more than five classes.

    Each process evaluates a part of the test set. Models are named by the prefix of their numbers, such as ``""`` and
    ``"ema_"``; they run in evaluation mode and float32, and their mode is restored.

    Raises:
        Terminated: SIGTERM has come to one of the processes; all raise it.
    """
    world = parallel.world
    preprocessing = next(iter(models.values())).preprocessing
    groups = [range(i, min(i + batch_size, len(dataset))) for i in range(0, len(dataset), batch_size)]
    mine: list[range | None] = [*groups[world.rank :: world.size]]
    mine += [None] * (len(groups[:: world.size]) - len(mine))  # every process makes as many rounds
    modes = {name: model.training for name, model in models.items()}
    right = {name: torch.zeros(2, dtype=torch.int64, device=world.device) for name in models}
    classes = 0
    for model in models.values():
        model.eval()
    try:
        views = load_views(
            dataset, [group for group in mine if group], {CLEAN: clean_view}, preprocessing.apply,
            size=preprocessing.input_size, seed=0, workers=workers,
        )  # fmt: skip
        with contextlib.closing(views):
            for group in mine:
                if parallel.agreed(terminated()):
                    raise Terminated
                if group is None:
                    continue
                images = to_float(next(views)[0][:, 0].to(world.device))
                labels = torch.tensor([dataset.labels[i] for i in group], device=world.device)
                for name, model in models.items():
                    logits = model(images)
                    classes = logits.shape[1]
                    hits = logits.topk(min(5, classes), dim=1).indices == labels[:, None]
                    right[name] += torch.stack([hits[:, 0].sum(), hits.sum()])
    finally:
        for name, model in models.items():
            model.train(modes[name])
    numbers = {}
    for name, counts in right.items():
        top1, top5 = (parallel.total(counts).double() / len(dataset) * 100).tolist()
        numbers[f"{name}top1"] = top1
        if int(parallel.from_main(classes)) > 5:
            numbers[f"{name}top5"] = top5
    return numbers
