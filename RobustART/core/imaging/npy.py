"""``.npy`` files, whose header is checked against the file before any memory is taken for what it states."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from RobustART.core.imaging.formats import check_regular
from RobustART.errors import DataError

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_READING = (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError, OverflowError)


def from_npy(data: bytes, name: str) -> NDArray[Any]:
    """Returns the array in the bytes of a ``.npy`` file, read-only.

    Args:
        data: the bytes of the file.
        name: what to call it in errors.

    Raises:
        DataError: it is damaged, has another format, or holds Python objects.
    """
    dtype, shape, order, start = _header(io.BytesIO(data), len(data), name)
    flat = np.frombuffer(data, dtype, count=math.prod(shape), offset=start)
    return flat.reshape(shape, order=order)


def map_npy(path: Path) -> NDArray[Any]:
    """Returns the array in a ``.npy`` file, mapped read-only, so that memory holds the rows in use alone.

    Raises:
        DataError: as :func:`from_npy`, or it is missing or not a regular file.
    """
    name, size = str(path), check_regular(path, "the array")
    try:
        with open(path, "rb") as file:
            dtype, shape, order, start = _header(file, size, name)
        return np.memmap(path, dtype, "r", start, shape, order) if math.prod(shape) else np.empty(shape, dtype)
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read: {error}") from None


def _header(file: BinaryIO, size: int, name: str) -> tuple[np.dtype[Any], tuple[int, ...], Any, int]:
    """Returns dtype, shape, order and the place of the first element of a file of ``size`` bytes."""
    try:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"its version is {version}; 1.0 and 2.0 are read")
        shape, fortran, dtype = _HEADERS[version](file)
        start = file.tell()
    except _READING as error:
        file.seek(0)
        zipped = file.read(2) == b"PK"
        reason = "it is a zip archive, as .npz is; save the array alone" if zipped else error
        raise DataError(f"{name} cannot be read as a .npy file: {reason}") from None
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects ({dtype}); save numbers")
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed > size - start:
        raise DataError(f"{name} states {dtype} {shape}, {needed:,} bytes, but {size - start:,} follow its header")
    return dtype, shape, "F" if fortran else "C", start
