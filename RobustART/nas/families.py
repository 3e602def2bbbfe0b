"""The two search spaces, bottleneck ResNets and MobileNetV3's inverted bottlenecks; arguments make smaller ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from RobustART.core.ranges import Count, Range
from RobustART.errors import ConfigError
from RobustART.nas.plans import Block, Conv, Plan
from RobustART.nas.spaces import SPACES, Encoding, Space, Stage

Counts = tuple[Count, ...]
Factors = tuple[Annotated[int | float, Range(0, above=True)], ...]


@SPACES.register("resnet")
def resnet(
    *,
    num_classes: Count = 1000,
    channels: Counts = (256, 512, 1024, 2048),
    depths: tuple[Counts, ...] = ((2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4)),
    strides: Counts = (1, 2, 2, 2),
    widths: Factors = (0.65, 0.8, 1.0),
    kernels: Counts = (3,),
    expansions: Factors = (0.2, 0.25, 0.35),
    input_sizes: Counts = (128, 160, 192, 224),
    stem: Count = 64,
    stem_kernel: Count = 7,
    stem_stride: Count = 2,
    pool: bool = True,
    divisor: Count = 8,
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
    plain: dict[str, tuple[Any, ...]] = {"activations": ("relu",) * len(channels), "squeeze": (False,) * len(channels)}
    stages = _stages("resnet", channels=channels, depths=depths, strides=strides, **plain)
    return Space(
        "resnet", stages, widths, kernels, expansions, input_sizes, num_classes, divisor,
        True, (stem, stem_kernel, stem_stride), _resnet_plan, (int(pool),),
    )  # fmt: skip


@SPACES.register("mobilenet_v3")
def mobilenet_v3(
    *,
    num_classes: Count = 1000,
    channels: Counts = (24, 40, 80, 112, 160),
    depths: tuple[Counts, ...] = ((2, 3, 4),) * 5,
    strides: Counts = (2, 2, 2, 1, 2),
    activations: tuple[Literal["relu", "hswish"], ...] = ("relu", "relu", "hswish", "hswish", "hswish"),
    squeeze: tuple[bool, ...] = (False, True, False, True, True),
    widths: Factors = (0.65, 0.8, 1.0, 1.2),
    kernels: Counts = (3, 5, 7),
    expansions: Factors = (3, 4, 6),
    input_sizes: Counts = (128, 160, 192, 224),
    stem: Count = 16,
    stem_kernel: Count = 3,
    stem_stride: Count = 2,
    head: tuple[Count, Count] = (960, 1280),
    divisor: Count = 4,
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
    stages = _stages(
        "mobilenet_v3", channels=channels, depths=depths, strides=strides, activations=activations, squeeze=squeeze
    )
    return Space(
        "mobilenet_v3", stages, widths, kernels, expansions, input_sizes, num_classes,
        divisor, False, (stem, stem_kernel, stem_stride), _mobilenet_plan, head,
    )  # fmt: skip


def _stages(name: str, **given: tuple[Any, ...]) -> tuple[Stage, ...]:
    """Returns the stages; a ConfigError if their arguments are not lists of the same length."""
    if len({len(value) for value in given.values()}) != 1 or not given["channels"]:
        raise ConfigError(f"{name}: {', '.join(given)} must be lists with an entry for each stage, got {given}")
    rows = zip(*(given[key] for key in ("channels", "strides", "depths", "activations", "squeeze")), strict=True)
    return tuple(Stage(*row) for row in rows)


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
