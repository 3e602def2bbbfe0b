"""Other implementations' names of parameters, and the network's names of the same.

A rule belongs to one family. It is used where a name in the file and a name in the network mark both as of that family;
what it yields is then checked by names and shapes like any other file. The names of the original RobustART's networks are
facts about its public checkpoints. ResNet, ResNeXt, Wide ResNet, DenseNet, ShuffleNetV2, MobileNetV2 and AlexNet have the
same names there as here and need no rule.
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
RULES: Registry[Rule] = Registry("renaming rule")
"""Functions (names in the file, network) -> new name of each that is taken, or None where the rule does not apply."""


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


@dataclasses.dataclass(frozen=True)
class Table:
    """A rule as a table.

    Attributes:
        file: a name that only files of this family have.
        network: a name that only networks of this family have.
        names: patterns and what stands for them; the first that fits a whole name is used, the others stay.
        dropped: pattern of buffers in the file that the network computes by itself.
        check: returns why the network computes something else than the file's, or None.
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


def _other_arithmetic(network: nn.Module) -> str | None:
    from RobustART.models.transformers import OriginalVisionTransformer

    if isinstance(network, OriginalVisionTransformer):
        return None
    return (
        "these are weights of the original's transformer, which computes other numbers than this network (GELU by tanh, "
        "epsilon 1e-5); name the model deit_tiny_b16_224, deit_small_b16_224, deit_base_b16_224, vit_b16_224 or vit_b32_224"
    )


RULES.add(
    "the original's ViT and DeiT",
    Table(
        "transformer.encoder_norm.weight", "blocks.0.attn.qkv.weight",
        (
            (r"embedding\.(.+)", r"patch_embed.proj.\1"), (r"pos_embedding", "pos_embed"),
            (r"transformer\.encoder_norm\.(.+)", r"norm.\1"), (r"pre_logits\.(weight|bias)", r"pre_logits.fc.\1"),
            (r"transformer\.encoders\.encoder_(\d+)\.attention\.to_qkv\.(.+)", r"blocks.\1.attn.qkv.\2"),
            (r"transformer\.encoders\.encoder_(\d+)\.attention\.to_out\.(.+)", r"blocks.\1.attn.proj.\2"),
            (r"transformer\.encoders\.encoder_(\d+)\.feedforward\.mlp([12])\.(.+)", r"blocks.\1.mlp.fc\2.\3"),
            (r"transformer\.encoders\.encoder_(\d+)\.(.+)", r"blocks.\1.\2"),
        ),
        check=_other_arithmetic,
    ),
)  # fmt: skip
RULES.add(
    "the original's MLP-Mixer",
    Table(
        "blocks.0.token_mix.fc1.weight", "blocks.0.mlp_tokens.fc1.weight",
        (
            (r"patch_embed\.proj\.(.+)", r"stem.proj.\1"),
            (r"blocks\.(\d+)\.(token|channel)_mix\.(.+)", r"blocks.\1.mlp_\2s.\3"),
        ),
    ),
)  # fmt: skip
RULES.add(
    "the original's RegNet",
    Table(
        "s1.b1.f.a.weight", "s1.b1.conv1.conv.weight",
        (
            *((rf"(s\d\.b\d+)\.f\.{letter}\.(.+)", rf"\1.conv{i}.conv.\2") for i, letter in enumerate("abc", 1)),
            *((rf"(s\d\.b\d+)\.f\.{letter}_bn\.(.+)", rf"\1.conv{i}.bn.\2") for i, letter in enumerate("abc", 1)),
            (r"(s\d\.b\d+)\.proj\.(.+)", r"\1.downsample.conv.\2"),
            (r"(s\d\.b\d+)\.bn\.(.+)", r"\1.downsample.bn.\2"),
            (r"(s\d\.b\d+)\.f\.se\.f_ex\.0\.(.+)", r"\1.se.fc1.\2"),
            (r"(s\d\.b\d+)\.f\.se\.f_ex\.2\.(.+)", r"\1.se.fc2.\2"),
        ),
    ),
)  # fmt: skip
_BRANCHES = {"rbr_dense": "conv_kxk", "rbr_1x1": "conv_1x1", "rbr_identity": "identity", "rbr_reparam": "reparam_conv"}
for _title, _file, _network in (
    ("the original's RepVGG", "stage0.rbr_dense.conv.weight", "stem.conv_kxk.conv.weight"),
    ("the original's RepVGG in its deploy form", "stage0.rbr_reparam.weight", "stem.reparam_conv.weight"),
):
    RULES.add(
        _title,
        Table(
            _file, _network,
            (
                *((rf"stage0\.{branch}\.(.+)", rf"stem.{new}.\1") for branch, new in _BRANCHES.items()),
                *(
                    (rf"stage{i}\.(\d+)\.{branch}\.(.+)", rf"stages.{i - 1}.\1.{new}.\2")
                    for i in (1, 2, 3, 4)
                    for branch, new in _BRANCHES.items()
                ),
                (r"linear\.(.+)", r"head.fc.\1"),
            ),
        ),
    )  # fmt: skip
