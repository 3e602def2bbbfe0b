"""How an evaluation is run."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Literal

import torch

from RobustART.core.defaults import BATCH_SIZE
from RobustART.core.options import build
from RobustART.core.ranges import Count, Number, Seed

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an evaluation is run."""

    batch_size: Count = BATCH_SIZE
    """Images the model sees at once."""
    workers: Number = 0
    """Loader processes."""
    amp: Literal["bf16", "fp16"] | None = None
    """``bf16`` or ``fp16``. Passes with attacks stay float32, but for ``bf16`` in what attacks propose."""
    channels_last: bool = False
    """Whether the model's weights are in the order channels-last; part of the conditions, since it rounds differently."""
    seed: Seed = 0
    """Seed of the noise."""
    progress: bool = True
    """Whether to show a progress bar."""

    @property
    def proposals(self) -> str | None:
        """Precision of passes in which attacks propose; what they find is confirmed in float32."""
        return "bf16" if self.amp == "bf16" else None


def default_workers() -> int:
    """Returns one loader process per core, shared with the other processes of this machine, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or 1)
    return max(1, min(8, cores // max(local, 1)))


def run_settings(*, workers: int | None = None, **settings: Any) -> Settings:
    """Returns checked :class:`Settings`; ``workers`` None is :func:`default_workers`. A ConfigError names what is wrong."""
    return build(Settings, {**settings, "workers": default_workers() if workers is None else workers}, "")
