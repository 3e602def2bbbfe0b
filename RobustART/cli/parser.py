"""The command line of ``robustart``: puts the commands together and runs one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from RobustART import __version__
from RobustART.cli import (
    compare,
    evaluate,
    gate,
    leaderboard,
    listing,
    nas,
    noise,
    report,
    schema,
    score,
    table,
    verify,
)
from RobustART.core.memory import tune_memory
from RobustART.core.plugins import import_plugins
from RobustART.core.termination import exit_status
from RobustART.training.arguments import add_import

COMMANDS = (evaluate, noise, score, report, table, compare, gate, verify, nas, listing, leaderboard, schema)
"""In the order in which ``--help`` lists them."""


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    result = argparse.ArgumentParser(prog="robustart", description="How robust is an image classifier, and why?")
    result.add_argument("--version", action="version", version=__version__)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    _add_imports(result)
    return result


def _add_imports(parser: argparse.ArgumentParser) -> None:
    """Adds the flag ``--import`` to every command that has not got it."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for command in {id(command): command for action in inner for command in action.choices.values()}.values():
        _add_imports(command)
    if not inner and "--import" not in parser._option_string_actions:
        add_import(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status, see :func:`exit_status`."""

    def command() -> int:
        if argv is None:  # not called from Python
            tune_memory()
        arguments = parser().parse_args(argv)
        import_plugins(arguments.imports, "--import")
        return arguments.function(arguments) or 0

    return exit_status(command)
