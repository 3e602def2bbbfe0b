"""Draws distinct sub-networks whose cost lies in a range, and writes and reads the file that lists them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from RobustART.core.options import convert
from RobustART.core.ranges import Count, Natural
from RobustART.errors import ConfigError, RecordError
from RobustART.nas.plans import Cost
from RobustART.nas.spaces import Encoding, Space, factors, identity

FORMAT = "robustart-subnets/1"
PATIENCE = 2000
"""Consecutive draws without a new sub-network after which the search gives up."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@dataclasses.dataclass(frozen=True)
class Subnet:
    """A sub-network with its cost."""

    encoding: Encoding
    """Its choices."""
    cost: Cost
    """Parameters and multiply-adds."""

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the encoding."""
        return identity(self.encoding)

    def to_plain(self) -> dict[str, Any]:
        """Returns a line of the file."""
        own = {"parameters": self.cost.parameters, "macs": self.cost.macs}
        return {"id": self.id, "encoding": self.encoding, **own, "factors": factors(self.encoding)}


def parse_range(text: str) -> tuple[float, float]:
    """Returns the ends of a range of multiply-adds such as ``100M-600M``, ``1.5G-`` or ``-300M``.

    Raises:
        ConfigError: the string is not a range.
    """
    number = r"(?:(\d+(?:\.\d+)?)([KMG]?))?"
    match = re.fullmatch(rf"\s*{number}\s*-\s*{number}\s*", text, flags=re.IGNORECASE)
    if match is None or not (match[1] or match[3]):
        raise ConfigError(f"a range of multiply-adds is written 100M-600M, 1.5G- or -300M, got {text!r}")
    low = float(match[1]) * _UNITS[match[2].upper()] if match[1] else 0.0
    high = float(match[3]) * _UNITS[match[4].upper()] if match[3] else np.inf
    if low > high:
        raise ConfigError(f"a range of multiply-adds must begin with its lower bound, got {text!r}")
    return low, high


def draw_subnets(space: Space, count: int, *, seed: int, macs: tuple[float, float] = (0, np.inf)) -> list[Subnet]:
    """Returns ``count`` distinct random sub-networks whose multiply-adds lie in a range.

    Args:
        space: the search space.
        count: number of sub-networks.
        seed: seed of the draws; a larger count with the same seed begins with the same sub-networks.
        macs: bounds of the range, both included.

    Raises:
        ConfigError: the range has fewer; the message says what is possible.
    """
    count = convert(count, Count, "count")
    seed = convert(seed, Natural, "seed")
    ends = [space.cost(encoding).macs for encoding in (space.smallest(), space.largest())]
    possible = f"{space.name} has networks from {_short(ends[0])} to {_short(ends[1])} multiply-adds"
    if macs[0] > ends[1] or macs[1] < ends[0]:
        raise ConfigError(f"there are none from {_short(macs[0])} to {_short(macs[1])}: {possible}")
    if count > space.size:
        raise ConfigError(f"{space.name} has only {space.size} different networks, so there are not {count}")
    rng, idle = np.random.default_rng(seed), 0
    found: dict[str, Subnet] = {}
    seen: list[int] = []
    while len(found) < count:
        encoding = space.sample(rng)
        subnet = Subnet(encoding, space.cost(encoding))
        seen.append(subnet.cost.macs)
        if macs[0] <= subnet.cost.macs <= macs[1] and subnet.id not in found:
            found[subnet.id], idle = subnet, 0
            continue
        idle += 1
        if idle == PATIENCE:
            middle = " to ".join(_short(value) for value in np.percentile(seen, (1, 99)))
            raise ConfigError(
                f"{len(found)} of {count} networks were found from {_short(macs[0])} to {_short(macs[1])}, and "
                f"{PATIENCE:,} draws in a row brought no new one: {possible}, and 98 % of those drawn have {middle}"
            )
    return list(found.values())


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if size <= value < np.inf:
            return f"{value / size:.4g}{unit}"
    return "any" if value == np.inf else f"{value:g}"


def subnet_lines(space: Space, subnets: list[Subnet], stated: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of a file of sub-networks: a header with the space and the draw, then one line for each."""
    for row in ({"format": FORMAT, "space": space.to_plain(), **stated}, *(subnet.to_plain() for subnet in subnets)):
        yield json.dumps(row) + "\n"


def read_subnets(path: Path, space: Space) -> list[Subnet]:
    """Returns the sub-networks of a file.

    Args:
        path: the file.
        space: the space that they must come from.

    Raises:
        RecordError: the file cannot be read, is not a list of sub-networks, is of another space, or names a network twice.
        ConfigError: a line is not an encoding of the space.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    rows = [_row(line, f"line {number} of {path}") for number, line in enumerate(lines, 1)]
    if not rows or rows[0].get("format") != FORMAT:
        raise RecordError(f"{path} is not a file of sub-networks: its first line must say {FORMAT!r}")
    own = space.to_plain()
    changed = [key for key in own if own[key] != rows[0].get("space", {}).get(key)]
    if changed:
        raise RecordError(
            f"{path} is of another space than the model: {', '.join(changed)} differ; sample with --config, which takes "
            "the space from the model"
        )
    found: dict[str, Subnet] = {}
    for number, row in enumerate(rows[1:], 2):
        place = f"line {number} of {path}"
        encoding = space.check(row.get("encoding"), place)
        subnet = Subnet(encoding, space.cost(encoding))
        if subnet.id in found:
            raise RecordError(f"{place} is the network {subnet.id} again")
        if subnet.to_plain() != row:
            raise RecordError(f"{place} disagrees with what its network has: {json.dumps(subnet.to_plain())}")
        found[subnet.id] = subnet
    if not found:
        raise RecordError(f"{path} names no sub-network")
    return list(found.values())


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise RecordError(f"{place} is not a JSON object: {line[:80]!r}")
    return row
