"""The table of architectures: the benchmark's 44, further ones, and the original's names, with what builds each.

The rows are package data, ``architectures.csv``.
"""

from __future__ import annotations

import ast
import csv
import dataclasses
import fnmatch
import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any

from RobustART.errors import ConfigError, nearest


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One row of the table."""

    name: str
    """Name for ``create_model``."""
    set: str
    """``benchmark`` (the 44 of the benchmark), ``further``, or ``original``: the original's own names beside those."""
    family: str
    """Such as ``resnet``; families share the meaning of their arguments."""
    builder: str
    """``timm:NAME``, ``torchvision:NAME``, or ``robustart:NAME`` for a variant made here of their parts."""
    arguments: Mapping[str, Any]
    """Keyword arguments of the builder; a caller's override them."""
    input_size: int
    """Side of the square input, in pixels."""
    resize: int
    """Shorter side before the central crop, in pixels."""
    interpolation: str
    """Pillow's filter for that resize."""
    params_millions: float
    """Learned parameters at 1,000 classes; published for the 44, otherwise counted here."""
    macs: str
    """Multiplications and additions of convolutions and linear layers for one image, such as ``4.09G``."""
    originals: tuple[str, ...]
    """The original's names for it, with the arguments that make it of another row."""
    note: str
    """Every deviation, from the library's builder or from the original's network, with its reason."""

    @property
    def macs_millions(self) -> float:
        """``macs`` as a number of millions."""
        return float(self.macs[:-1]) * {"M": 1, "G": 1000}[self.macs[-1]]


_GROUPS = "neither timm nor torchvision builds a RepVGG with two groups; there are repvgg_{0} and repvgg_{0}g4"
UNBUILT = {
    "repvgg_B1g2": _GROUPS.format("B1"), "repvgg_B2g2": _GROUPS.format("B2"),
    "repvgg_B3g2": _GROUPS.format("B3"),
    "shufflenet_v2_scale": "torchvision builds four widths: shufflenet_v2_x0_5, _x1_0, _x1_5 and _x2_0",
    **{
        f"new_deit_{size}_patch16_224": "an unfinished implementation there, which timm and torchvision lack; "
        f"there are deit_{size}_b16_224 and deit_{size}_patch16_224"
        for size in ("tiny", "small", "base")
    },
}  # fmt: skip
"""The original's names that are not built here, and why."""


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """Returns all rows by name, in the order of the table."""
    text = resources.files("RobustART.models").joinpath("architectures.csv").read_text(encoding="utf-8")
    rows = {}
    for row in csv.DictReader(text.splitlines()):
        arguments = dict(part.split("=", 1) for part in row["arguments"].split())
        rows[row["name"]] = Architecture(
            name=row["name"], set=row["set"], family=row["family"], builder=row["builder"],
            arguments={key: _value(text) for key, text in arguments.items()},
            input_size=int(row["input_size"]), resize=int(row["resize"]), interpolation=row["interpolation"],
            params_millions=float(row["params_millions"]), macs=row["macs"],
            originals=tuple(filter(None, row["originals"].split("; "))), note=row["note"],
        )  # fmt: skip
    return rows


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@functools.cache
def aliases() -> Mapping[str, str]:
    """Returns the original's names that build exactly a row of the table, with that row's name."""
    return {
        original: row.name
        for row in architectures().values()
        for original in row.originals
        if "(" not in original and original not in architectures()
    }


def select(
    pattern: str | None = None, *, family: str | None = None, sets: tuple[str, ...] = ("benchmark", "further")
) -> list[Architecture]:
    """Returns the rows that a pattern and a family choose.

    Args:
        pattern: part of a name, or a whole one with ``*`` and ``?``; the original's names count too. None takes all.
        family: a family's name; None takes all.
        sets: values of :attr:`Architecture.set`.

    Raises:
        ConfigError: there is no such family, or nothing is left.
    """
    families = dict.fromkeys(row.family for row in architectures().values())
    if family is not None and family not in families:
        raise ConfigError(
            f"unknown family {family!r}{nearest(family, families) or ';'} Families: {', '.join(families)}"
        )
    rows = [row for row in architectures().values() if row.set in sets and family in (None, row.family)]
    if pattern is not None:
        wanted = pattern.lower() if "*" in pattern or "?" in pattern else f"*{pattern.lower()}*"
        rows = [
            row for row in rows if any(fnmatch.fnmatchcase(name.lower(), wanted) for name in (row.name, *row.originals))
        ]
    if not rows:
        what = " and ".join(
            f"{title} {value!r}"
            for title, value in (("the pattern", pattern), ("the family", family))
            if value is not None
        )
        raise ConfigError(f"no architecture of the table fits {what or 'this'} in: {', '.join(sets)}")
    return rows
