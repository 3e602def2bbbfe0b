"""Everything that is refused before a run: settings that cannot be used together, and a dry run.

:data:`INCOMPATIBLE` lists which settings exclude each other, with the reason. ``--check`` is :func:`check`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from RobustART.benchmarks import Pass, build_benchmark
from RobustART.config.schema import Config
from RobustART.core.distributed import choose_device
from RobustART.core.logits import check_logits, logits_of
from RobustART.core.preprocessing import Preprocessing
from RobustART.core.seeding import generators_kept, seed_generators
from RobustART.data import ImageDataset
from RobustART.errors import ConfigError, UserError
from RobustART.evaluation.blocks import attack_groups
from RobustART.evaluation.checks import check_labels, probe
from RobustART.evaluation.run import chosen_images
from RobustART.evaluation.settings import run_settings
from RobustART.models import Classifier
from RobustART.models.meta import meta_device
from RobustART.models.section import stated_preprocessing
from RobustART.models.weights import PACKAGED, pretrained_entry
from RobustART.models.zoo import check_entry, check_name, is_untrained
from RobustART.noise.attacks.costs import forward_passes
from RobustART.training.build import (
    objective_of,
    optimizer_of,
    plan_of,
    sampler_of,
    started_from,
    training_view,
)
from RobustART.training.freezing import train_only
from RobustART.training.inputs import (
    build_dataset,
    chosen_benchmarks,
    clean_dataset,
    configured_model,
    evaluation_options,
    evaluation_section,
    missing_for_training,
    model_section,
    run_device,
    trains,
    weights_of,
)
from RobustART.training.objectives.objective import JSD, MOCO, check_views, views_of
from RobustART.training.objectives.techniques import build_teacher, probe_teacher

ON: dict[str, Callable[[Config], bool]] = {
    "data.test": lambda c: c.data.test is not None,
    "evaluation": lambda c: c.evaluation is not None,
    "label_smooth": lambda c: c.label_smooth != 0,
    "mixup and cutmix": lambda c: c.mixup != 0 or c.cutmix != 0,
    "training.accumulate": lambda c: c.training.accumulate > 1,
    "training.adversary": lambda c: c.training.adversary is not None,
    "training.adversary 'free'": lambda c: c.training.adversary is not None and c.training.adversary["type"] == "free",
    "training.compile": lambda c: c.training.compile,
    "training.moco": lambda c: c.training.moco is not None,
    "training.objective": lambda c: c.training.objective.type != "plain",
    "training.objective 'jsd'": lambda c: c.training.objective.type == "jsd",
    "training.objective 'supernet'": lambda c: c.training.objective.type == "supernet",
    "training.swa": lambda c: c.training.swa.enable,
    "training.sync_bn": lambda c: c.training.sync_bn,
    "training.train_only": lambda c: c.training.train_only is not None,
    "a supernet": lambda c: _is_supernet(c),
    "a model that is no supernet": lambda c: not _is_supernet(c),
}
"""When each setting is on."""

NO_CLASSES = "training.moco learns without labels and has no classifier"
OWN = "both say what is minimised; leave one out"
INCOMPATIBLE = (
    ("data.test", "training.moco", f"{NO_CLASSES} to validate; leave it out until fine-tuning"),
    ("evaluation", "training.moco", f"{NO_CLASSES} to evaluate; fine-tune its checkpoint first"),
    ("label_smooth", "training.moco", NO_CLASSES),
    ("mixup and cutmix", "training.moco", f"{NO_CLASSES} whose targets could be blended"),
    ("training.adversary", "training.moco", OWN),
    ("training.objective", "training.moco", OWN),
    ("training.swa", "training.moco", "it measures BatchNorm's statistics on single views; ema is possible"),
    ("training.sync_bn", "training.moco", "training.moco shuffles images between processes instead"),
    ("training.adversary", "training.objective", OWN),
    ("mixup and cutmix", "training.adversary 'free'", "it repeats the same images; mixup and cutmix must be off"),
    ("training.accumulate", "training.adversary 'free'", "it keeps a perturbation of the batch; set it to 1"),
    ("mixup and cutmix", "training.objective 'jsd'", "it compares views of one image; mixup and cutmix must be off"),
    ("training.swa", "training.train_only", "it measures anew the statistics of BatchNorm, which train_only keeps"),
    (
        "training.objective 'supernet'", "a model that is no supernet",
        "set model: {type: nas:resnet} or {type: nas:mobilenet_v3}, without kwargs.encoding, which is one sub-network",
    ),
    ("training.compile", "a supernet", "it is another network at every step"),
    (
        "training.sync_bn", "a supernet",
        "its smaller networks have no synchronised BatchNorm; statistics are measured on each sub-network before it is "
        "evaluated",
    ),
)  # fmt: skip
"""Two settings of :data:`ON` that cannot be used together, and why."""


def _is_supernet(config: Config) -> bool:
    model = config.model
    return model is not None and model.type.startswith("nas:") and model.kwargs.get("encoding") is None


def refuse_incompatible(config: Config, *, training: bool) -> None:
    """Raises a ConfigError for settings that contradict each other; those of a training do not matter to an evaluation."""
    for setting, other, why in INCOMPATIBLE:
        if (training or setting == "evaluation") and ON[setting](config) and ON[other](config):
            raise ConfigError(f"{setting} cannot be used with {other}: {why}")
    weights, pretrain = model_section(config).weights, config.saver.pretrain
    path = pretrain.path if pretrain else None
    if weights is not None and path is not None and weights != path:
        raise ConfigError(f"model.weights is {weights!r}, but saver.pretrain.path is {path!r}; set one of them")


def refuse_training(config: Config) -> list[str]:
    """Raises a ConfigError for what no training can do; returns warnings of what is not used."""
    if missing_for_training(config):
        raise ConfigError(f"a training needs the sections {', '.join(missing_for_training(config))}")
    refuse_incompatible(config, training=True)
    training, together = config.training, config.data.images_per_step or config.data.batch_size
    if training.moco is not None and training.moco.queue < together:  # of one process, at least
        raise ConfigError(f"training.moco.queue must be at least the images of a step, got {training.moco.queue}")
    sampler_of(config)
    if training.adversary is not None:
        objective_of(config, 2, torch.device("cpu"), Path())
    pretrain = config.saver.pretrain
    if pretrain is not None and "model" in pretrain.ignore.key:
        raise ConfigError(
            "saver.pretrain.ignore.key may not hold 'model': the weights are what saver.pretrain.path is named for; leave "
            "saver.pretrain out, or name parameters in ignore.model"
        )
    if config.data.prefetch_factor is not None and config.data.num_workers == 0:
        return ["data.prefetch_factor is not used: it is of loader processes, and data.num_workers is 0"]
    return []


def check_model(config: Config, folder: Path) -> None:
    """Raises what building the model would raise, as far as it can be known without building it."""
    refuse_incompatible(config, training=False)
    section = model_section(config)
    check_name(section.type)
    weights = weights_of(config, folder)
    entry = pretrained_entry(weights)
    if entry is not None:
        check_entry(section.type, entry)
    elif weights is not None and weights not in PACKAGED and not Path(weights).is_file():
        raise ConfigError(f"there is no weights file {weights}")
    stated_preprocessing(section)


TRIALS = 8
"""How often the training's transforms are tried on the first image."""


