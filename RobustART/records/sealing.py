"""The checksum at the end of each line of a result file."""

from __future__ import annotations

import re
import zlib

from RobustART.errors import RecordError

_SEAL = re.compile(r', "crc": (\d{1,10})\}\n?$')


def _crc(body: str) -> int:
    return zlib.crc32(body.encode("utf-8", errors="surrogateescape"))


def seal(body: str) -> str:
    """Returns the JSON string of an object with its CRC-32 appended as last entry, and a newline."""
    return f'{body[:-1]}, "crc": {_crc(body)}}}\n'


def unsealed(line: str, place: str) -> str:
    """Returns the JSON string of a sealed line without its checksum.

    Raises:
        RecordError: the checksum is missing or wrong; the message names ``place``.
    """
    match = _SEAL.search(line)
    if match is None:
        raise RecordError(f"{place} has no checksum at its end: the line was changed or damaged")
    body = line[: match.start()] + "}"
    if _crc(body) != int(match[1]):
        raise RecordError(f"{place} does not match the checksum at its end: the line was changed or damaged")
    return body
