"""Loads the models that a training saved."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from RobustART.errors import TrainingError
from RobustART.models import RANDOM, Classifier
from RobustART.models.provenance import technique_of_weights
from RobustART.models.weights import LEFT_RANDOM
from RobustART.training.checkpoint import newest_checkpoint, original_parts, read_checkpoint

log = logging.getLogger(__name__)


def trained_notes(model: Classifier) -> tuple[str, ...]:
    """Returns a model's notes without those about random weights, which no longer hold after training."""
    return tuple(note for note in model.notes if note != RANDOM and not note.startswith(LEFT_RANDOM))


def averaged(technique: str, kind: str) -> str:
    """Returns the technique of averaged weights: ``ema`` or ``swa``."""
    return f"{technique}, {kind.upper()}"


def with_weights(model: Classifier, weights: Mapping[str, Tensor], technique: str) -> Classifier:
    """Returns a copy of a model with other weights, trained with a technique, in evaluation mode."""
    twin = Classifier(copy.deepcopy(model.network), model.preprocessing, model.source, own=model.own)
    try:
        twin.network.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(f"the checkpoint does not fit the config's model: {error}") from None
    twin.arguments, twin.notes, twin.technique = model.arguments, trained_notes(model), technique
    return twin.to(next(model.parameters()).device).eval()


def trained_models(model: Classifier, folder: Path, recover: Path | None) -> dict[str, Classifier]:
    """Returns what a training saved, as :meth:`Trainer.run` does; ``model`` itself if there is no checkpoint."""
    found = newest_checkpoint(folder) if recover is None else (recover, read_checkpoint(recover))
    if found is None:
        return {"": model}
    path, state = found
    log.info("weights of %s, step %d", path, int(state.get("last_iter", 0)))
    parts, technique = original_parts(state, [], path), technique_of_weights(state)
    models = {"": with_weights(model, parts["model"], technique)}
    if state.get("ema"):
        models["ema"] = with_weights(model, parts["ema"].get("values", parts["ema"]), averaged(technique, "ema"))
    swa = folder / "swa.pth.tar"
    if state.get("swa") and swa.is_file():
        mean = read_checkpoint(swa)
        if mean.get("last_iter") == state.get("last_iter"):
            models["swa"] = with_weights(model, mean["model"], averaged(technique, "swa"))
    return models
