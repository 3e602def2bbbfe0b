"""The original's switches under ``data.test`` for published data sets, as benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from RobustART.config.schema import Config, DatasetConfig
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


def unused_with_switches(test: DatasetConfig) -> list[tuple[str, str]]:
    """Returns fields of ``data.test`` that are set but say nothing to the switches that are on, each with the reason."""
    reasons = {
        "type": (switched(test), "with a switch for a published set"),
        "meta_file": (switched(test) and not test.imagenet_c, "but with the switch imagenet_c"),
        "imagenet_a_root_dir": (not test.imagenet_a_o, "without the switch imagenet_a&o"),
        "imagenet_o_root_dir": (not test.imagenet_a_o, "without the switch imagenet_a&o"),
        "imagenet_val_root_dir": (not switched(test), "without a switch; name the images in root_dir"),
    }
    return [(name, why) for name, (unused, why) in reasons.items() if unused and getattr(test, name) is not None]
