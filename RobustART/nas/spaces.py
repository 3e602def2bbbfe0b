"""Spaces of sub-networks: what may vary, how one sub-network is encoded, and how they are drawn.

The spaces are our own design: those from which the original drew its 1,200 sub-networks were never published. They vary
what is usual in the literature (OFA, Cai 2020, https://arxiv.org/abs/1908.09791; BigNAS, Yu 2020,
https://arxiv.org/abs/2003.11142): depth and width of each stage, kernel and expansion of each block, and the input size.

An *encoding* is plain data for JSON, and names exactly the layers that exist::

    {"space": "mobilenet_v3", "input_size": 192,
     "stages": [{"width": 0.8, "kernel": [3, 7], "expansion": [4, 6]}, ...]}

The lists have an entry for each block, so their length is the depth; layers that a shallower stage lacks are absent. Two
encodings that differ are two different networks: a space whose choices round to the same channels is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from RobustART.core.options import checked
from RobustART.errors import ConfigError
from RobustART.nas.plans import Cost, Plan, cost
from RobustART.registry import Registry

Encoding = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one resolution."""

    channels: int
    """Output channels at width 1."""
    stride: int
    """Stride of its first block."""
    depths: tuple[int, ...]
    """Possible numbers of blocks."""
    act: str = "relu"
    """Its activation."""
    squeeze: bool = False
    """Whether its blocks have squeeze and excitation."""


