"""Output of commands that this package ships, since making it imports torch: all names and all options.

:func:`write` writes them again; a test compares them with what is made.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from RobustART.registry import PLUGINS

FOLDER = Path(__file__).parent / "listings"


def stored(name: str, make: Callable[[], Iterable[str]]) -> Iterable[str]:
    """Returns lines that are shipped, or makes them where modules of a user may add to them.

    A module that adds to a registry has imported numpy, which the command line does not import, or is an entry point.

    Args:
        name: name of the shipped file.
        make: returns the lines.
    """
    if "numpy" in sys.modules or importlib.metadata.entry_points(group=PLUGINS):
        return make()
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def texts() -> dict[str, Iterable[str]]:
    """Returns the lines of every file by its name, as this source makes them."""
    from RobustART.cli.listing import REGISTRIES, named_lines
    from RobustART.config.listing import schema_lines
    from RobustART.config.schema import Config

    return {**{what: named_lines(what) for what in REGISTRIES}, "schema": schema_lines(Config)}


def write() -> None:
    """Writes the files that are shipped."""
    for name, lines in texts().items():
        (FOLDER / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
