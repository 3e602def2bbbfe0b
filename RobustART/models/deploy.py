"""The two forms of networks with weight re-parameterisation, such as RepVGG (Ding 2021, https://arxiv.org/abs/2101.03697).

The training form has several branches in a block, the deploy form one convolution that gives the same outputs. The blocks
and their fusion are timm's. ``deploy: true`` among a model's arguments is the original's way to ask for the second form.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from RobustART.errors import ModelError, WeightsError
from RobustART.models.renaming import new_names
from RobustART.models.zoo import has_usual_arguments

METHODS = ("reparameterize", "fuse", "switch_to_deploy")
"""Names of the method by which timm's blocks fuse."""


def split_deploy(name: str, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], bool | None]:
    """Returns a builder's arguments without ``deploy``, and its value; None if it is absent or a user's function takes it.

    Raises:
        ModelError: the value is neither true nor false.
    """
    if "deploy" not in kwargs or not has_usual_arguments(name):
        return dict(kwargs), None
    deploy = kwargs["deploy"]
    if not isinstance(deploy, bool):
        raise ModelError(f"the argument deploy of {name!r} must be true or false, got {deploy!r}")
    return {key: value for key, value in kwargs.items() if key != "deploy"}, deploy


def deploy_form(network: nn.Module) -> nn.Module | None:
    """Returns the deploy form of a network in training form, a new one with the same outputs in evaluation mode.

    None if the network has no deploy form, or is already in it.
    """
    if not any(hasattr(part, method) for part in network.modules() for method in METHODS):
        return None
    from timm.utils.model import reparameterize_model

    fused: nn.Module = reparameterize_model(_with_plain_norms(copy.deepcopy(network)), inplace=True)
    return None if set(fused.state_dict()) == set(network.state_dict()) else fused


def _with_plain_norms(network: nn.Module) -> nn.Module:
    """Puts BatchNorm in place of SyncBatchNorm, which timm's fusion does not know."""
    from timm.layers import BatchNormAct2d
    from timm.layers.norm_act import SyncBatchNormAct

    for place, part in list(network.named_modules()):
        if isinstance(part, nn.SyncBatchNorm):
            plain: Any = nn.BatchNorm2d(part.num_features, part.eps)
            if isinstance(part, SyncBatchNormAct):
                plain = BatchNormAct2d(part.num_features, part.eps)
                plain.act, plain.drop = part.act, part.drop
            plain.load_state_dict(part.state_dict())
            parent, _, child = place.rpartition(".")
            setattr(network.get_submodule(parent), child, plain.to(part.weight))
    return network


def check_form(names: Iterable[str], trained: nn.Module, fused: nn.Module, deploy: bool, source: object) -> None:
    """Raises a WeightsError if weights are of the other form than the one asked for.

    Args:
        names: names of the weights; the original's are understood too.
        trained: the network in training form.
        fused: the network in deploy form.
        deploy: whether the weights should be of the deploy form.
        source: file of the weights, for the message.
    """
    forms = set(trained.state_dict()), set(fused.state_dict())
    own, other = forms[deploy], forms[not deploy]
    names = list(names)
    held = {new for form in (trained, fused) for new in new_names(names, form).values()}
    if not held & (other - own) or held & (own - other):
        return
    has, asked, remedy = (
        ("training", "deploy", "leave out deploy: true, or take the ckpt_deploy.pth.tar that training writes beside it")
        if deploy
        else ("deploy", "training", "say model.kwargs.deploy: true, or take the checkpoint that it was made from")
    )
    raise WeightsError(f"{source} holds the {has} form of the network, but the model is in its {asked} form; {remedy}")