@dataclasses.dataclass(frozen=True)
class Space:
    """The choices of a search space, in ascending order; encodings hold their values exactly."""

    name: str
    """Its key in ``SPACES``."""
    stages: tuple[Stage, ...]
    """The elastic stages."""
    widths: tuple[float, ...]
    """Factors of a stage's channels."""
    kernels: tuple[int, ...]
    """Sides of a block's kernel."""
    expansions: tuple[float, ...]
    """Ratios of a block's inner channels to its input or output channels."""
    input_sizes: tuple[int, ...]
    """Sides of the input in pixels."""
    classes: int
    """Number of classes."""
    divisor: int
    """Channels are rounded to multiples of it."""
    expands_outputs: bool
    """Whether expansions count from a block's outputs, as in a bottleneck, or from its inputs."""
    stem: tuple[int, int, int]
    """Channels, kernel and stride of the first layer."""
    make_plan: Callable[[Space, Encoding], Plan]
    """Function that turns an encoding into layers."""
    extra: tuple[int, ...] = ()
    """Further sizes that only ``make_plan`` knows."""

    def __post_init__(self) -> None:
        """Raises a ConfigError for invalid choices, and for choices of which two give the same network."""
        for name in ("widths", "kernels", "expansions", "input_sizes"):
            _check_choices(f"{self.name}: {name}", getattr(self, name), whole=name in ("kernels", "input_sizes"))
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ConfigError(f"{self.name}: kernels must be odd, got {list(self.kernels)}")
        for name, value in (("num_classes", self.classes), ("divisor", self.divisor), *zip(
            ("stem", "stem_kernel", "stem_stride"), self.stem, strict=True)):  # fmt: skip
            _check_choices(f"{self.name}: {name}", [value], whole=True)
        before: list[int] = []
        for number, stage in enumerate(self.stages):
            _check_choices(f"{self.name}: depths of stage {number}", stage.depths, whole=True)
            channels = [self.channels(stage.channels * width) for width in self.widths]
            self._refuse_equal(f"stage {number}, {stage.channels} channels: widths", self.widths, channels)
            for base in sorted({*channels, *([] if self.expands_outputs else before)}):
                inside = [self.channels(base * expansion) for expansion in self.expansions]
                self._refuse_equal(f"stage {number}, {base} channels: expansions", self.expansions, inside)
            before = channels

    def _refuse_equal(self, what: str, choices: Sequence[float], channels: Sequence[int]) -> None:
        if len(set(channels)) < len(channels):
            raise ConfigError(
                f"{self.name}: {what} {list(choices)} round to {channels} channels, so two encodings would be one network; "
                "take choices farther apart, more channels, or a smaller divisor"
            )

    def channels(self, value: float) -> int:
        """Returns channels rounded to a multiple of the divisor, at least one of it."""
        return max(1, math.floor(value / self.divisor + 0.5)) * self.divisor

    @property
    def size(self) -> int:
        """Number of encodings."""
        blocks = len(self.kernels) * len(self.expansions)
        own = [len(self.widths) * sum(blocks**depth for depth in stage.depths) for stage in self.stages]
        return len(self.input_sizes) * math.prod(own)

    def largest(self) -> Encoding:
        """Returns the encoding of the network that contains all others."""
        return self._extreme(-1)

    def smallest(self) -> Encoding:
        """Returns the encoding of the cheapest network."""
        return self._extreme(0)

    def _extreme(self, end: int) -> Encoding:
        return self._build(lambda choices: choices[end])

    def sample(self, rng: np.random.Generator) -> Encoding:
        """Returns a random encoding: each choice is independent, and its values are equally likely."""
        return self._build(lambda choices: choices[int(rng.integers(len(choices)))])

    def _build(self, choose: Callable[[Sequence[Any]], Any]) -> Encoding:
        size, stages = choose(self.input_sizes), []
        for stage in self.stages:
            depth, width = choose(stage.depths), choose(self.widths)
            blocks = [(choose(self.kernels), choose(self.expansions)) for _ in range(depth)]
            stages.append({"width": width, "kernel": [k for k, _ in blocks], "expansion": [e for _, e in blocks]})
        return {"space": self.name, "input_size": size, "stages": stages}

    def check(self, encoding: Any, place: str = "the encoding") -> Encoding:
        """Returns an encoding with its values as the space writes them; a ConfigError says what does not fit."""
        _need(encoding, {"space", "input_size", "stages"}, place)
        if encoding["space"] != self.name:
            raise ConfigError(f"{place}: space must be {self.name!r}, got {encoding['space']!r}")
        size = _one_of(encoding["input_size"], self.input_sizes, f"{place}: input_size")
        given = encoding["stages"]
        if not isinstance(given, Sequence) or len(given) != len(self.stages):
            raise ConfigError(f"{place}: stages must be a list of {len(self.stages)} entries, got {given!r}")
        stages = []
        for number, (stage, own) in enumerate(zip(self.stages, given, strict=True)):
            where = f"{place}: stages[{number}]"
            _need(own, {"width", "kernel", "expansion"}, where)
            lists = {}
            for name, choices in (("kernel", self.kernels), ("expansion", self.expansions)):
                if not isinstance(own[name], Sequence) or len(own[name]) not in stage.depths:
                    raise ConfigError(
                        f"{where}.{name} must be a list of {_or(stage.depths)} values, one a block, got {own[name]!r}"
                    )
                lists[name] = [_one_of(value, choices, f"{where}.{name}") for value in own[name]]
            if len(lists["kernel"]) != len(lists["expansion"]):
                raise ConfigError(f"{where}: kernel and expansion must have the same number of values, got {dict(own)}")
            stages.append({"width": _one_of(own["width"], self.widths, f"{where}.width"), **lists})
        return {"space": self.name, "input_size": size, "stages": stages}

    def plan(self, encoding: Encoding) -> Plan:
        """Returns the layers of a checked encoding."""
        return self.make_plan(self, encoding)

    def cost(self, encoding: Encoding) -> Cost:
        """Returns parameters and multiply-adds of a checked encoding, at its input size."""
        return cost(self.plan(encoding), encoding["input_size"])

    def to_plain(self) -> dict[str, Any]:
        """Returns all that determines the meaning of an encoding, as plain data."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "make_plan"]
        plain = {name: getattr(self, name) for name in names}
        plain["stages"] = [dataclasses.asdict(stage) for stage in self.stages]
        return json.loads(json.dumps(plain))


SPACES: Registry[Callable[..., Space]] = Registry("space of sub-networks", providers=("RobustART.nas.families",))
"""Names to functions (keyword-only options) -> space."""


def create_space(name: str, options: Mapping[str, Any]) -> Space:
    """Returns a space by its name in ``SPACES`` and the options of its function."""
    function = SPACES[name]
    return function(**checked(function, options, f"the space {name!r}"))


def identity(encoding: Encoding) -> str:
    """Returns twelve hexadecimal digits that identify a checked encoding."""
    text = json.dumps(encoding, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def factors(encoding: Encoding) -> dict[str, float]:
    """Returns blocks, mean width of stages, mean kernel and mean expansion of blocks, and input size."""
    stages = encoding["stages"]
    blocks = {name: [value for stage in stages for value in stage[name]] for name in ("kernel", "expansion")}
    means = {name: round(math.fsum(values) / len(values), 6) for name, values in blocks.items()}
    width = round(math.fsum(stage["width"] for stage in stages) / len(stages), 6)
    return {"depth": len(blocks["kernel"]), "width": width, **means, "resolution": encoding["input_size"]}


def _check_choices(what: str, choices: Sequence[Any], *, whole: bool) -> None:
    """Raises a ConfigError unless choices are different numbers above 0 in ascending order."""
    kinds: Any = int if whole else (int, float)
    good = all(isinstance(c, kinds) and not isinstance(c, bool) and 0 < c < math.inf for c in choices)
    if not choices or not good or list(choices) != sorted(set(choices)):
        kind = "integers" if whole else "numbers"
        raise ConfigError(f"{what} must be {kind} above 0 in ascending order, got {list(choices)}")


def _need(value: Any, keys: set[str], place: str) -> None:
    if not isinstance(value, Mapping) or set(value) != keys:
        raise ConfigError(f"{place} must be a mapping with {', '.join(sorted(keys))}, got {value!r}")


def _one_of(value: Any, choices: Sequence[Any], place: str) -> Any:
    for choice in choices:
        if value == choice and not isinstance(value, bool):
            return choice
    raise ConfigError(f"{place} must be {_or(choices)}, got {value!r}")


def _or(choices: Sequence[Any]) -> str:
    return " or ".join(map(str, choices))
