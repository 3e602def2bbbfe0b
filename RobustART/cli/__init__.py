"""The command ``robustart``: one file a command."""

from RobustART.cli.parser import main

__all__ = ["main"]
