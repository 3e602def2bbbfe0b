"""Training of only a part of a network, such as the head in linear evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from RobustART.errors import ConfigError, nearest
from RobustART.models.weights import within


def train_only(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Freezes all parameters except those named; returns the modules that stay in evaluation mode.

    Args:
        network: changed in place.
        names: names of modules, for all parameters in them, or of single parameters.

    Raises:
        ConfigError: ``names`` is empty, or there is no parameter under a name.
    """
    parameters = dict(network.named_parameters())
    if not names:
        raise ConfigError("training.train_only must name what is trained, got an empty list; null trains everything")
    for name in names:
        if not any(within(parameter, name) for parameter in parameters):
            known = list(dict.fromkeys(part.partition(".")[0] for part in parameters))
            raise ConfigError(
                f"training.train_only: the network has no parameter under {name!r}{nearest(name, known) or ';'} its parts "
                f"are {', '.join(known)}"
            )
    chosen = {parameter for parameter in parameters if any(within(parameter, name) for name in names)}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in chosen)
    owners = {name.rpartition(".")[0] for name in chosen}
    return [
        module
        for place, module in network.named_modules()
        if place not in owners and not any(within(place, name) for name in names)
    ]
