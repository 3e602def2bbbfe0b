"""How this process returns freed memory to the system.

Networks allocate and free the same large buffers at every step. glibc maps a buffer of 128 kB or more anew each time, so
that the kernel clears every page again: this is up to half of the time of forward passes on a CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from RobustART.errors import ConfigError

SWITCH = "ROBUSTART_MALLOC"
"""Environment variable: ``tuned`` (default), or ``default`` for the settings of the system."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from malloc.h
_KEPT = 2**31 - 1
"""Free bytes at the end of the heap that are kept."""
_LARGEST = (2**30, 2**25)
"""Bytes from which a buffer is mapped; versions before 2.35 take 32 MiB at most."""


def tune_memory() -> bool:
    """Makes glibc keep freed memory for the next buffers; commands call it, and importing the package does not.

    The peak of the memory grows, by a third at most where it was measured; no number depends on it. Other C libraries, and
    processes whose environment sets ``MALLOC_*_`` or ``glibc.malloc`` tunables, are left as they are.

    Returns:
        Whether the settings were changed.

    Raises:
        ConfigError: the environment variable ``ROBUSTART_MALLOC`` is neither ``tuned`` nor ``default``.
    """
    asked = os.environ.get(SWITCH, "tuned")
    if asked not in ("tuned", "default"):
        raise ConfigError(f"the environment variable {SWITCH} must be tuned or default, got {asked!r}")
    own = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if asked == "default" or own or not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST) and mallopt(_TRIM_THRESHOLD, _KEPT))


def _is_glibc() -> bool:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no such function, no such name, no answer
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    return False
