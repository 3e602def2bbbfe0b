"""MoCo v2: pre-training without labels, by contrasting the two views of an image with other images.

He 2020, https://arxiv.org/abs/1911.05722, and Chen 2020, https://arxiv.org/abs/2003.04297.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from RobustART.config.training import MocoConfig
from RobustART.core.seeding import image_seed, numpy_generator
from RobustART.errors import ConfigError
from RobustART.models import Classifier
from RobustART.training.loading import Batch
from RobustART.training.objectives.objective import (
    MOCO,
    Objective,
    ObjectiveContext,
    check_views,
    plain_model,
    views_of,
)
from RobustART.training.parallel import Parallel

log = logging.getLogger(__name__)


class Moco(Objective):
    """InfoNCE between two views of each image, with a queue of keys as negatives and a slowly moving encoder of keys.

    The state of the objective is the key encoder, the queue, and the number of keys that ever entered it (modulo its length
    the next place); it is equal in all processes. Places that no key has filled yet do not count; with random keys in them,
    as the authors begin, all queries are pulled together, and small trainings do not recover. Several processes exchange
    shuffled images before computing keys and then exchange the keys back, since the statistics of a batch would reveal
    which key belongs to a query. A single process cannot shuffle, and a warning reports that.
    """

    uses_labels = False
    shared = True
    keys: Tensor
    count: Tensor

    def __init__(self, context: ObjectiveContext, model: Classifier, parallel: Parallel, settings: MocoConfig) -> None:
        super().__init__()
        self.seed, self.momentum, self.temperature = context.seed, settings.momentum, settings.temperature
        self.parallel = parallel
        if parallel.world.size == 1 and any(isinstance(part, _BatchNorm) for part in model.modules()):
            log.warning(
                "training.moco: one process has no other to shuffle images with, so BatchNorm's statistics may tell which "
                "key belongs to a query"
            )
        self.encoder = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("keys", torch.zeros(settings.queue, settings.dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._new: list[Tensor] = []

    def forward(self, model: nn.Module, batch: Batch, rng: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, and the percentage of queries whose nearest key is that of the same image."""
        check_views(MOCO, views_of(batch.images))
        first, second = (view.contiguous() for view in batch.images.unbind(1))
        queries = model(first)
        with torch.no_grad():
            keys = self._encode(second, batch.step)
        with torch.autocast(queries.device.type, enabled=False):
            queries = F.normalize(queries.float(), dim=1)
            same = (queries * keys).sum(1, keepdim=True)
            empty = torch.arange(len(self.keys), device=queries.device) >= self.count
            others = (queries @ self.keys.T).masked_fill(empty, -torch.inf)
            logits = torch.cat([same, others], dim=1) / self.temperature
            loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))
        return loss, {"contrastive_accuracy": (logits.detach().argmax(1) == 0).float().mean() * 100}

    def _encode(self, images: Tensor, step: int) -> Tensor:
        """Returns the keys of this process's images, and stores those of all processes for the queue."""
        world = self.parallel.world
        if world.size == 1:
            own = F.normalize(self.encoder(images).float(), dim=1)
            self._new.append(own)
            return own
        everything = self.parallel.collect(images)
        order = numpy_generator(self.seed, step, "moco shuffle").permutation(len(everything))
        shuffled = torch.from_numpy(order).to(images.device)
        mine = shuffled.view(world.size, -1)[world.rank]
        together = self.parallel.collect(F.normalize(self.encoder(everything[mine]).float(), dim=1))
        keys = torch.empty_like(together)
        keys[shuffled] = together
        self._new.append(keys)
        return keys.view(world.size, len(images), -1)[world.rank]

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        """Replaces the oldest keys of the queue by those of the step, and updates the key encoder."""
        new, self._new = torch.cat(self._new), []
        size = len(self.keys)
        if len(new) > size:
            raise ConfigError(f"training.moco.queue must hold at least the {len(new)} images of a step, got {size}")
        self.keys[(self.count + torch.arange(len(new), device=new.device)) % size] = new
        self.count += len(new)
        own: list[Tensor] = [*self.encoder.parameters()]
        trained: list[Tensor] = [*plain_model(model).parameters()]
        torch._foreach_lerp_(own, trained, 1 - self.momentum)
        self.parallel.share_buffers(self.encoder)


def replace_head(model: Classifier, settings: MocoConfig, *, seed: int) -> str:
    """Replaces a network's last linear layer by a projection; returns the layer's name.

    The projection's parameters are called ``{name}.0.weight`` and so on, unlike those of the layer, so that the network is
    not mistaken for a classifier.
    """
    name, head = find_head(model)
    features = head.in_features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(image_seed(seed, 0, "moco head"))
        hidden = [nn.Linear(features, features), nn.ReLU()] if settings.mlp else []
        projection = nn.Sequential(*hidden, nn.Linear(features, settings.dim))
    parent, _, child = name.rpartition(".")
    setattr(model.network.get_submodule(parent), child, projection.to(head.weight))
    return name


@torch.no_grad()
def find_head(model: Classifier) -> tuple[str, nn.Linear]:
    """Returns name and module of the linear layer whose outputs are the network's."""
    found: dict[str, Tensor] = {}
    layers = {name: part for name, part in model.network.named_modules() if isinstance(part, nn.Linear)}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out))
        for name, part in layers.items()
    ]
    size = model.preprocessing.input_size
    training = model.training
    try:
        output = model.eval()(torch.full((1, 3, size, size), 0.5, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    heads = [
        name
        for name, out in found.items()
        if out.numel() == output.numel() and bool((out.flatten() == output.flatten()).all())
    ]
    if not heads:
        raise ConfigError(
            "training.moco replaces a network's last linear layer, but the outputs of this network are not those of a "
            "linear layer"
        )
    return heads[-1], layers[heads[-1]]
