"""Trains a supernet by the sandwich rule with in-place distillation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from RobustART.core.ranges import Natural
from RobustART.core.seeding import numpy_generator
from RobustART.errors import ConfigError
from RobustART.nas import Encoding, Space, Supernet
from RobustART.training.loading import Batch
from RobustART.training.objectives.objective import OBJECTIVES, Blending, Objective, ObjectiveContext, plain_model
from RobustART.training.objectives.smoothing import soft_cross_entropy
from RobustART.training.objectives.techniques import distance


class Sandwich(Blending):
    """The sandwich rule and in-place distillation (Yu and Huang 2019, https://arxiv.org/abs/1903.05134).

    Each step trains the largest sub-network, the smallest, and some random ones; their losses are added. The largest learns
    from the labels, the others from its predictions (without their gradient) or, without distillation, from the labels. All
    get the same images, blended ones too, each at its own input size. The draws depend on the seed and the step alone: they
    are the same in all processes and portions, and a resumed run repeats them. As the largest takes part in every step,
    every weight has a gradient, which distributed training needs.

    The graphs of all sub-networks are held until the backward pass; ``training.accumulate`` saves memory.
    """

    def __init__(self, context: ObjectiveContext, random: int, distill: bool) -> None:
        super().__init__(*context.blending)
        self.seed, self.random, self.distill = context.seed, random, distill

    def forward(self, model: nn.Module, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the sum of the losses, and those of the largest and smallest, with accuracy if labels are not blended."""
        network = plain_model(model).network
        if not isinstance(network, Supernet):
            raise ConfigError(f"training.objective 'supernet' needs a supernet, got {type(network).__name__}")
        images, targets = self.blended(batch, rng)
        size = network.space.input_sizes[-1]
        if images.shape[-1] != size:
            raise ConfigError(
                f"training.objective 'supernet': images have {images.shape[-1]} pixels, the largest network takes {size}; "
                "leave out model.preprocessing.input_size, or set it to that"
            )
        with network.together(self.encodings(network.space, batch.step)):
            logits = model(images)
        largest, *others = logits.unbind()
        losses = [soft_cross_entropy(largest, targets)]
        for own in others:
            losses.append(distance(own, largest.detach(), 1.0) if self.distill else soft_cross_entropy(own, targets))
        accuracies = self.accuracies(batch, accuracy=largest, accuracy_smallest=others[0])
        return torch.stack(losses).sum(), {"largest": losses[0], "smallest": losses[1], **accuracies}

    def encodings(self, space: Space, step: int) -> list[Encoding]:
        """Returns the sub-networks of a step, the largest and the smallest first."""
        rng = numpy_generator(self.seed, step, "supernet")
        return [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(self.random))]


@OBJECTIVES.register("supernet")
def supernet(context: ObjectiveContext, *, random: Natural = 2, distill: bool = True) -> Objective:
    """Returns the sandwich rule with in-place distillation (Yu and Huang 2019, https://arxiv.org/abs/1903.05134).

    Args:
        context: of the training.
        random: sub-networks drawn at each step beside the largest and the smallest.
        distill: whether these learn the predictions of the largest instead of the labels.
    """
    return Sandwich(context, random, distill)
