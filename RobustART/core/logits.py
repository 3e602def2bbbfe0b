"""What a classifier must return: logits, a float tensor (N, K)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from RobustART.errors import ModelError


def check_logits(output: object, count: int, *, classes: int = 1) -> Tensor:
    """Returns a model's output if it is logits (count, K) with K of at least ``classes``.

    Raises:
        ModelError: it is something else; the message says how to wrap the model.
    """
    logits = logits_of(output)
    if logits.ndim != 2 or len(logits) != count or logits.shape[1] < classes or not logits.is_floating_point():
        least = f" with K of at least {classes}" if classes > 1 else ""
        raise ModelError(
            f"the model must return logits of shape ({count}, K){least}, got {logits.dtype} {tuple(logits.shape)}"
        )
    return logits


def average(answers: Tensor) -> Tensor:
    """Returns the logarithm of the mean softmax, (..., K), of several answers (..., R, K); one answer as it is."""
    if answers.shape[-2] == 1:
        return answers.squeeze(-2)
    return answers.double().log_softmax(-1).logsumexp(-2) - math.log(answers.shape[-2])


def logits_of(output: object, network: nn.Module | None = None) -> Tensor:
    """Returns a network's output if it is a tensor; otherwise a ModelError says what it is and how to fix that."""
    if isinstance(output, Tensor):
        return output
    name = "the model" if network is None else f"the model ({type(network).__name__})"
    message = f"{name} must return logits as a tensor (N, K), got {type(output).__name__}"
    if network is not None and network.training and getattr(network, "aux_logits", False):
        raise ModelError(
            f"{message} in training mode, with the logits of auxiliary heads; leave these out with model.kwargs: "
            "{aux_logits: false}"
        )
    raise ModelError(
        f"{message}. Wrap it in a module whose forward returns, for example, "
        f"`self.model(images){'[0]' if isinstance(output, (tuple, list)) else '.logits'}`"
    )
