"""Transformers as the benchmark measured them, from timm's class, and convolutional stems."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

import timm
from timm.layers import DropPath, LayerNorm2d
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from RobustART.errors import ModelError


class OriginalVisionTransformer(VisionTransformer):
    """A vision transformer with the original benchmark's arithmetic, and perhaps a tanh layer before the head.

    It differs from timm's in these: GELU by its approximation with tanh, an epsilon of 1e-5 in the layer norms, one
    probability of dropping a path in all blocks (timm lets it grow from 0).

    Args:
        representation_size: width of the tanh layer before the head (Dosovitskiy et al. 2020, section 3.1,
            https://arxiv.org/abs/2010.11929); None for no such layer.
        dropout: probability after the position embedding and inside the blocks.
        attention_dropout: probability of dropping an attention weight.
        drop_path: probability of dropping a branch, the same in every block.
        num_classes: of the head.
        arguments: of timm's class.
    """

    def __init__(
        self, *, representation_size: int | None = None, dropout: float = 0.1, attention_dropout: float = 0.1,
        drop_path: float = 0.1, num_classes: int = 1000, **arguments: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            num_classes=num_classes, pos_drop_rate=dropout, proj_drop_rate=dropout, attn_drop_rate=attention_dropout,
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-5),
            act_layer=functools.partial(nn.GELU, approximate="tanh"), **arguments,
        )  # fmt: skip
        if drop_path > 0:
            for block in self.blocks:
                block.drop_path1, block.drop_path2 = DropPath(drop_path), DropPath(drop_path)
        del self.head  # so that it is the last module, as everywhere
        self.pre_logits: nn.Module = nn.Identity()
        width = self.embed_dim
        if representation_size is not None:
            width = representation_size
            self.pre_logits = nn.Sequential(OrderedDict(fc=nn.Linear(self.embed_dim, width), act=nn.Tanh()))
        self.head = nn.Linear(width, num_classes)
        for linear in (*self.pre_logits.children(), self.head):
            if isinstance(linear, nn.Linear):
                nn.init.trunc_normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Returns logits (N, K) of tokens (N, T, D), or with ``pre_logits`` what the head sees."""
        features: Tensor = self.pre_logits(super().forward_head(x, pre_logits=True))
        return features if pre_logits else self.head(features)


SHAPES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Width and number of heads."""


def original_vit(
    shape: str = "base", patch_size: int = 16, num_classes: int = 1000, representation_size: int | None = None,
    dropout: float = 0.1, attention_dropout: float = 0.1, drop_path: float = 0.1, qkv_bias: bool = True,
    img_size: int = 224,
) -> OriginalVisionTransformer:  # fmt: skip
    """Returns the benchmark's ViT or DeiT: 12 blocks of a width of :data:`SHAPES`; arguments as in the original."""
    if shape not in SHAPES:
        raise ModelError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")
    width, heads = SHAPES[shape]
    return OriginalVisionTransformer(
        img_size=img_size, patch_size=patch_size, embed_dim=width, depth=12, num_heads=heads, qkv_bias=qkv_bias,
        num_classes=num_classes, representation_size=representation_size, dropout=dropout,
        attention_dropout=attention_dropout, drop_path=drop_path,
    )  # fmt: skip


def original_mixer(shape: str, **arguments: Any) -> nn.Module:
    """Returns timm's MLP-Mixer of a shape such as ``b16_224`` with a random head, as in the original; timm's is all 0."""
    network: Any = timm.create_model(f"mixer_{shape}", **arguments)
    nn.init.trunc_normal_(network.head.weight, std=0.02)
    return network


def original_swin(shape: str, **arguments: Any) -> nn.Module:
    """Returns timm's Swin of a shape such as ``tiny_patch4_window7_224``, with the original's epsilon of 1e-6."""
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    return timm.create_model(f"swin_{shape}", norm_layer=norm, **arguments)


def convolutional_stem(*widths: tuple[int, int]) -> nn.Sequential:
    """Returns 3 x 3 convolutions with layer norm and GELU, one for each (channels, stride)."""
    layers, before = [], 3
    for channels, stride in widths:
        layers += [nn.Conv2d(before, channels, 3, stride, 1), LayerNorm2d(channels, eps=1e-6), nn.GELU()]
        before = channels
    return nn.Sequential(*layers)


STEMS = {
    "tiny": ((48, 2), (96, 2)), "small": ((48, 2), (96, 2)), "base": ((64, 2), (96, 2), (128, 1)),
    "large": ((96, 2), (144, 2), (192, 1)),
}  # fmt: skip
"""Channels and strides of ConvNeXt's stems (Singh et al. 2023, https://arxiv.org/abs/2303.01870)."""


def convnext_convstem(size: str, **arguments: Any) -> nn.Module:
    """Returns timm's ConvNeXt of a size with a convolutional stem instead of the patches (Singh et al. 2023)."""
    network: nn.Module = timm.create_model(f"convnext_{size}", **arguments)
    network.stem = convolutional_stem(*STEMS[size])
    return network


def vit_convstem(size: str, img_size: int = 224, **arguments: Any) -> nn.Module:
    """Returns timm's ViT with patches of 16 whose patch embedding is a convolutional stem (Singh et al. 2023)."""
    if img_size % 16:
        raise ModelError(f"a ViT with patches of 16 needs an input size that is a multiple of 16, got {img_size}")
    network: Any = timm.create_model(f"vit_{size}_patch16_224", img_size=img_size, **arguments)
    stem = convolutional_stem((48, 2), (96, 2), (192, 2), (384, 2))
    stem.append(nn.Conv2d(384, network.embed_dim, 1))
    network.patch_embed.proj = stem
    return network
