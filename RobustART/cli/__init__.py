"""The command ``robustart``: one file a command."""

from RobustART.cli.main.main import main

__all__ = ["main"]
