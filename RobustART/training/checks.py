"""What a run would find at its start, found without one."""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path

import torch

from RobustART.benchmarks import build_benchmark
from RobustART.config.schema import Config
from RobustART.core.distributed import choose_device
from RobustART.core.preprocessing import Preprocessing
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError, UserError
from RobustART.evaluation.checks import check_labels, probe
from RobustART.evaluation.run import chosen_images
from RobustART.evaluation.scoring import check_logits
from RobustART.models import Classifier
from RobustART.models.macs import meta_device
from RobustART.models.normalize import logits_of
from RobustART.models.weights import PACKAGED, pretrained_entry
from RobustART.models.zoo import check_entry, check_name, is_untrained
from RobustART.training.augment.transforms import TrainingView, create_transform
from RobustART.training.freezing import train_only
from RobustART.training.loading import generators_kept, seed_generators
from RobustART.training.objectives.objective import JSD, MOCO, check_views, views_of
from RobustART.training.objectives.techniques import build_teacher, probe_teacher
from RobustART.training.recipe import loop_settings, optimizer_of, plan_of, run_device, trains
from RobustART.training.refusals import refuse_impossible, refuse_impossible_training
from RobustART.training.resolve import (
    begun_with,
    chosen_benchmarks,
    clean_dataset,
    configured_model,
    evaluation_section,
    limit_of,
    model_section,
    preprocessing_fields,
    train_dataset,
    weights_of,
)

log = logging.getLogger("RobustART")


def check_model(config: Config, folder: Path) -> None:
    """Raises what building the model would raise, as far as it can be known without building it."""
    refuse_impossible(config)
    check_name(model_section(config).type)
    weights = weights_of(config, folder)
    entry = pretrained_entry(weights)
    if entry is not None:
        check_entry(model_section(config).type, entry)
    elif weights is not None and weights not in PACKAGED and not Path(weights).is_file():
        raise ConfigError(f"there is no weights file {weights}")
    preprocessing_fields(config)


TRIALS = 8
"""How often the training's transforms are tried on the first picture."""


def outline(config: Config, folder: Path, seed: int) -> Classifier:
    """Returns the model of a config; where a library builds the network, without memory: names and shapes, no values.

    Raises:
        UserError: what building it, and giving it its weights, would raise; weights that would be fetched are left out.
    """
    own = not is_untrained(model_section(config).type)
    with contextlib.nullcontext() if own else meta_device(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        return configured_model(config, folder, seed, fetch=False)


def _outputs(model: Classifier) -> int | None:
    """Returns how many classes a model has; None where an outline cannot say.

    Raises:
        ModelError: it does not return logits, an outline in training mode either.
    """
    size, device = model.preprocessing.input_size, next((p.device for p in model.parameters()), torch.device("cpu"))
    if device.type != "meta":
        return probe(model, size, device)
    try:
        with torch.no_grad():
            return check_logits(logits_of(model.train()(torch.empty(2, 3, size, size, device=device))), 2).shape[1]
    except UserError:
        raise
    except Exception:  # not all that networks do can be done without values
        return None


def _check_transforms(config: Config, dataset: ImageDataset, preprocessing: Preprocessing) -> None:
    """Raises what making the training's pictures would raise, as far as the first one shows it."""
    assert config.data.train is not None
    view = TrainingView(create_transform(config.data.train.transforms or [], preprocessing), preprocessing.input_size)
    picture = dataset.picture(0)
    with generators_kept():
        for key in range(TRIALS):
            seed_generators(key)
            made = view(picture, dataset.files[0])
    training = config.training
    objective = MOCO if training.moco else JSD if training.objective.type == "jsd" else "training.objective"
    check_views(objective, views_of(made[None]))


def _check_training(config: Config, dataset: ImageDataset, folder: Path) -> None:
    """Raises what a training would raise before its first step, as far as it can be known without weights."""
    refuse_impossible_training(config)
    plan, _, base_lr = plan_of(config, dataset, 1)
    loop_settings(config, plan.steps)
    choose_device(run_device(config, training=True), 0)
    if config.data.test is not None:
        clean_dataset(config, folder)
    model = outline(config, folder, config.training.seed)
    classes = None if config.training.moco else _outputs(model)
    if classes is not None:
        check_labels(dataset, range(len(dataset)), classes)
    _check_transforms(config, dataset, model.preprocessing)
    _check_teacher(config, folder, model.preprocessing.input_size)
    if config.training.train_only is not None:
        train_only(model.network, config.training.train_only)
    optimizer_of(config, model, base_lr)
    begun_with(config, folder, plan.steps)


def _check_teacher(config: Config, folder: Path, input_size: int) -> None:
    """Raises what building the teacher of a distillation would raise; one that must be fetched is left to the run."""
    section = config.training.objective
    teacher = section.kwargs.get("teacher") if section.type == "distillation" else None
    weights = teacher.get("weights") if isinstance(teacher, dict) else None
    if teacher is None or (isinstance(weights, str) and pretrained_entry(weights) is not None):
        return
    probe_teacher(build_teacher(teacher, folder), input_size, torch.device("cpu"))


def check(config: Config, folder: Path) -> None:
    """Raises what a run would raise before its first image.

    Builds no process group; networks of libraries are built without memory, but for a teacher and those that a benchmark
    adds. The network of an evaluation is built where the config has arguments for it.
    """
    check_model(config, folder)
    if trains(config):
        _check_training(config, train_dataset(config, folder), folder)
        if config.evaluation is None:
            return
    elif model_section(config).kwargs:
        outline(config, folder, 0)
    section = evaluation_section(config)
    choose_device(section.device, 0)
    dataset, limit = clean_dataset(config, folder), limit_of(config)
    if limit is not None and dataset is not None:
        chosen_images(dataset, limit, section.seed)
    for name, options in chosen_benchmarks(config, folder).items():
        for part in build_benchmark(name, dataset, options).passes:
            chosen_images(part.dataset, limit, section.seed)
