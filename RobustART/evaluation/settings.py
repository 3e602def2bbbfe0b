"""How an evaluation is run."""

from __future__ import annotations

import dataclasses
import os

import torch

from RobustART.errors import ConfigError

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an evaluation is run."""

    batch_size: int = 64
    """Images the model sees at once."""
    workers: int = 0
    """Loader processes."""
    amp: str | None = None
    """``bf16`` or ``fp16``. Passes with attacks stay float32, but for ``bf16`` in what attacks propose."""
    channels_last: bool = False
    """Whether the model's weights are in the order channels-last; part of the conditions, since it rounds differently."""
    seed: int = 0
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


def run_settings(
    batch_size: int, workers: int | None, amp: str | None, channels_last: bool, seed: int, progress: bool
) -> Settings:
    """Returns checked settings; a ConfigError names what cannot be."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size must be a whole number above 0, got {batch_size!r}")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
        raise ConfigError(f"workers must be a whole number from 0, got {workers!r}")
    if amp is not None and amp not in AMP_TYPES:
        raise ConfigError(f"amp must be one of {', '.join(AMP_TYPES)} or null, got {amp!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise ConfigError(f"seed must be a whole number of 64 bits, got {seed!r}")
    return Settings(batch_size, default_workers() if workers is None else workers, amp, channels_last, seed, progress)
