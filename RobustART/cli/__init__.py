"""The command ``robustart``: one file a command, each with ``add(commands)``, its flags, and what it runs.

A command imports what it needs when it runs, so that ``robustart score`` and ``robustart --help`` do not wait for torch.
"""

from RobustART.cli.parser import main

__all__ = ["main"]
