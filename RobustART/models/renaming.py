"""Renames weights that another implementation of a network named otherwise.

A rule belongs to one family. It is used where a name in the file and a name in the network mark both as of that family;
the result is then checked by names and shapes like any other file.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from RobustART.errors import WeightsError
from RobustART.registry import Registry

log = logging.getLogger(__name__)

Rule = Callable[[Iterable[str], nn.Module], "dict[str, str] | None"]
RULES: Registry[Rule] = Registry("renaming rule", providers=("RobustART.original.weight_names",))
"""Functions (names in the file, network) -> new name of each weight that is taken, or None where it does not apply."""


def new_names(names: Iterable[str], network: nn.Module) -> dict[str, str]:
    """Returns the network's name of each name in a file that is taken, by the first rule that applies; else the same."""
    return _by_rule(list(names), network)[1]


def rename(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Returns the state dict under the network's names, by the first rule that applies.

    A tensor that differs from the network's by axes of length 1 alone (a linear layer and a convolution of 1 x 1) takes
    its shape, where a rule applies.
    """
    title, names = _by_rule(list(state), network)
    if title is None:
        return dict(state)
    log.info("renamed %d weights by the rule %r", len(names), title)
    own = network.state_dict()
    return {new: _as_shaped(state[old], own.get(new)) for old, new in names.items()}


def _by_rule(names: list[str], network: nn.Module) -> tuple[str | None, dict[str, str]]:
    if set(names) != set(network.state_dict()):
        for title, rule in RULES.items():
            found = rule(names, network)
            if found is not None:
                if len(set(found.values())) != len(found):
                    raise WeightsError(f"the rule {title!r} gives two weights one name; this file is not of its family")
                return title, found
    return None, {name: name for name in names}


def _as_shaped(value: Tensor, like: Tensor | None) -> Tensor:
    """Returns ``value`` in the shape of ``like``, if they differ by axes of length 1 alone."""
    if like is None or [n for n in value.shape if n != 1] != [n for n in like.shape if n != 1]:
        return value
    return torch.reshape(value, like.shape)


@dataclasses.dataclass(frozen=True)
class Table:
    """A rule as a table.

    Attributes:
        file: a name that only files of this family have.
        network: a name that only networks of this family have.
        names: patterns and their replacements; the first that matches a whole name is used, other names stay.
        dropped: pattern of buffers in the file that the network computes by itself.
        check: returns why the network computes something other than the file's network, or None.
    """

    file: str
    network: str
    names: tuple[tuple[str, str], ...]
    dropped: str | None = None
    check: Callable[[nn.Module], str | None] | None = None

    def __call__(self, names: Iterable[str], network: nn.Module) -> dict[str, str] | None:
        """Returns the new names, or None where the file or the network is of another family."""
        names = [name for name in names if not (self.dropped and re.fullmatch(self.dropped, name))]
        if self.file not in names or self.network not in network.state_dict():
            return None
        reason = self.check(network) if self.check else None
        if reason:
            raise WeightsError(reason)
        return {name: self._renamed(name) for name in names}

    def _renamed(self, name: str) -> str:
        for pattern, new in self.names:
            if re.fullmatch(pattern, name):
                return re.sub(pattern, new, name)
        return name


@RULES.register("efficientnet_lite_pytorch to timm")
def rename_efficientnet_lite(names: Iterable[str], network: nn.Module) -> dict[str, str] | None:
    """Returns timm's names for those of ``efficientnet_lite_pytorch``, the flat block i being timm's i-th block.

    The layers of a block are named by their order: with an expansion, expand / depthwise / project are
    ``conv_pw``, ``conv_dw``, ``conv_pwl`` with ``bn1``, ``bn2``, ``bn3``; without one, depthwise / project are
    ``conv_dw``, ``conv_pw`` with ``bn1``, ``bn2``.
    """
    names = list(names)
    stages = getattr(network, "blocks", None)
    if "_conv_stem.weight" not in names or stages is None or not hasattr(network, "conv_stem"):
        return None
    places = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
    expanded = {name.split(".")[1] for name in names if "._expand_conv." in name}
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    inverted |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    renamed = {}
    for name in names:
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if match and int(match[1]) < len(places):
            layers = inverted if match[1] in expanded else plain
            renamed[name] = f"{places[int(match[1])]}.{layers.get(match[2], match[2])}.{match[3]}"
        else:
            layer, _, parameter = name.partition(".")
            renamed[name] = f"{top.get(layer, layer)}.{parameter}"
    return renamed


RULES.add(
    "ConvNeXt and ConvNeXt V2 of their authors, as in the original",
    Table(
        "downsample_layers.0.0.weight", "stages.0.blocks.0.conv_dw.weight",
        (
            (r"downsample_layers\.0\.(.+)", r"stem.\1"), (r"downsample_layers\.(\d)\.(.+)", r"stages.\1.downsample.\2"),
            (r"(stages\.\d)\.(\d+)\.dwconv\.(.+)", r"\1.blocks.\2.conv_dw.\3"),
            (r"(stages\.\d)\.(\d+)\.pwconv([12])\.(.+)", r"\1.blocks.\2.mlp.fc\3.\4"),
            (r"(stages\.\d)\.(\d+)\.grn\.gamma", r"\1.blocks.\2.mlp.grn.weight"),
            (r"(stages\.\d)\.(\d+)\.grn\.beta", r"\1.blocks.\2.mlp.grn.bias"),
            (r"(stages\.\d)\.(\d+)\.(.+)", r"\1.blocks.\2.\3"),
            (r"norm\.(.+)", r"head.norm.\1"), (r"head\.(weight|bias)", r"head.fc.\1"),
        ),
    ),
)  # fmt: skip


for _title, _file, _network, _names, _dropped in (
    ("CLIP's two towers", "visual.conv1.weight", "clip.visual.conv1.weight", r"clip.\1",
     "input_resolution|context_length|vocab_size"),
    ("CLIP's image tower", "class_embedding", "clip.visual.class_embedding", r"clip.visual.\1", None),
    ("CLIP's image tower, under a linear layer", "class_embedding", "visual.class_embedding", r"visual.\1", None),
    ("CLIP's two towers, under a linear layer", "visual.conv1.weight", "visual.conv1.weight", r"\1",
     r"(?!visual\.|head\.).+"),
):  # fmt: skip
    RULES.add(_title, Table(_file, _network, ((r"(.+)", _names),), _dropped))
