"""Sends values from one process to another over a socket; large arrays are passed as shared memory, not copied through
it.

Nothing here uses ``/dev/shm``, which containers limit to 64 MB, or any other file: the memory is a ``memfd``, whose
descriptor is sent. Where the system has none, or memory is short, the bytes themselves are sent.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from collections.abc import Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import torch

SMALL = 1 << 16
"""Bytes of arrays that are sent through the socket itself: its buffer holds them."""
_ALIGNMENT = 64


class _Pickler(pickle.Pickler):
    """Pickles tensors as NumPy arrays, whose memory protocol 5 keeps apart."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not torch.Tensor or value.device.type != "cpu" or value.requires_grad:
            return NotImplemented
        try:
            return torch.from_numpy, (value.numpy(),)
        except TypeError:  # a type that NumPy lacks
            return NotImplemented


def send(connection: Connection, value: Any) -> None:
    """Sends a value; :func:`receive` returns an equal one at the other end.

    Raises:
        OSError: the other end is closed.
        Exception: the value cannot be pickled; nothing was sent.
    """
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    parts = [buffer.raw() for buffer in buffers]
    sizes = [part.nbytes for part in parts]
    descriptor = _stored(parts) if sum(sizes) > SMALL else None
    try:
        connection.send_bytes(pickle.dumps((sizes, descriptor is not None, stream.getvalue())))
        if descriptor is not None:
            reduction.send_handle(connection, descriptor, None)
        else:
            for part in parts:
                connection.send_bytes(part)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def receive(connection: Connection) -> Any:
    """Returns the next value from the other end; its arrays are writable.

    Raises:
        EOFError, OSError: the other end is closed, perhaps in the middle of a value.
    """
    sizes, stored, data = pickle.loads(connection.recv_bytes())  # noqa: S301 - from a process of this run
    if stored:
        descriptor = reduction.recv_handle(connection)
        try:
            memory = memoryview(mmap.mmap(descriptor, sum(map(_padded, sizes))))
        finally:
            os.close(descriptor)
        buffers, start = [], 0
        for size in sizes:
            buffers.append(memory[start : start + size])
            start += _padded(size)
    else:
        buffers = [memoryview(bytearray(size)) for size in sizes]
        for buffer in buffers:
            connection.recv_bytes_into(buffer)
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - from a process of this run


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _stored(parts: Sequence[memoryview]) -> int | None:
    """Returns a descriptor of memory that holds the parts one after another; None where there is no such memory."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        descriptor = os.memfd_create("robustart")
    except OSError:
        return None
    try:
        start = 0
        for part in parts:
            written = 0
            while written < part.nbytes:
                written += os.pwrite(descriptor, part[written:], start + written)
            start += _padded(part.nbytes)
        os.ftruncate(descriptor, start)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
