"""``robustart list`` and ``robustart models``: what a config or a command can name."""

from __future__ import annotations

import argparse
import inspect

from RobustART.cli.options import Commands
from RobustART.errors import ConfigError

MODELS = """The names that model.type and create_model take: the 44 architectures of the benchmark (set benchmark), further
ones, and the original RobustART's own names (set original, and the column of other names). Any name of timm or torchvision
is a model too (--library). Parameters are in millions, at 1,000 classes; MACs are those of convolutions and linear layers
for one image; resize is the shorter side before the central crop."""


def add(commands: Commands) -> None:
    """Adds ``list`` and ``models`` to the command line."""
    names = commands.add_parser("list", help="list what can be named")
    names.add_argument("what", choices=("attacks", "benchmarks", "corruptions", "datasets", "perturbations"))
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
    if arguments.what == "attacks":
        from RobustART.noise import ATTACKS as names
    elif arguments.what == "corruptions":
        from RobustART.noise import CORRUPTIONS as names  # type: ignore[assignment]
    elif arguments.what == "perturbations":
        from RobustART.noise import PERTURBATIONS as names  # type: ignore[assignment]
    elif arguments.what == "benchmarks":
        from RobustART.evaluation import BENCHMARKS as names  # type: ignore[assignment]
    else:
        from RobustART.data import DATASETS as names  # type: ignore[assignment]
    for name, entry in names.items():
        text = inspect.getdoc(entry) if inspect.isfunction(entry) else None
        print(f"{name}  {text.splitlines()[0]}" if text else name)


def list_models(arguments: argparse.Namespace) -> None:
    """Prints the table of architectures, or the names of a library."""
    from RobustART.models.listing import library_names, table

    if arguments.library:
        for option in ("family", "benchmark", "notes"):
            if getattr(arguments, option):
                raise ConfigError(f"--{option} is of our own table; it cannot be with --library {arguments.library}")
        print("\n".join(library_names(arguments.library, arguments.pattern, arguments.format)))
        return
    sets = ("benchmark",) if arguments.benchmark else ("benchmark", "further", "original")
    for line in table(arguments.pattern, arguments.family, sets, arguments.format, notes=arguments.notes):
        print(line)
