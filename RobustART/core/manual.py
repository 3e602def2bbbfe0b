"""Describes options in words: what they mean, from the string under a field or an ``Args:`` section, and their
values."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from RobustART.core.declarations import UNIONS, common_options
from RobustART.core.ranges import Rule


def manual(owner: Callable[..., Any]) -> dict[str, str]:
    """Returns the description of each option, on one line; undocumented ones are left out."""
    if dataclasses.is_dataclass(owner) or hasattr(owner, "__required_keys__"):
        return _fields(owner)  # type: ignore[arg-type]
    return {**(_fields(common) if (common := common_options(owner)) else {}), **_arguments(inspect.getdoc(owner) or "")}


def summary(owner: Callable[..., Any]) -> str:
    """Returns the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(owner) or "").partition("\n\n")[0].split())


def _fields(cls: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for base in getattr(cls, "__orig_bases__", ()):
        found |= _fields(base) if hasattr(base, "__required_keys__") else {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def _arguments(doc: str) -> dict[str, str]:
    """Returns the section ``Args:`` of a Google docstring."""
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", doc, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1], re.MULTILINE) if section else []
    return {name: " ".join(text.split()) for name, text in entries}


_NAMES = {type(None): "null", bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def describe(hint: Any) -> str:
    """Returns what a hint allows, in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        rules = [str(rule) for rule in args[1:] if isinstance(rule, Rule)]
        return " ".join([describe(args[0]), *rules])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in UNIONS:
        return " or ".join(map(describe, args))
    if dataclasses.is_dataclass(hint) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return "a mapping of keys to values"
    if origin is Sequence:
        return "one entry or a list of them" + ("" if args[0] is Any else f" ({describe(args[0])} each)")
    if isinstance(origin, type) and issubclass(origin, Sequence):
        count = f" of {len(args)}" if origin is tuple and args[-1] is not Ellipsis else ""
        return f"a list{count} ({', '.join(dict.fromkeys(map(describe, args[: len(args) if count else 1])))} each)"
    return _NAMES.get(hint) or str(getattr(hint, "__name__", hint))


def listed_values(hint: Any) -> Iterator[Any]:
    """Yields the values that a hint lists."""
    if typing.get_origin(hint) is Literal:
        yield from typing.get_args(hint)
    elif typing.get_origin(hint) in (*UNIONS, Annotated):
        for member in typing.get_args(hint):
            yield from listed_values(member)
