"""``robustart verify``: compares what is computed here with published numbers."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from RobustART.cli.options import Commands, add_baseline, read_baseline
from RobustART.core.files import Output, check_distinct, check_outputs, write_whole
from RobustART.errors import ConfigError, nearest


def add(commands: Commands) -> None:
    """Adds ``verify`` to the command line."""
    command = commands.add_parser(
        "verify", help="compare what is computed here with published numbers; exit status 1 if one differs",
        description="Published numbers, from published errors that come with the package, from result files of published "
        "weights, and, with --run, from such models themselves. The rest is listed with the reason why it is not checked.",
    )  # fmt: skip
    command.add_argument(
        "runs", nargs="*", metavar="RUN", help="folder of a run, or a result file, of published weights"
    )
    command.add_argument(
        "--as",
        dest="claimed",
        metavar="NAME",
        help="the published weights these runs are of, if their model's name is another",
    )
    command.add_argument(
        "--run", metavar="DIR", help="evaluate the models whose weights and images are here; results go to DIR"
    )
    command.add_argument(
        "--data", action="append", default=[], metavar="NAME=FOLDER",
        help="images for --run, such as imagenet=FOLDER (the validation set in class folders) or imagenet_c=FOLDER",
    )  # fmt: skip
    command.add_argument(
        "--weights", action="append", default=[], metavar="MODEL=FILE",
        help="weights for --run, such as resnet50.tv_in1k=FILE, or =pretrained to download them",
    )  # fmt: skip
    command.add_argument(
        "--list", action="append", default=[], metavar="NAME=FILE",
        help="images that published numbers are of, one file name a line: robustbench=imagenet_test_image_ids.txt, the "
        "5,000 of RobustBench; without it, numbers of that list are not checked",
    )  # fmt: skip
    add_baseline(command)
    command.add_argument("-o", "--output", metavar="FILE", help="write the checks as JSON too")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the checks and returns the exit status: 1 if one of them fails."""
    from RobustART.metrics.runs import read_run, result_files
    from RobustART.verification import published_numbers as published
    from RobustART.verification.protocols import LISTS, read_list

    baseline = read_baseline(arguments)
    if not arguments.run and (arguments.data or arguments.weights):
        raise ConfigError(
            "--data and --weights are for --run DIR, which evaluates models; name the folder for their results"
        )
    if arguments.claimed is not None and not arguments.runs:
        raise ConfigError("--as says whose weights runs are of; name the runs")
    files = [result_files(place) for place in arguments.runs]
    check_distinct(arguments.runs, files)
    listed = _pairs(arguments.list, "--list")
    for name in listed:
        if name not in LISTS:
            known = f"{nearest(name, LISTS) or ';'} Known: {', '.join(LISTS)}"
            raise ConfigError(f"no published number is of a list {name!r}{known}")
    lists = {name: read_list(place) for name, place in listed.items()}
    data, weights = _pairs(arguments.data, "--data"), _pairs(arguments.weights, "--weights")
    if arguments.output:
        checked = Output("-o", Path(arguments.output), "a list of checks", r'\[\s*\{\s*"what":')
        inputs: list[str | Path] = [*(file for own in files for file in own), *weights.values(), *listed.values()]
        inputs += [arguments.baseline] if arguments.baseline is not None else []
        check_outputs([checked], inputs)
    runs = [(read_run(place), arguments.claimed) for place in arguments.runs]
    reasons: dict[tuple[str, str], str] = {}
    if arguments.run:
        from RobustART.verification.models import run_models

        own, reasons = run_models(arguments.run, data, weights)
        runs += own
    checks = [*published.packaged_checks(), *published.check_runs(runs, reasons, None, lists, baseline)]
    if arguments.output:
        text = json.dumps([dataclasses.asdict(check) for check in checks], indent=2, allow_nan=False)
        write_whole(arguments.output, text + "\n", unique=True)
    print(published.text(checks))
    return 1 if any(check.status == published.FAIL for check in checks) else 0


def _pairs(pairs: Sequence[str], flag: str) -> dict[str, str]:
    """Returns ``NAME=VALUE`` strings as a mapping."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value or name in found:
            raise ConfigError(f"{flag} takes NAME=PLACE, each name once, got {pair!r}")
        found[name] = value
    return found
