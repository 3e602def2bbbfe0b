"""``robustart report``: the report of result files, without a model."""

from __future__ import annotations

import argparse

from RobustART.cli.options import Commands

DESCRIPTION = """Writes report.json, report.md and report.html from the result files of a run, without a model.

What only the run knows is read from its run.json, example images from its folder pictures. The report of a finished run
is the one that the run wrote, byte for byte. Without run.json the report lacks what result files do not state, and says
so."""
PAGE = r"[\s\S]*<title>[^<]*RobustART report</title>"


def add(commands: Commands) -> None:
    """Adds ``report`` to the command line."""
    command = commands.add_parser(
        "report", help="write report.json, report.md and report.html from result files, without a model",
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("folder", metavar="DIR", help="output_dir of a run, or its results folder")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the files and returns the exit status: 0, or 1 if the page could not be written."""
    from RobustART.core.files import Output, check_outputs, json_format
    from RobustART.metrics.runs import result_files
    from RobustART.report import report_of_files, results_folder, write_report
    from RobustART.report.build import FILES

    results = results_folder(arguments.folder)
    begins = {
        "report.json": json_format("robustart-report"),
        "report.md": r"# [\s\S]*\n\nNumbers are",
        "report.html": PAGE,
    }
    check_outputs([Output("report", results / name, "a report", begins[name]) for name in FILES], ())
    report = report_of_files(results)
    write_report(results, report)
    written = [name for name in FILES if (results / name).is_file()]
    print(f"Written to {results}: {', '.join(written)}")
    others = [file.name for file in result_files(results) if file.stem not in report.data["benchmarks"]]
    if others:
        print(f"Left out, because the last run did not include them: {', '.join(others)}")
    return 0 if len(written) == len(FILES) else 1
