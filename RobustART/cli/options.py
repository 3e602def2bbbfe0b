"""Flags that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from RobustART.errors import ConfigError

if TYPE_CHECKING:
    from RobustART.records.lines import Records

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The sub-commands of a parser, to which a command adds itself."""


def read_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Returns ``key=value`` strings as options; values are YAML."""
    from RobustART.core.documents import parse_yaml

    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {pair!r}")
        options[key] = parse_yaml(value, f"the value of --set {key}")
    return options


def add_noise_options(command: argparse.ArgumentParser, example: str) -> None:
    """Adds ``--set`` and ``--seed``, which every command that makes noise takes."""
    command.add_argument(
        "--set", dest="options", action="append", default=[], metavar="KEY=VALUE", help=f"such as {example}"
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")


def add_baseline(command: argparse.ArgumentParser) -> None:
    """Adds ``--baseline``."""
    command.add_argument(
        "--baseline", metavar="FILE", help="AlexNet's result file of imagenet_p, to which mFR and mT5D are relative"
    )


def read_baseline(arguments: argparse.Namespace) -> Records | None:
    """Returns the result that ``--baseline`` names."""
    from RobustART.metrics.reading import read_result
    from RobustART.metrics.spec import BENCHMARKS

    if arguments.baseline is None:
        return None
    if not Path(arguments.baseline).is_file():
        raise ConfigError(f"there is no result file {arguments.baseline}, which --baseline names")
    records = read_result(arguments.baseline)
    benchmark = records.header["benchmark"]
    if benchmark not in (known := [spec.name for spec in BENCHMARKS.values() if spec.baseline]):
        raise ConfigError(
            f"--baseline takes a result of {' or '.join(known)}, got {arguments.baseline}, which is of {benchmark}"
        )
    return records
