"""The two search spaces, bottleneck ResNets and MobileNetV3's inverted bottlenecks; arguments make smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from RobustART.errors import ConfigError
from RobustART.nas.plans import Block, Conv, Plan
from RobustART.nas.spaces import SPACES, Encoding, Space, Stage


@SPACES.register("resnet")
def resnet(
    *,
    num_classes: int = 1000,
    channels: Sequence[int] = (256, 512, 1024, 2048),
    depths: Sequence[Sequence[int]] = ((2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4)),
    strides: Sequence[int] = (1, 2, 2, 2),
    widths: Sequence[float] = (0.65, 0.8, 1.0),
    kernels: Sequence[int] = (3,),
    expansions: Sequence[float] = (0.2, 0.25, 0.35),
    input_sizes: Sequence[int] = (128, 160, 192, 224),
    stem: int = 64,
    stem_kernel: int = 7,
    stem_stride: int = 2,
    pool: bool = True,
    divisor: int = 8,
) -> Space:
    """Returns a space of bottleneck ResNets (He 2016, https://arxiv.org/abs/1512.03385).

    Args:
        num_classes: number of classes.
        channels: output channels of each stage at width 1.
        depths: possible numbers of blocks of each stage.
        strides: stride of each stage's first block.
        widths: factors of a stage's channels.
        kernels: sides of the middle convolution.
        expansions: ratios of the middle convolution's channels to the block's output channels.
        input_sizes: sides of the input in pixels.
        stem: channels of the first layer.
        stem_kernel: its kernel.
        stem_stride: its stride.
        pool: whether 3 x 3 max pooling of stride 2 follows it.
        divisor: channels are rounded to multiples of it.

    Raises:
        ConfigError: arguments are invalid, or two choices would give the same network.
    """
    stages = _stages("resnet", channels, depths, strides, ["relu"] * len(channels), [False] * len(channels))
    if not isinstance(pool, bool):
        raise ConfigError(f"resnet: pool must be true or false, got {pool!r}")
    return Space(
        "resnet", stages, tuple(widths), tuple(kernels), tuple(expansions), tuple(input_sizes), num_classes, divisor,
        True, (stem, stem_kernel, stem_stride), _resnet_plan, (int(pool),),
    )  # fmt: skip


@SPACES.register("mobilenet_v3")
def mobilenet_v3(
    *,
    num_classes: int = 1000,
    channels: Sequence[int] = (24, 40, 80, 112, 160),
    depths: Sequence[Sequence[int]] = ((2, 3, 4),) * 5,
    strides: Sequence[int] = (2, 2, 2, 1, 2),
    activations: Sequence[str] = ("relu", "relu", "hswish", "hswish", "hswish"),
    squeeze: Sequence[bool] = (False, True, False, True, True),
    widths: Sequence[float] = (0.65, 0.8, 1.0, 1.2),
    kernels: Sequence[int] = (3, 5, 7),
    expansions: Sequence[float] = (3, 4, 6),
    input_sizes: Sequence[int] = (128, 160, 192, 224),
    stem: int = 16,
    stem_kernel: int = 3,
    stem_stride: int = 2,
    head: Sequence[int] = (960, 1280),
    divisor: int = 4,
) -> Space:
    """Returns a space around MobileNetV3-Large (Howard 2019, https://arxiv.org/abs/1905.02244).

    The first layer and the first block, of depth 1 and without expansion, are the same in all sub-networks.

    Args:
        num_classes: number of classes.
        channels: output channels of each stage at width 1.
        depths: possible numbers of blocks of each stage.
        strides: stride of each stage's first block.
        activations: ``relu`` or ``hswish``, by stage.
        squeeze: whether a stage's blocks have squeeze and excitation.
        widths: factors of a stage's channels.
        kernels: sides of the depthwise convolution.
        expansions: ratios of the depthwise convolution's channels to the block's input channels.
        input_sizes: sides of the input in pixels.
        stem: channels of the first layer and the first block.
        stem_kernel: kernel of the first layer.
        stem_stride: its stride.
        head: channels of the last convolution and of the layer before the classifier.
        divisor: channels are rounded to multiples of it.

    Raises:
        ConfigError: arguments are invalid, or two choices would give the same network.
    """
    if len(head) != 2 or not all(isinstance(value, int) and value > 0 for value in head):
        raise ConfigError(f"mobilenet_v3: head must be two integers above 0, got {head!r}")
    stages = _stages("mobilenet_v3", channels, depths, strides, activations, squeeze)
    return Space(
        "mobilenet_v3", stages, tuple(widths), tuple(kernels), tuple(expansions), tuple(input_sizes), num_classes,
        divisor, False, (stem, stem_kernel, stem_stride), _mobilenet_plan, tuple(head),
    )  # fmt: skip


def _stages(
    name: str, channels: Sequence[int], depths: Sequence[Sequence[int]], strides: Sequence[int],
    activations: Sequence[str], squeeze: Sequence[bool],
) -> tuple[Stage, ...]:  # fmt: skip
    given: dict[str, Any] = {
        "channels": channels, "depths": depths, "strides": strides, "activations": activations, "squeeze": squeeze,
    }  # fmt: skip
    lengths = {key: len(value) for key, value in given.items() if isinstance(value, (list, tuple))}
    if set(lengths) != set(given) or len(set(lengths.values())) != 1 or not channels:
        raise ConfigError(f"{name}: {', '.join(given)} must be lists with an entry for each stage, got {given}")
    for stage in range(len(channels)):
        for key in ("channels", "strides"):
            value = given[key][stage]
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name}: {key} must be integers above 0, got {list(given[key])}")
        if activations[stage] not in ("relu", "hswish") or not isinstance(squeeze[stage], bool):
            raise ConfigError(
                f"{name}: activations must be 'relu' or 'hswish' and squeeze true or false, got {list(activations)}, "
                f"{list(squeeze)}"
            )
        if not isinstance(depths[stage], (list, tuple)):
            raise ConfigError(f"{name}: depths must be a list for each stage, got {list(depths)}")
    rows = zip(channels, strides, depths, activations, squeeze, strict=True)
    return tuple(Stage(c, stride, tuple(depth), act, se) for c, stride, depth, act, se in rows)


def _resnet_plan(space: Space, encoding: Encoding) -> Plan:
    first, kernel, stride = space.stem
    stages, inputs = [], first
    for stage, own in zip(space.stages, encoding["stages"], strict=True):
        outputs = space.channels(stage.channels * own["width"])
        blocks = []
        for number, (side, expansion) in enumerate(zip(own["kernel"], own["expansion"], strict=True)):
            inside, step = space.channels(outputs * expansion), stage.stride if number == 0 else 1
            convs = (
                Conv(inputs, inside, act="relu"),
                Conv(inside, inside, side, step, act="relu"),
                Conv(inside, outputs),
            )
            shortcut = Conv(inputs, outputs, stride=step) if number == 0 else None
            blocks.append(Block(convs, shortcut=shortcut, act="relu"))
            inputs = outputs
        stages.append(tuple(blocks))
    stem = Conv(3, first, kernel, stride, act="relu")
    return Plan(stem, bool(space.extra[0]), tuple(stages), (), (), inputs, space.classes)


def _mobilenet_plan(space: Space, encoding: Encoding) -> Plan:
    first, kernel, stride = space.stem
    fixed = Block((Conv(first, first, 3, groups=first, act="relu"), Conv(first, first)))
    stages: list[tuple[Block, ...]] = [(fixed,)]
    inputs = first
    for stage, own in zip(space.stages, encoding["stages"], strict=True):
        outputs = space.channels(stage.channels * own["width"])
        blocks = []
        for number, (side, expansion) in enumerate(zip(own["kernel"], own["expansion"], strict=True)):
            inside, step = space.channels(inputs * expansion), stage.stride if number == 0 else 1
            convs = (
                Conv(inputs, inside, act=stage.act),
                Conv(inside, inside, side, step, groups=inside, act=stage.act),
                Conv(inside, outputs),
            )
            few = max(1, inside // 4)
            gate = (Conv(inside, few, act="relu", norm=False), Conv(few, inside, act="hsigmoid", norm=False))
            blocks.append(Block(convs, gate if stage.squeeze else None, residual=number > 0))
            inputs = outputs
        stages.append(tuple(blocks))
    last, features = space.extra
    stem = Conv(3, first, kernel, stride, act="hswish")
    head = (Conv(inputs, last, act="hswish"),)
    top = (Conv(last, features, act="hswish", norm=False),)
    return Plan(stem, False, tuple(stages), head, top, features, space.classes)
