"""Settings of an evaluation."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from typing import Any, Literal

import torch

from RobustART.core.defaults import BATCH_SIZE
from RobustART.core.options import build
from RobustART.core.ranges import Count, Natural, Repeats, Seed
from RobustART.errors import ConfigError

RUNTIMES = ("openvino", "onnxruntime")
"""Runtimes that are packages of their name."""
AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of an evaluation."""

    batch_size: Count = BATCH_SIZE
    """Number of images in a forward pass."""
    workers: Natural = 0
    """Number of loader processes."""
    amp: Literal["bf16", "fp16"] | None = None
    """``bf16`` or ``fp16``. Passes with attacks are in float32; with ``bf16``, attacks search in it."""
    channels_last: bool = False
    """Whether the model is in channels-last memory format; part of the conditions, since it changes rounding."""
    runtime: Literal["torch", "auto", "openvino", "onnxruntime", "compile"] = "torch"
    """What computes the passes without gradient; part of the conditions, since it changes rounding."""
    seed: Seed = 0
    """Seed of the noise, and of models that draw random numbers."""
    repeats: Repeats = 1
    """Number of times that the model is asked about each view; the averaged softmax classifies it."""
    progress: bool = True
    """Whether to show a progress bar."""

    @property
    def proposals(self) -> str | None:
        """Precision in which attacks search; they confirm successes in float32."""
        return "bf16" if self.amp == "bf16" else None


def default_workers() -> int:
    """Returns the default number of loader processes: the cores of this machine shared among its processes, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or 1)
    return max(1, min(8, cores // max(local, 1)))


def run_settings(*, workers: int | None = None, **settings: Any) -> Settings:
    """Returns checked :class:`Settings`; ``workers`` None is :func:`default_workers`.

    Raises:
        ConfigError: a setting is unknown or invalid, or the package of the runtime is not installed.
    """
    found = build(Settings, {**settings, "workers": default_workers() if workers is None else workers}, "")
    if found.runtime in RUNTIMES and importlib.util.find_spec(found.runtime) is None:
        raise ConfigError(f"evaluation.runtime: {found.runtime} is not installed: pip install 'RobustART[fast]'")
    return found
