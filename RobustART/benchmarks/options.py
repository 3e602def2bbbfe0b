"""Types of the options that several benchmarks have. Imports nothing heavy: names are looked up when they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from RobustART.core.ranges import Named, NotNegative, Range

CorruptionName = Annotated[str, Named("RobustART.noise.corruptions:CORRUPTIONS")]
"""A corruption of ImageNet-C, or a user's own."""
DecoderName = Annotated[str, Named("RobustART.core.imaging:DECODERS")]
"""What reads a file."""
ResizeName = Annotated[str, Named("RobustART.core.imaging:RESIZES")]
"""A filter of a library."""
Severity = Annotated[int, Range(1, 5)]
"""Strength of a corruption."""
Backend = Literal["robustart", "imagecorruptions"]
"""Who makes corruptions."""
PublishedView = Literal["crop", "resize256", "model"]
"""How published files become the model's input: cropped, resized to 256 first, or as the model says."""
HIDDEN = ("seeds", "log", "targeted")
"""Keywords of attacks that are no options of a benchmark: targeted attacks need classes to lead to, and it has none."""


def attack_source(
    *, backend: Literal["robustart", "foolbox", "torchattacks", "autoattack"] = "robustart"
) -> None:  # fmt: skip
    """Options of every attack in a benchmark beside its own.

    Args:
        backend: who makes the attack: this package, or that library with the options that it knows.
    """


AttackEntry = Annotated[
    str | Mapping[str, Any],
    Named("RobustART.noise.attacks:ATTACKS", "entry", (*HIDDEN, "eps"), f"{__name__}:attack_source"),
]
"""An attack: a name, or ``{name: {option: value}}``."""
Radii = Sequence[NotNegative] | Mapping[str, Sequence[NotNegative] | None] | None
"""Radii for all attacks, or by norm or attack."""
