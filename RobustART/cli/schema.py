"""``robustart schema``: every key of the config, or of report.json, with its description."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import typing
from collections.abc import Iterator

from RobustART.cli.options import Commands


def add(commands: Commands) -> None:
    """Adds ``schema`` to the command line."""
    command = commands.add_parser("schema", help="print every key of the config, or of report.json, with its manual")
    command.add_argument("what", nargs="?", choices=("config", "report"), default="config", help="config by default")
    command.set_defaults(function=run)


def run(arguments: argparse.Namespace) -> None:
    """Prints the keys."""
    if arguments.what == "report":
        from RobustART.report import schema

        print("\n".join(schema.schema_lines()))
        return
    from RobustART.config.schema import Config

    print("\n".join(schema_lines(Config)))


def schema_lines(cls: type, indent: int = 0) -> Iterator[str]:
    """Yields the keys of a configuration section with their manuals, sections within sections."""
    manual, hints = field_manual(cls), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        key = field.metadata.get("key", field.name)
        yield f"{'  ' * indent}{key}: {manual[field.name]}"
        for inner in (hints[field.name], *typing.get_args(hints[field.name])):
            if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                yield from schema_lines(inner, indent + 1)


def field_manual(cls: type) -> dict[str, str]:
    """Returns the string under each field of a dataclass, on one line."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    manual = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            manual[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return manual
