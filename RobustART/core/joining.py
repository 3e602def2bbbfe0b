"""Joins the processes of a run through a store at one address, under a name that is unique to each start.

The store may be older than the processes: torchrun starts them again after a failure and keeps its store, and one process
may hold several worlds after each other. So process 0 draws a new name for each start, and the others take the first one
that they have not used before.
"""

from __future__ import annotations

import datetime
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from RobustART.errors import ConfigError

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE = "ROBUSTART_JOIN_SECONDS"
"""Environment variable: seconds that a process waits at its start for the others; 600 by default."""
_QUIET = 3.0
"""Seconds that a process waits before it logs that it does."""
_NAME = "robustart/start"
_ADVICE = "srun or torchrun starts all of them; to run alone, unset the variables of Slurm and torchrun"

_stores: dict[tuple[str, int], dist.Store] = {}
"""By address; a process asks for each once, since it may be the one that serves it."""


def join(rank: int, size: int, address: str, port: int, served: bool, seconds: int) -> None:
    """Creates gloo's process group once all processes have joined; after some seconds a warning names the missing ones.

    Args:
        rank: number of this process.
        size: how many processes there are.
        address: host of the store.
        port: port of the store.
        served: whether another program serves the store; otherwise process 0 does.
        seconds: how long to wait for the others.

    Raises:
        ConfigError: they did not join in time, or cannot be reached.
    """
    until = time.monotonic() + seconds
    who, where = f"process {rank} of {size}", f"at {address}:{port}"
    try:
        store = _store(address, port, served, rank, f"{who} waits for {{}}, which does not answer {where}", until)
        if rank == 0:
            name = _begin(store, size, f"{who} waits {where} for", until)
        else:
            name = _follow(store, rank, f"{who} waits {where} for process 0", until)
        dist.init_process_group(
            "gloo", store=dist.PrefixStore(name, store), rank=rank, world_size=size,
            timeout=datetime.timedelta(seconds=max(5.0, until - time.monotonic())),
        )  # fmt: skip
    except RuntimeError as error:
        raise ConfigError(f"{who} could not join the others {where}; {_ADVICE}. {error}") from error


def _store(address: str, port: int, served: bool, rank: int, waiting: str, until: float) -> dist.Store:
    serves = rank == 0 and not served

    def connect() -> dist.Store | None:
        if not serves:
            try:  # where nobody listens, torch prints its own lines for each attempt
                socket.create_connection((address, port), timeout=2).close()
            except OSError:
                return None
        try:
            return dist.TCPStore(
                address, port, None, serves, datetime.timedelta(seconds=2), wait_for_workers=False, multi_tenant=True,
                use_libuv=os.environ.get("USE_LIBUV", "1") == "1",
            )  # fmt: skip
        except dist.DistError:
            if serves:
                raise
            return None

    place = address, port
    if place not in _stores:
        missing = waiting.format("torchrun" if served else "process 0")
        _stores[place] = _wait_for(connect, lambda: missing, until)
        _stores[place].set_timeout(datetime.timedelta(minutes=5))
    return _stores[place]


def _begin(store: dist.Store, size: int, waiting: str, until: float) -> str:
    """Returns the name of this start when all processes have taken it; for process 0."""
    name = f"robustart/{uuid.uuid4().hex}"
    store.set(_NAME, name)
    left = set(range(1, size))

    def all_here() -> bool | None:
        left.difference_update([rank for rank in left if store.check([f"{name}/{rank}"])])
        return None if left else True

    def missing() -> str:
        more = f" and {len(left) - 8} more" if len(left) > 8 else ""
        return f"{waiting} process {', '.join(map(str, sorted(left)[:8]))}{more}"

    _wait_for(all_here, missing, until)
    store.set(f"{name}/go", "")
    return name


def _follow(store: dist.Store, rank: int, waiting: str, until: float) -> str:
    """Returns the name of this start when process 0 has seen all; for the others."""
    had = f"robustart/had by {rank}"
    before = store.get(had).decode() if store.check([had]) else ""

    def ready() -> str | None:
        name = store.get(_NAME).decode() if store.check([_NAME]) else before
        if name == before:
            return None
        store.set(had, name)
        store.set(f"{name}/{rank}", "")
        return name if store.check([f"{name}/go"]) else None

    return _wait_for(ready, lambda: waiting, until)


def _wait_for(find: Callable[[], T | None], missing: Callable[[], str], until: float) -> T:
    """Returns what ``find`` returns once it is not None; gives up at a time of ``time.monotonic``."""
    quiet = time.monotonic() + _QUIET
    while (value := find()) is None:
        now = time.monotonic()
        if now > until:
            raise ConfigError(f"{missing()}, and gives up; {_ADVICE}")
        if now > quiet:
            quiet = until
            log.warning("%s, for %.0f s more (%s); %s", missing(), until - now, PATIENCE, _ADVICE)
        time.sleep(0.05)
    return value
