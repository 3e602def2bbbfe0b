"""What a classifier takes and returns: images of its type, and logits, a float tensor (N, K)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from RobustART.errors import ModelError

ONE_LOGIT = (
    "a network of one logit z, for two classes, is wrapped in a module whose forward returns two, "
    "`torch.cat([torch.zeros_like(z), z], 1)` with z of shape (N, 1): their softmax is (1 - sigmoid(z), sigmoid(z))"
)


def check_logits(output: object, count: int, *, valued: bool = False) -> Tensor:
    """Returns a model's output if it is logits (count, K) with K of at least 2; with ``valued``, not on the meta device.

    Raises:
        ModelError: it is something else; the message says how to wrap the model.
    """
    logits = logits_of(output)
    if logits.ndim != 2 or len(logits) != count or logits.shape[1] < 2 or not logits.is_floating_point():
        got = f"{str(logits.dtype).removeprefix('torch.')} {tuple(logits.shape)}"
        hint = f"; {ONE_LOGIT}" if logits.is_floating_point() and logits.shape in ((count,), (count, 1)) else ""
        raise ModelError(f"the model must return logits of shape ({count}, K) with K of at least 2, got {got}{hint}")
    if valued and logits.is_meta:
        raise ModelError("the model must return logits with values, got a tensor on the meta device, which has none")
    return logits


def parameter_dtype(model: object) -> torch.dtype | None:
    """Returns the type of images that a model takes: of its first floating-point parameter or buffer; None if unknown.

    A model that converts images itself, such as a ``Classifier``, has the type as attribute ``input_dtype``.
    """
    if not isinstance(model, nn.Module):
        return None
    own = getattr(model, "input_dtype", None)
    if isinstance(own, torch.dtype):
        return own
    for tensors in (model.parameters(), model.buffers()):
        for value in tensors:
            if value.is_floating_point():
                return value.dtype
    return None


def average(answers: Tensor) -> Tensor:
    """Returns the logarithm of the mean softmax, (..., K), of several answers (..., R, K); one answer as it is."""
    if answers.shape[-2] == 1:
        return answers.squeeze(-2)
    return answers.double().log_softmax(-1).logsumexp(-2) - math.log(answers.shape[-2])


def logits_of(output: object, network: nn.Module | None = None) -> Tensor:
    """Returns a network's output if it is a tensor; otherwise a ModelError says what it is and how to fix that."""
    name = "the model" if network is None else f"the model ({type(network).__name__})"
    if isinstance(output, Tensor):
        output = output if type(output) is Tensor else _plain(output)
        if output.is_nested or output.layout is not torch.strided:
            kind = "a nested" if output.is_nested else f"a {str(output.layout).removeprefix('torch.')}"
            raise ModelError(f"{name} must return logits as a dense tensor (N, K), got {kind} one")
        return output
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


def _plain(output: Tensor) -> Tensor:
    """Returns a tensor of a subclass with operations other than PyTorch's as a plain tensor, others as they are."""
    own = getattr(type(output).__torch_function__, "__func__", None)
    if own is None or own is getattr(Tensor.__torch_function__, "__func__", None):
        return output
    with torch._C.DisableTorchFunctionSubclass():
        return output.as_subclass(Tensor)
