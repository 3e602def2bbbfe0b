"""Which files are read: regular files of an explicit list of image formats, up to a size in bytes and in pixels.

Every file passes here before a library sees it. Libraries read far more than images: Pillow runs Ghostscript on
PostScript, and FFmpeg opens playlists that name other files and addresses.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from PIL import UnidentifiedImageError

from RobustART.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
"""The formats that are read, by Pillow's names; ``PPM`` is PBM, PGM and PPM. GIF because lists of images may name such
files; class folders leave them out, as torchvision's do."""

MAX_PIXELS = 2**28 // 3
"""The most pixels of an image, and of all frames of a video: 89 million, 256 MiB as RGB. From there on Pillow warns of a
decompression bomb. A JPEG of 8 kB can state 169 million pixels, which took decoders up to 30 s."""

MAX_BYTES = 8 * MAX_PIXELS
"""The most bytes of a file of an image, a video or an array: 683 MiB, what :data:`MAX_PIXELS` take in the largest form that
is read, 16 bits in four channels without compression."""

_BEGINS = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"), (b"BM", "BMP"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II\0*", "TIFF"), (b"MM*\0", "TIFF"), (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"), *((f"P{digit}".encode(), "PPM") for digit in range(1, 7)),
)  # fmt: skip
_OTHERS = (
    (b"%!PS", "PostScript"), (b"\xc5\xd0\xd3\xc6", "PostScript"), (b"%PDF", "PDF"), (b"<svg", "SVG"),
    (b"<?xml", "XML, as SVG is"), (b"<!doctype", "a web page"), (b"<html", "a web page"), (b"PK\3\4", "a zip archive"),
    (b"\x93numpy", "a NumPy array"), (b"version https://git-lfs", "a pointer of Git LFS; the file was not fetched"),
)  # fmt: skip
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Markers of a JPEG frame: baseline, extended and progressive Huffman coding."""
_MARKERS = 1000
"""Markers before the frame after which a file is left to Pillow; cameras write about ten."""


def find_format(data: bytes) -> str | None:
    """Returns the format of a file by its first bytes, one of :data:`FORMATS`, or None if it is another."""
    if data.startswith(b"RIFF"):
        return "WEBP" if data[8:12] == b"WEBP" else None
    return next((name for begin, name in _BEGINS if data.startswith(begin)), None)


def image_format(data: bytes) -> str:
    """Returns the format of a file by its first bytes, one of :data:`FORMATS`.

    Raises:
        UnidentifiedImageError: it is another one.
    """
    found = find_format(data)
    if found is None:
        start = data[:64].lstrip().lower()
        other = next((f"; it is {name}" for begin, name in _OTHERS if start.startswith(begin.lower())), "")
        raise UnidentifiedImageError(f"it does not begin as a file of {', '.join(FORMATS)} does{other}")
    return found


def check_pixels(height: int, width: int, frames: int = 1) -> None:
    """Raises a DataError if an image, or the frames of a video, have more than :data:`MAX_PIXELS` pixels."""
    if height * width * frames > MAX_PIXELS:
        many = f"{frames} frames of " if frames > 1 else ""
        raise DataError(f"it has {many}{width} x {height} pixels; at most {MAX_PIXELS:,} are read")


def jpeg_frame(data: bytes) -> tuple[int, int, int] | None:
    """Returns height, width and channels of a JPEG file with 8 bits a channel; None if its header is of another kind."""
    place = 2
    for _ in range(_MARKERS):
        if place + 9 >= len(data) or data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
            return (height, width, data[place + 9]) if data[place + 4] == 8 and height and width else None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def read_bytes(path: str | Path, what: str = "the image", most: int = MAX_BYTES) -> bytes:
    """Returns the bytes of a regular file.

    Args:
        path: the file.
        what: what to call it in errors.
        most: bytes that it may have.

    Raises:
        DataError: it is missing, unreadable, larger, or not a regular file; the message names it.
    """
    size = check_regular(path, what)
    if size > most:
        raise DataError(f"{what} {path} has {size:,} bytes; at most {most:,} are read")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise DataError(f"{what} {path} cannot be read: there is not enough memory for its {size:,} bytes") from None


def check_regular(path: str | Path, what: str) -> int:
    """Returns the size of a regular file, in bytes, without opening it: a pipe would wait for ever, a device never ends.

    Args:
        path: the file, or a link to it.
        what: what to call it in errors.

    Raises:
        DataError: it is missing or of another kind.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the name
        raise DataError(f"{what} {str(path)!r} cannot be read: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{what} {path} cannot be read: it is {_kind(status.st_mode)}, not a file")
    return status.st_size


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )  # fmt: skip
    return next((name for test, name in kinds if test(mode)), "of another kind")
