"""``robustart score``: computes the numbers of result files again, without a model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from RobustART.cli.options import Commands, add_baseline, read_baseline
from RobustART.errors import ConfigError

if TYPE_CHECKING:
    from RobustART.records.lines import Records


def add(commands: Commands) -> None:
    """Adds ``score`` to the command line."""
    command = commands.add_parser("score", help="compute the numbers of result files again, without a model")
    command.add_argument("files", nargs="+", metavar="FILE", help="results/<benchmark>.jsonl")
    add_baseline(command)
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> None:
    """Prints the numbers of each file."""
    from RobustART.metrics import Metric
    from RobustART.metrics.reading import model_of, read_result
    from RobustART.metrics.spec import spec_of, summarize

    baseline = read_baseline(arguments)
    # The files of one model in one folder are scored together: relative mCE needs two.
    models: dict[tuple[Path, str], dict[str, tuple[str, Records]]] = {}
    for place in arguments.files:
        if not Path(place).is_file():
            raise ConfigError(f"there is no result file {place}")
        records = read_result(place)
        name = records.header["benchmark"]
        own = models.setdefault((Path(place).parent, json.dumps(model_of(records), sort_keys=True)), {})
        if name in own:
            raise ConfigError(f"{own[name][0]} and {place} are of one benchmark and model, in one folder")
        own[name] = (place, records)
    if baseline is not None and not any(baseline.header["benchmark"] in own for own in models.values()):
        raise ConfigError(f"--baseline is for results of {baseline.header['benchmark']}, and no file given is one")
    for own in models.values():
        found = summarize({name: records for name, (_, records) in own.items()}, baseline=baseline)
        for name, (place, _) in own.items():
            summary = found[name]
            shown = [table.name for table in spec_of(name).tables if table.board]
            print(f"{place}\n{Metric(summary.flat(*shown) if shown else summary)}")
