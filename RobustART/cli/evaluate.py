"""``robustart evaluate``: runs a config, as ``python -m RobustART.training.cls_solver`` does."""

from __future__ import annotations

import argparse

from RobustART.cli.options import Commands
from RobustART.training.arguments import add_arguments


def add(commands: Commands) -> None:
    """Adds ``evaluate`` to the command line."""
    command = commands.add_parser("evaluate", help="run a config, as python -m RobustART.training.cls_solver does")
    add_arguments(command)
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the config and returns the exit status."""
    from RobustART.training import cls_solver

    return cls_solver.run(arguments)
