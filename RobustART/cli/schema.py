"""``robustart schema``: every key of the config, or of report.json, with its description."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Iterator

from RobustART.cli.options import Commands
from RobustART.cli.stored import stored

DESCRIPTION = """Print every key of a config with its description, its values and its default; then the options of
benchmarks, attacks and all else that is chosen by name."""


def add(commands: Commands) -> None:
    """Adds ``schema`` to the command line."""
    command = commands.add_parser(
        "schema", help="print every key of the config, or of report.json, with its description", description=DESCRIPTION
    )
    command.add_argument(
        "what", nargs="?", default="config", metavar="WHAT",
        help="config (default); report; or a key, such as training.swa or evaluation.benchmarks.imagenet_c",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print a JSON Schema (draft 2020-12), as editors use it")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> None:
    """Prints the keys, each line as soon as it is known."""
    if arguments.what == "report":
        from RobustART.report import schema

        whole = schema.report_schema()
        print(json.dumps(whole, indent=2) if arguments.json else "\n".join(schema.schema_lines()))
        return
    if arguments.json:
        from RobustART.config.json_schema import config_schema
        from RobustART.config.schema import Config

        print(json.dumps(config_schema(Config), indent=2))
        return
    make = functools.partial(_config_lines, "" if arguments.what == "config" else arguments.what)
    for line in stored("schema", make) if arguments.what == "config" else make():
        print(line, flush=True)


def _config_lines(path: str) -> Iterator[str]:
    from RobustART.config.listing import schema_lines
    from RobustART.config.schema import Config

    return schema_lines(Config, path)
