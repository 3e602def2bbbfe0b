"""``robustart gate``: requirements on the numbers of a run, for continuous integration."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from RobustART.cli.options import Commands
from RobustART.errors import ConfigError


def add(commands: Commands) -> None:
    """Adds ``gate`` to the command line."""
    command = commands.add_parser(
        "gate", help="check numbers of a run against bounds or a baseline; exit status 1 on failure"
    )
    command.add_argument("folder", metavar="RUN", help="output_dir of a run, or its results folder")
    command.add_argument(
        "--require", action="append", default=[], metavar="REQUIREMENT",
        help="such as 'imagenet_c.mCE <= 70' or 'adversarial.robust_accuracy[Linf 8/255] >= 40'; a name alone must be no "
        "worse than the baseline's; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--baseline", metavar="RUN",
        help="run on the same images; without --require, no metric or robust accuracy may be worse than its",
    )  # fmt: skip
    command.add_argument(
        "--margin",
        type=float,
        default=0.0,
        metavar="POINTS",
        help="how much worse than the baseline may be (default: 0)",
    )
    command.add_argument(
        "--sure", action="store_true", help="the end of the 95%% interval must meet the requirement, not only the value"
    )
    command.add_argument("--junit", metavar="FILE", help="write the outcomes as a JUnit file")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the outcome of each requirement, and returns the exit status: 0, or 1 if one is not met."""
    from RobustART.core.files import Output, check_outputs, write_whole
    from RobustART.metrics.comparison import compare
    from RobustART.report import find_report, read_report
    from RobustART.report.gate import check_requirements, junit, read_requirement

    if not (math.isfinite(arguments.margin) and arguments.margin >= 0):
        raise ConfigError(f"--margin must be a number of at least 0, got {arguments.margin}")
    if arguments.margin and arguments.baseline is None:
        raise ConfigError("--margin is for --baseline RUN, which is missing")
    requirements = [read_requirement(text) for text in arguments.require]
    path = find_report(arguments.folder)
    if arguments.junit is not None:
        check_outputs([Output("--junit", Path(arguments.junit), "a JUnit file", r"<\?xml [^\n]*\n<testsuite")], [path])
    comparison = None if arguments.baseline is None else compare(arguments.baseline, path.parent)
    outcomes = check_requirements(
        read_report(path), requirements, comparison, sure=arguments.sure, margin=arguments.margin
    )
    for outcome in outcomes:
        fault = f": {outcome.fault}" if outcome.fault else ""
        print(f"{'FAIL' if fault else 'pass'}  {outcome.requirement}  ({outcome.shown}){fault}")
    if arguments.junit is not None:
        write_whole(arguments.junit, junit(outcomes), unique=True)
    return int(any(outcome.fault for outcome in outcomes))
