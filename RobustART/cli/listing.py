"""``robustart list`` and ``robustart models``: what a config or a command can name."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import functools
import importlib
import inspect
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from RobustART.cli.options import Commands
from RobustART.cli.stored import stored
from RobustART.core.tables import csv_table
from RobustART.errors import ConfigError

if TYPE_CHECKING:
    from RobustART.models.architectures import Architecture
    from RobustART.registry import Registry

REGISTRIES = {
    "attacks": ("RobustART.noise", "ATTACKS"),
    "benchmarks": ("RobustART.benchmarks", "BENCHMARKS"),
    "corruptions": ("RobustART.noise", "CORRUPTIONS"),
    "datasets": ("RobustART.data", "DATASETS"),
    "perturbations": ("RobustART.noise", "PERTURBATIONS"),
}
"""What ``robustart list`` can print: the registry's module and name."""
MODELS = """The names that model.type and create_model take: the 44 architectures of the benchmark (set benchmark), further
ones, and the original RobustART's own names (set original, and the column of other names). Any name of timm or torchvision
is a model too (--library). Parameters are in millions, at 1,000 classes; MACs are those of convolutions and linear layers
for one image; resize is the shorter side before the central crop."""
COLUMNS = ("name", "set", "family", "params (M)", "MACs", "input", "resize", "built by", "other names")


def add(commands: Commands) -> None:
    """Adds ``list`` and ``models`` to the command line."""
    names = commands.add_parser("list", help="list what can be named")
    names.add_argument("what", choices=REGISTRIES)
    names.set_defaults(function=list_names)

    models = commands.add_parser("models", help="list the architectures, with parameters and MACs", description=MODELS)
    models.add_argument("pattern", nargs="?", help="part of a name, or a whole one with * and ?; any spelling of case")
    models.add_argument("--family", metavar="NAME", help="only one family, such as resnet, regnetx or vit")
    models.add_argument("--benchmark", action="store_true", help="only the 44 of the benchmark")
    models.add_argument(
        "--notes", action="store_true", help="also how each differs from its library's network, and why"
    )
    models.add_argument("--format", choices=("text", "csv", "json"), default="text", help="text by default")
    models.add_argument(
        "--library", choices=("timm", "torchvision"), help="list a library's names instead; each is a model's name too"
    )
    models.set_defaults(function=list_models)


def list_names(arguments: argparse.Namespace) -> None:
    """Prints the names of one registry, with the first line of what each does."""
    print("\n".join(stored(arguments.what, functools.partial(named_lines, arguments.what))))


def named_lines(what: str) -> Iterator[str]:
    """Yields the names of one of :data:`REGISTRIES`, with the first line of what each does."""
    module, table = REGISTRIES[what]
    names: Registry[Any] = getattr(importlib.import_module(module), table)
    for name, entry in names.items():
        text = inspect.getdoc(entry) if inspect.isfunction(entry) else None
        yield f"{name}  {text.splitlines()[0]}" if text else name


def list_models(arguments: argparse.Namespace) -> None:
    """Prints the table of architectures, or the names of a library."""
    if arguments.library:
        for option in ("family", "benchmark", "notes"):
            if getattr(arguments, option):
                raise ConfigError(
                    f"--{option} is for our own table; it cannot be used with --library {arguments.library}"
                )
        print("\n".join(library_names(arguments.library, arguments.pattern, arguments.format)))
        return
    sets = ("benchmark",) if arguments.benchmark else ("benchmark", "further", "original")
    for line in table(arguments.pattern, arguments.family, sets, arguments.format, notes=arguments.notes):
        print(line)


def table(
    pattern: str | None, family: str | None, sets: tuple[str, ...], style: str = "text", *, notes: bool = False
) -> list[str]:
    """Returns lines for the rows that :func:`~RobustART.models.architectures.select` chooses.

    Args:
        pattern: of names.
        family: of architectures.
        sets: of the table.
        style: ``text`` for aligned columns, ``csv``, or ``json`` (a list of objects with all fields).
        notes: whether text and csv hold the builder's arguments and the notes.
    """
    from RobustART.models.architectures import select

    rows = select(pattern, family=family, sets=sets)
    if style == "json":
        return [json.dumps([dataclasses.asdict(row) for row in rows], indent=1)]
    head = [*COLUMNS, "arguments", "note"] if notes else list(COLUMNS)
    lines = [head, *([*_cells(row), *_details(row)] if notes else _cells(row) for row in rows)]
    if style == "csv":
        return csv_table(lines).splitlines()
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    aligned = [
        "  ".join(
            cell.rjust(width) if 3 <= i <= 6 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return [*aligned, f"{len(rows)} architecture{'' if len(rows) == 1 else 's'}"]


def _cells(row: Architecture) -> list[str]:
    other = "; ".join(name for name in row.originals if name != row.name)
    sizes = (f"{row.params_millions:.2f}", row.macs, str(row.input_size), str(row.resize))
    return [row.name, row.set, row.family, *sizes, row.builder, other]


def _details(row: Architecture) -> list[str]:
    return [" ".join(f"{key}={value}" for key, value in row.arguments.items()), row.note]


def library_names(library: str, pattern: str | None, style: str = "text") -> list[str]:
    """Returns lines for the names of timm's or torchvision's classifiers that a pattern fits.

    Args:
        library: ``timm`` or ``torchvision``.
        pattern: of names.
        style: ``text`` for a name on each line, ``csv`` for the same under a head, ``json`` for a list.
    """
    from RobustART.models.model_libraries import MODEL_LIBRARIES

    names = MODEL_LIBRARIES[library].names()
    wanted = "*" if pattern is None else pattern if "*" in pattern or "?" in pattern else f"*{pattern}*"
    chosen = [name for name in names if fnmatch.fnmatchcase(name.lower(), wanted.lower())]
    if not chosen:
        raise ConfigError(f"no name of {library} fits {pattern!r}")
    if style == "json":
        return [json.dumps(chosen, indent=1)]
    return ["name", *chosen] if style == "csv" else chosen
