"""The original's switches under ``data.test`` for published data sets, as benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from RobustART.config import Config, DatasetConfig
from RobustART.errors import ConfigError

SWITCHES = ("imagenet_c", "imagenet_p", "imagenet_a_o")
"""Fields of ``data.test`` that say which published set is evaluated; the last one is written ``imagenet_a&o``."""


def switched(test: DatasetConfig | None) -> bool:
    """Returns whether one of the switches is on."""
    return test is not None and any(getattr(test, name) for name in SWITCHES)


def switched_benchmarks(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the benchmarks that the switches mean, with the original's preprocessing; paths start at ``folder``.

    The original resizes ImageNet-C's files to 256 before the crop, and takes ImageNet-P's frames as they are.
    """
    test = config.data.test
    if test is None or not switched(test):
        return {}

    def path(name: str) -> str:
        value = getattr(test, name)
        if value is None:
            raise ConfigError(f"data.test.{name} must be the folder of the published files")
        return str(folder / value)

    found: dict[str, dict[str, Any]] = {}
    if test.imagenet_c:
        meta = {} if test.meta_file is None else {"meta": path("meta_file")}
        found["imagenet_c"] = {"root_dir": path("root_dir"), **meta, "preprocess": "resize256"}
    if test.imagenet_p:
        found["imagenet_p"] = {"root_dir": path("root_dir")}
    if test.imagenet_a_o:
        found["imagenet_a"] = {"root_dir": path("imagenet_a_root_dir")}
        found["imagenet_o"] = {"root_dir": path("imagenet_o_root_dir")}
    return found
