"""The names of weights in public checkpoints of the original RobustART's networks, as rules that rename them.

The names are facts about those files. ResNet, ResNeXt, Wide ResNet, DenseNet, ShuffleNetV2, MobileNetV2 and AlexNet have
the same names there as here and need no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from RobustART.models.renaming import RULES, Table


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
