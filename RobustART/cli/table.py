"""``robustart table``: the numbers of runs for papers, spreadsheets and notebooks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from RobustART.cli.options import Commands
from RobustART.errors import ConfigError

BEGINS = {
    "text": r".*\n-+\n", "markdown": r"\|.*\|\n\|[-:|]+\|\n", "latex": r"\\begin\{tabular\}",
    "csv": "run,benchmark,metric,", "parquet": "PAR1",
}  # fmt: skip
"""Formats, each with a regular expression for the beginning of its files."""


def add(commands: Commands) -> None:
    """Adds ``table`` to the command line."""
    command = commands.add_parser(
        "table", help="numbers of one run, or many side by side: text, Markdown, LaTeX, CSV, Parquet"
    )
    command.add_argument("runs", nargs="+", metavar="RUN", help="output_dir of a run, or its results folder")
    command.add_argument(
        "--format", choices=list(BEGINS), default="text",
        help="csv and parquet are tidy, one row a number; the others have one row a run, or all tables of a single run; "
        "the best is bold (*text) only where a paired test finds every other run worse",
    )  # fmt: skip
    command.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME",
        help="such as clean.top1 imagenet_c.mCE 'imagenet_c.top1[fog 3]' 'adversarial.robust_accuracy[Linf 8/255]'",
    )  # fmt: skip
    command.add_argument("--intervals", action="store_true", help="show the 95%% interval of every number")
    command.add_argument(
        "--difference", action="store_true", help="differences from the first run, image by image, as in compare"
    )
    command.add_argument("-o", "--output", metavar="FILE", help="write to a file; parquet needs one")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> None:
    """Prints or writes the table."""
    from RobustART.core.files import Output, check_outputs, write_whole
    from RobustART.metrics.runs import result_files
    from RobustART.report.board_runs import read_runs

    if arguments.difference and arguments.columns:
        raise ConfigError("--difference has all numbers that the runs share; leave out --columns or --difference")
    if arguments.output is None and arguments.format == "parquet":
        raise ConfigError("--format parquet needs -o FILE: it is not text")
    runs = [] if arguments.difference else read_runs(arguments.runs)
    inputs = [run.path for run in runs] or [file for place in arguments.runs for file in result_files(place)]
    path = Path(arguments.output or "")
    if arguments.output is not None:
        check_outputs([Output("-o", path, f"a table ({arguments.format})", BEGINS[arguments.format])], inputs)
    content = _difference(arguments) if arguments.difference else _table(arguments)
    if arguments.output is not None:
        write_whole(path, content, unique=True)
        print(f"Written: {path}")
    else:
        print(content, end="")


def _difference(arguments: argparse.Namespace) -> str | bytes:
    from RobustART.core.tidy import tidy_csv, tidy_parquet
    from RobustART.metrics.comparison import compare

    comparison = compare(*arguments.runs)
    if arguments.format in ("csv", "parquet"):
        return (tidy_csv if arguments.format == "csv" else tidy_parquet)(comparison.rows())
    return comparison.table(arguments.format)


def _table(arguments: argparse.Namespace) -> str | bytes:
    from RobustART.core.tidy import tidy_csv, tidy_parquet
    from RobustART.report.board_runs import read_runs
    from RobustART.report.export import check_names, condition_notes, report_table, runs_table
    from RobustART.report.numbers import numbers_by_name, tidy_rows

    runs, names = read_runs(arguments.runs), arguments.columns
    if arguments.format not in ("csv", "parquet"):
        choices = {"names": names, "intervals": arguments.intervals}
        if len(runs) == 1:
            return report_table(runs[0].report, arguments.format, **choices)
        return runs_table(runs, arguments.format, **choices)
    check_names(names, {name: None for run in runs for name in numbers_by_name(run.report)})
    for note in condition_notes(runs):
        print(f"note: {note}", file=sys.stderr)
    rows = [row for run in runs for row in tidy_rows(run.report, run.name, names)]
    return (tidy_csv if arguments.format == "csv" else tidy_parquet)(rows)
