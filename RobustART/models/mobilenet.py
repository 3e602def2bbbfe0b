"""MobileNetV3 as the benchmark measured it, from torchvision's class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.ops import SqueezeExcitation

from RobustART.errors import ModelError

Row = tuple[int, int, int, bool, str, int]
LAYERS: dict[str, tuple[Row, ...]] = {
    "large": (
        (3, 16, 16, False, "RE", 1), (3, 64, 24, False, "RE", 2), (3, 72, 24, False, "RE", 1),
        (5, 72, 40, True, "RE", 2), (5, 120, 40, True, "RE", 1), (5, 120, 40, True, "RE", 1),
        (3, 240, 80, False, "HS", 2), (3, 200, 80, False, "HS", 1), (3, 184, 80, False, "HS", 1),
        (3, 184, 80, False, "HS", 1), (3, 480, 112, True, "HS", 1), (3, 672, 112, True, "HS", 1),
        (5, 672, 160, True, "HS", 2), (5, 960, 160, True, "HS", 1), (5, 960, 160, True, "HS", 1),
    ),
    "small": (
        (3, 16, 16, True, "RE", 2), (3, 72, 24, False, "RE", 2), (3, 88, 24, False, "RE", 1),
        (5, 96, 40, True, "HS", 2), (5, 240, 40, True, "HS", 1), (5, 240, 40, True, "HS", 1),
        (5, 120, 48, True, "HS", 1), (5, 144, 48, True, "HS", 1), (5, 288, 96, True, "HS", 2),
        (5, 576, 96, True, "HS", 1), (5, 576, 96, True, "HS", 1),
    ),
}  # fmt: skip
"""Tables 1 and 2 of Howard et al. 2019, https://arxiv.org/abs/1905.02244: kernel, expanded channels, channels, whether
there is squeeze-and-excitation, nonlinearity (ReLU or hard swish), stride."""


class Block(nn.Module):
    """An inverted residual with squeeze-and-excitation before the nonlinearity, a quarter as wide, without biases."""

    def __init__(self, row: InvertedResidualConfig, norm_layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        activation = nn.Hardswish if row.use_hs else nn.ReLU
        wide, layers = row.expanded_channels, []
        if row.input_channels != wide:
            layers = [nn.Conv2d(row.input_channels, wide, 1, bias=False), norm_layer(wide), activation(inplace=True)]
        squeeze: nn.Module = nn.Identity()
        if row.use_se:
            excitation = SqueezeExcitation(wide, wide // 4, scale_activation=nn.Hardsigmoid)
            for layer in (excitation.fc1, excitation.fc2):
                layer.register_parameter("bias", None)
            squeeze = excitation
        self.block = nn.Sequential(
            *layers,
            nn.Conv2d(wide, wide, row.kernel, row.stride, row.kernel // 2, groups=wide, bias=False),
            norm_layer(wide), squeeze, activation(inplace=True),
            nn.Conv2d(wide, row.out_channels, 1, bias=False), norm_layer(row.out_channels),
        )  # fmt: skip
        self.residual = row.stride == 1 and row.input_channels == row.out_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns (N, C', H', W') of (N, C, H, W)."""
        outputs: Tensor = self.block(inputs)
        return inputs + outputs if self.residual else outputs


def mobilenet_v3(scale: float = 1.0, mode: str = "small", dropout: float = 0.8, num_classes: int = 1000) -> MobileNetV3:
    """Returns MobileNetV3 (Howard et al. 2019, https://arxiv.org/abs/1905.02244) with the original benchmark's details.

    Differences from torchvision's: the first convolution has 16 channels and the layer before the head 1,280 at
    any width below x1.0 (and 1,280 in ``small`` too); squeeze-and-excitation as in :class:`Block`; BatchNorm with
    torch's own epsilon and momentum.

    Args:
        scale: width multiplier, above 0.
        mode: ``large`` or ``small``.
        dropout: probability that a feature before the head is dropped in training.
        num_classes: of the head.
    """
    if mode not in LAYERS:
        raise ModelError(f"mobilenet_v3: mode must be 'large' or 'small', got {mode!r}")
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not scale > 0:
        raise ModelError(f"mobilenet_v3: scale must be a number above 0, got {scale!r}")
    adjust, channels, rows = InvertedResidualConfig.adjust_channels, 16, []
    for kernel, expanded, out, squeeze, activation, stride in LAYERS[mode]:
        row = InvertedResidualConfig(channels, kernel, expanded, out, squeeze, activation, stride, 1, scale)
        row.input_channels = channels  # of the first convolution 16, not 16 times the scale
        rows.append(row)
        channels = row.out_channels
    last = adjust(1280, max(1.0, scale))
    arguments: dict[str, Any] = {"block": Block, "norm_layer": nn.BatchNorm2d, "dropout": dropout}
    network = MobileNetV3(rows, last, num_classes=num_classes, **arguments)
    wide = adjust(6 * LAYERS[mode][-1][2], scale)
    if (
        wide != 6 * channels
    ):  # torchvision's last convolution is six times its rounded input, the original's rounds itself
        convolution, head = nn.Conv2d(channels, wide, 1, bias=False), nn.Linear(wide, last)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
        nn.init.normal_(head.weight, 0, 0.01)
        nn.init.zeros_(head.bias)
        network.features[-1][0], network.features[-1][1] = convolution, nn.BatchNorm2d(wide)
        network.classifier[0] = head
    return network
