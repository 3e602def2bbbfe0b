"""``robustart leaderboard``: many runs on one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from RobustART.cli.options import Commands


def add(commands: Commands) -> None:
    """Adds ``leaderboard`` to the command line."""
    command = commands.add_parser(
        "leaderboard", help="put many runs into one page: a table that sorts and filters, and plots"
    )
    command.add_argument("folders", nargs="+", metavar="DIR", help="output_dir of a run, or its results folder")
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="the page, such as board.html")
    command.add_argument("--labels", metavar="FILE", help="YAML: DIR: {name: ..., family: ..., technique: ...}")
    command.add_argument("--json", metavar="FILE", help="the same as data")
    command.add_argument("--csv", metavar="FILE", help="the same as a spreadsheet")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> None:
    """Writes the page, and the same as data where files for it are named."""
    from RobustART.core.documents import read_yaml
    from RobustART.report.board_files import write_board
    from RobustART.report.board_runs import read_runs

    labels = None if arguments.labels is None else read_yaml(Path(arguments.labels), "the file of labels")
    runs = read_runs(arguments.folders, labels)
    inputs = [] if arguments.labels is None else [arguments.labels]
    print("\n".join(write_board(runs, arguments.output, json_to=arguments.json, csv_to=arguments.csv, inputs=inputs)))