RULES.add(
    "the original's MobileNetV3",
    Table(
        "features.1.conv.0.weight", "features.1.block.0.weight",
        (
            (r"(features\.\d+)\.conv\.(\d+)\.fc\.0\.weight", r"\1.block.\2.fc1.weight"),
            (r"(features\.\d+)\.conv\.(\d+)\.fc\.2\.weight", r"\1.block.\2.fc2.weight"),
            (r"(features\.\d+)\.conv\.(.+)", r"\1.block.\2"),
            (r"features\.\d+\.(weight|bias)", r"classifier.0.\1"), (r"classifier\.1\.(.+)", r"classifier.3.\1"),
        ),
    ),
)  # fmt: skip
RULES.add(
    "the original's Swin transformer",
    Table(
        "layers.0.downsample.reduction.weight", "layers.1.downsample.reduction.weight",
        (
            *((rf"layers\.{i}\.downsample\.(.+)", rf"layers.{i + 1}.downsample.\1") for i in (0, 1, 2)),
            (r"head\.(weight|bias)", r"head.fc.\1"),
        ),
        dropped=r".+\.(attn_mask|relative_position_index)",
    ),
)  # fmt: skip
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
RULES.add(
    "the original's ConvNeXt with a convolutional stem",
    Table("stem.stem.0.weight", "stem.0.weight", ((r"stem\.stem\.(.+)", r"stem.\1"),)),
)
RULES.add(
    "the original's ViT with a convolutional stem",
    Table(
        "patch_embed.proj.stem.0.weight", "patch_embed.proj.0.weight",
        ((r"patch_embed\.proj\.stem\.(.+)", r"patch_embed.proj.\1"),),
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


@RULES.register("the original's EfficientNet")
def rename_efficientnet(names: Iterable[str], network: nn.Module) -> dict[str, str] | None:
    """Returns timm's names for those of the original's EfficientNet, the flat block i being timm's i-th block."""
    names = list(names)
    stages = getattr(network, "blocks", None)
    if "blocks.0.in_conv.0.weight" not in names or stages is None or not hasattr(network, "conv_stem"):
        return None
    places = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
    expanded = {name.split(".")[1] for name in names if re.fullmatch(r"blocks\.\d+\.in_conv\.3\.weight", name)}
    top = {"stem.0": "conv_stem", "stem.1": "bn1", "head.0": "conv_head", "head.1": "bn2", "fc": "classifier"}
    common = {"se_block.conv1": "se.conv_reduce", "se_block.conv2": "se.conv_expand"}
    plain = {"in_conv.0": "conv_dw", "in_conv.1": "bn1", "out_conv.0": "conv_pw", "out_conv.1": "bn2", **common}
    inverted = {"in_conv.0": "conv_pw", "in_conv.1": "bn1", "in_conv.3": "conv_dw", "in_conv.4": "bn2"}
    inverted |= {"out_conv.0": "conv_pwl", "out_conv.1": "bn3", **common}
    renamed = {}
    for name in names:
        layer, _, parameter = name.rpartition(".")
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", layer)
        if match and int(match[1]) < len(places):
            layers = inverted if match[1] in expanded else plain
            renamed[name] = f"{places[int(match[1])]}.{layers.get(match[2], match[2])}.{parameter}"
        else:
            renamed[name] = f"{top.get(layer, layer)}.{parameter}"
    return renamed


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
