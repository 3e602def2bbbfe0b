"""The record of an attack: which stage broke each image, how many passes it took, and signs of a misleading result."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

CLEAN = "clean"
"""The name in ``broken_by`` of an image that the model got wrong before any attack."""


@dataclass
class AttackLog:
    """A record that an attack fills if it gets one as ``log=``; one log is for one call.

    A pass with a gradient counts as one forward and one backward pass.
    """

    broken_by: list[str | None] = field(default_factory=list)
    """Per image the stage whose success was confirmed, ``"clean"`` if it was wrong before, None if it withstands."""
    forward: dict[str, Tensor] = field(default_factory=dict)
    """Forward passes by stage, int64 (N,) on the CPU."""
    backward: dict[str, Tensor] = field(default_factory=dict)
    """Backward passes by stage, int64 (N,) on the CPU."""
    flags: dict[str, str] = field(default_factory=dict)
    """Warnings about the evaluation by name, as :mod:`RobustART.noise.attacks.flags` returns them."""
    signs: dict[str, Tensor] = field(default_factory=dict)
    """Images that show a sign of a failed attack (:mod:`RobustART.core.signs`) by its name, bool (N,) on the CPU."""
    verdicts: bool = True
    """Whether ``broken_by`` is needed, so that misclassified images are not attacked. If not, the result is that without a
    log."""

    @property
    def stages(self) -> list[str]:
        """The stages that ran, in their order."""
        return list(self.forward)

    @property
    def robust(self) -> Tensor:
        """True for each image that withstands, bool (N,)."""
        return torch.tensor([name is None for name in self.broken_by], dtype=torch.bool)

    def record(self, stage: str, index: Tensor, other: AttackLog) -> None:
        """Adds what one stage did to the images ``index`` of this log.

        Args:
            stage: name of the stage.
            index: positions of the stage's images in this log, (M,).
            other: the stage's own log of M images; its passes are summed, its flags and signs taken over.
        """
        for mine, theirs in ((self.forward, other.forward), (self.backward, other.backward)):
            total = mine.setdefault(stage, torch.zeros(len(self.broken_by), dtype=torch.int64))
            for passes in theirs.values():
                total[index] += passes
        for name, images in other.signs.items():
            self.signs.setdefault(name, torch.zeros(len(self.broken_by), dtype=torch.bool))[index] |= images
        for i, verdict in zip(index.tolist(), other.broken_by, strict=True):
            self.broken_by[i] = CLEAN if verdict == CLEAN else verdict and stage
        self.flags.update(other.flags)