def outline(config: Config, folder: Path, seed: int) -> Classifier:
    """Returns the model of a config; a network that a library builds has names and shapes, no values."""
    own = not is_untrained(model_section(config).type)
    with contextlib.nullcontext() if own else meta_device(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        return configured_model(config, folder, seed, fetch=False)


def _outputs(model: Classifier) -> int | None:
    """Returns how many classes a model has; None where an outline does not show it."""
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
    """Raises what making the training's images would raise, as far as the first one shows it."""
    view, picture = training_view(config, preprocessing), dataset.picture(0)
    with generators_kept():
        for key in range(TRIALS):
            seed_generators(key)
            made = view(picture, dataset.files[0])
    training = config.training
    objective = MOCO if training.moco else JSD if training.objective.type == "jsd" else "training.objective"
    check_views(objective, views_of(made[None]))


def _check_training(config: Config, folder: Path) -> None:
    """Raises what a training would raise before its first step, as far as it can be known without weights."""
    refuse_training(config)
    dataset = build_dataset(config.data.train, folder, "data.train")
    plan, _, base_lr = plan_of(config, dataset, 1)
    choose_device(run_device(config, training=True), 0)
    test = clean_dataset(config, folder)
    model = outline(config, folder, config.training.seed)
    classes = None if config.training.moco else _outputs(model)
    if classes is not None:
        for images in filter(None, (dataset, test)):
            check_labels(images, range(len(images)), classes)
    _check_transforms(config, dataset, model.preprocessing)
    _check_teacher(config, folder, model.preprocessing.input_size)
    if config.training.train_only is not None:
        train_only(model.network, config.training.train_only)
    optimizer_of(config, model, base_lr)
    started_from(config, folder, plan.steps)


def _check_teacher(config: Config, folder: Path, input_size: int) -> None:
    """Raises what building the teacher of a distillation would raise; one that must be downloaded is left to the run."""
    section = config.training.objective
    teacher = section.kwargs.get("teacher") if section.type == "distillation" else None
    weights = teacher.get("weights") if isinstance(teacher, dict) else None
    if teacher is None or (isinstance(weights, str) and pretrained_entry(weights) is not None):
        return
    probe_teacher(build_teacher(teacher, folder), input_size, torch.device("cpu"))


def check(config: Config, folder: Path) -> list[str]:
    """Raises what a run would raise before its first image; returns the lines of :func:`attack_costs`.

    Builds no process group; networks of libraries are built without memory, but for a teacher and those that a benchmark
    adds. The network of an evaluation is built where the config has arguments for it.
    """
    check_model(config, folder)
    if trains(config):
        _check_training(config, folder)
        if config.evaluation is None:
            return []
    elif model_section(config).kwargs:
        outline(config, folder, 0)
    section = evaluation_section(config)
    run_settings(**evaluation_options(config), progress=False)
    choose_device(section.device, 0)
    dataset = clean_dataset(config, folder)
    if section.limit is not None and dataset is not None:
        chosen_images(dataset, section.limit, section.seed)
    lines = []
    for name, options in chosen_benchmarks(config, folder).items():
        for part in build_benchmark(name, dataset, options).passes:
            lines += attack_costs(name, part, len(chosen_images(part.dataset, section.limit, section.seed)))
    return lines


def attack_costs(benchmark: str, part: Pass, images: int) -> list[str]:
    """Returns a line for each attack of a pass: its forward passes for one image, and for all, at most."""
    attacks = [(part.cells[group[0]].name, part.cells[group[0]].attack, images) for group in attack_groups(part.cells)]
    attacks += [(one.name, one.attack, min(one.images, images)) for one in part.probes]
    lines = []
    for name, attack, count in attacks:
        assert attack is not None
        passes = forward_passes(attack)
        total = "unknown" if passes is None else f"{passes:,} x {count:,} images = {passes * count:,}"
        lines.append(f"{benchmark}: {name}: {total}")
    return lines
