"""Renders self-contained pages with jinja2; every value is escaped."""

from __future__ import annotations

import functools
import unicodedata
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from RobustART.report.text import interval, number, readable

if TYPE_CHECKING:
    from jinja2 import Environment

ARROWS = {"high": "\N{UPWARDS ARROW}", "low": "\N{DOWNWARDS ARROW}"}
"""Arrows for the direction in which a number is better."""


def clean(value: object) -> str:
    """Returns a value as a string in which replacement characters replace control characters and lone surrogates."""
    plain = str(value).encode("utf-8", errors="replace").decode("utf-8")
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf") else c for c in plain
    )


def render_page(template: str, **context: Any) -> str:
    """Returns the page of a template."""
    return _environment().get_template(template).render(context)


@functools.cache
def _environment() -> Environment:
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=lambda value: value if hasattr(value, "__html__") else clean(value),
    )  # fmt: skip
    found.filters.update(number=number, interval=interval, readable=readable, grouped=grouped)
    found.globals.update(arrows=ARROWS, resource=_resource)
    return found


def grouped(value: float) -> str:
    """Returns a number with thousands separators."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _resource(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")
