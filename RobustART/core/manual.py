"""Descriptions of options: the string under a field, or the ``Args:`` section of a function or class."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

from RobustART.core.declarations import common_options


def manual(owner: Callable[..., Any]) -> dict[str, str]:
    """Returns the description of each option by its name in Python, on one line; none where the source says nothing."""
    if dataclasses.is_dataclass(owner) or hasattr(owner, "__required_keys__"):
        return _fields(owner)  # type: ignore[arg-type]
    return {**(_fields(common) if (common := common_options(owner)) else {}), **_arguments(inspect.getdoc(owner) or "")}


def summary(owner: Callable[..., Any]) -> str:
    """Returns the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(owner) or "").partition("\n\n")[0].split())


def _fields(cls: type) -> dict[str, str]:
    tree = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def _arguments(doc: str) -> dict[str, str]:
    """Returns the section ``Args:`` of a Google docstring."""
    section = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", doc, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1], re.MULTILINE) if section else []
    return {name: " ".join(text.split()) for name, text in entries}
