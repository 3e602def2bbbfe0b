"""Types of options that several benchmarks share. The names they allow are looked up lazily, to keep imports light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from RobustART.core.ranges import Named, NotNegative, Range

CorruptionName = Annotated[str, Named("RobustART.noise.corruptions:CORRUPTIONS")]
"""Name of a corruption of ImageNet-C, or of a user's own."""
DecoderName = Annotated[str, Named("RobustART.core.imaging:DECODERS")]
"""Name of a decoder of image files."""
ResizeName = Annotated[str, Named("RobustART.core.imaging:RESIZES")]
"""Name of a library's resize."""
Severity = Annotated[int, Range(1, 5)]
"""Severity of a corruption."""
Backend = Literal["robustart", "imagecorruptions"]
"""Implementation of the corruptions."""
PublishedView = Literal["crop", "resize256", "model"]
"""Preprocessing of published files: a crop, a resize to 256 and a crop, or the model's."""
HIDDEN = ("seeds", "log", "targeted")
"""Keywords of attacks that are not options of a benchmark, which has no target classes."""


def attack_source(
    *, backend: Literal["robustart", "foolbox", "torchattacks", "autoattack"] = "robustart"
) -> None:  # fmt: skip
    """Options that every attack has in a benchmark, in addition to its own.

    Args:
        backend: implementation of the attack: this package, or a library, which may support fewer options.
    """


AttackEntry = Annotated[
    str | Mapping[str, Any],
    Named("RobustART.noise.attacks:ATTACKS", "entry", (*HIDDEN, "eps"), f"{__name__}:attack_source"),
]
"""Entry of an attack: a name, or ``{name: {option: value}}``."""
Radii = Sequence[NotNegative] | Mapping[str, Sequence[NotNegative] | None] | None
"""Radii of all attacks, or by norm or attack; None is the defaults."""
