"""``robustart compare``: runs on the same images, image by image."""

from __future__ import annotations

import argparse
from pathlib import Path

from RobustART.cli.options import Commands
from RobustART.core.files import Output, check_outputs, write_whole
from RobustART.errors import ConfigError


def add(commands: Commands) -> None:
    """Adds ``compare`` to the command line."""
    command = commands.add_parser(
        "compare", help="runs on the same images, image by image: differences, McNemar's test, what changed"
    )
    command.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder of a run, or a result file; each against the first"
    )
    command.add_argument(
        "-o", "--output", action="append", default=[], metavar="FILE",
        help="write FILE.json (everything, with all images that changed) or FILE.md; may be given twice",
    )  # fmt: skip
    command.add_argument(
        "--first", type=int, default=5, metavar="N", help="how many of the images that changed to name (default: 5)"
    )
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> None:
    """Prints the comparison, and writes it where ``-o`` names a file."""
    from RobustART.metrics.comparison import BEGINS, compare, dump
    from RobustART.metrics.runs import result_files

    outputs = [Path(path) for path in arguments.output]
    for path in outputs:
        if path.suffix not in BEGINS:
            raise ConfigError(f"-o takes a file ending in .json or .md, got {path}")
    if arguments.first < 0:
        raise ConfigError(f"--first must be an integer from 0 up, got {arguments.first}")
    inputs = [file for place in arguments.runs for file in result_files(place)]
    check_outputs([Output("-o", path, "a comparison", BEGINS[path.suffix]) for path in outputs], inputs)
    comparison = compare(*arguments.runs)
    text = comparison.markdown(arguments.first)
    for path in outputs:
        write_whole(path, dump(comparison) if path.suffix == ".json" else text, unique=True)
    print(text, end="")
