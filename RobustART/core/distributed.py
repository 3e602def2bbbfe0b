"""The rank and device of this process, and barriers between the processes of a run.

The variables of torchrun come first, then those of Slurm; without either the process is alone. Evaluation needs only
barriers and small messages, so it uses gloo, on GPUs too, where a process may wait for days.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

from RobustART.core.joining import PATIENCE, join
from RobustART.errors import ConfigError, ProcessLostError

_WAIT = datetime.timedelta(days=7)  # a process may finish long before the others
_LOST = ("connection closed", "connection reset", "broken pipe", "gloo", "nccl", "socket", "timed out waiting")
"""Parts of the messages of gloo and NCCL when a process is gone."""


def expand_nodelist(nodelist: str) -> list[str]:
    """Returns the host names of a Slurm node list, ``node[3-5,08],gpu1`` as ``node3 node4 node5 node08 gpu1``.

    Raises:
        ConfigError: the brackets do not match or a range is not one.
    """
    hosts: list[str] = []
    for item in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+|[\[\]]", nodelist):
        names = [""]
        for text, ranges in re.findall(r"([^\[\]]+)|\[([^\[\]]*)\]", item):
            ends = [text] if text else _expand_ranges(ranges, nodelist)
            names = [name + end for name in names for end in ends]
        if item in "[]" or names == [""]:
            raise ConfigError(f"cannot read the Slurm node list {nodelist!r}")
        hosts += names
    if not hosts:
        raise ConfigError(f"the Slurm node list {nodelist!r} is empty")
    return hosts


def _expand_ranges(ranges: str, nodelist: str) -> list[str]:
    out = []
    for part in ranges.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(f"cannot read the range {part!r} in the Slurm node list {nodelist!r}")
        out += [str(i).zfill(len(match[1])) for i in range(int(match[1]), int(match[2] or match[1]) + 1)]
    return out


@dataclasses.dataclass(frozen=True)
class Placement:
    """The place of a process among the others, read from its environment."""

    rank: int = 0
    """Number of this process among all, from 0."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine; its GPU."""
    address: str = ""
    """Host of process 0."""
    port: int = 0
    """Port of process 0."""
    served: bool = False
    """Started by torchrun, whose agent serves the address; otherwise process 0 does."""


def _integer(environ: Mapping[str, str], name: str) -> int:
    try:
        return int(environ[name])
    except KeyError:
        raise ConfigError(f"the environment variable {name} is missing though others of its kind are set") from None
    except ValueError:
        raise ConfigError(f"the environment variable {name} must be an integer, got {environ[name]!r}") from None


def read_placement(environ: Mapping[str, str]) -> Placement:
    """Returns this process's place from torchrun's variables, else from Slurm's, else alone.

    Raises:
        ConfigError: a variable is missing or invalid.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        address = environ.get("MASTER_ADDR", "127.0.0.1")
        port = _integer(environ, "MASTER_PORT") if "MASTER_PORT" in environ else 29500
    elif "SLURM_PROCID" in environ and "SLURM_NTASKS" in environ:
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        address = environ.get("MASTER_ADDR") or _slurm_address(environ)
        job = int(re.sub(r"\D", "", environ.get("SLURM_JOB_ID", "")) or 0)
        step = int(re.sub(r"\D", "", environ.get("SLURM_STEP_ID", "")) or 0)  # steps of a job may run side by side
        port = _integer(environ, "MASTER_PORT") if "MASTER_PORT" in environ else 20000 + (job + 997 * step) % 20000
    else:
        return Placement()
    rank, size = _integer(environ, names[0]), _integer(environ, names[1])
    local_rank = _integer(environ, names[2]) if size > 1 or names[2] in environ else 0
    if not 0 <= rank < size:
        raise ConfigError(f"{names[0]} must be from 0 to {size - 1} because {names[1]} is {size}, got {rank}")
    served = names[0] == "RANK" and environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Placement(rank, size, local_rank, address, port, served)


def _slurm_address(environ: Mapping[str, str]) -> str:
    nodelist = environ.get("SLURM_NODELIST") or environ.get("SLURM_JOB_NODELIST")
    if not nodelist:
        return "127.0.0.1"
    host = expand_nodelist(nodelist)[0]
    try:
        socket.getaddrinfo(host, None)
        return host
    except OSError:
        # A host without an address cannot be reached from elsewhere: if this task is counted as one of a single
        # machine, all tasks are on it; if not, joining would only run into its timeout.
        if environ.get("SLURM_LOCALID") == environ.get("SLURM_PROCID"):
            return "127.0.0.1"
        raise ConfigError(f"the first host of the Slurm job, {host!r}, has no address; set MASTER_ADDR") from None


def choose_device(name: str, local_rank: int) -> torch.device:
    """Returns the device named ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ... for the process ``local_rank`` of a machine.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = local_rank if device.index is None else device.index
        if index >= count:
            raise ConfigError(f"device {name!r} needs GPU number {index}, but {count} can be seen here")
        return torch.device("cuda", index)
    return device


@contextlib.contextmanager
def lost_processes_named(rank: int, size: int) -> Iterator[None]:
    """Turns the failure of a message between processes into a :class:`ProcessLostError`."""
    try:
        yield
    except RuntimeError as error:
        if size > 1 and any(word in str(error).lower() for word in _LOST):
            raise ProcessLostError(
                f"process {rank} of {size} stops because another one ended; its own message says why"
            ) from error
        raise


class World:
    """The processes of one run. It is a context manager, which destroys the process group at its end.

    Attributes:
        rank, size, local_rank: see :class:`Placement`.
        device: the device of this process.
    """

    def __init__(self, device: str = "auto", environ: Mapping[str, str] = os.environ) -> None:
        self.placement = place = read_placement(environ)
        self.rank, self.size, self.local_rank = place.rank, place.size, place.local_rank
        self.device = choose_device(device, self.local_rank)
        self._joined = False
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.size > 1:
            seconds = _integer(environ, PATIENCE) if PATIENCE in environ else 600
            join(self.rank, self.size, place.address, place.port, place.served, seconds)
            self._joined = True
            set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout  # the older name
            set_timeout(_WAIT, None)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that merges, reports and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Returns when every process has called it. Signals are handled meanwhile."""
        if self.size > 1:
            with lost_processes_named(self.rank, self.size):
                work = dist.barrier(async_op=True)
                pause = 1e-4
                while not work.is_completed():
                    time.sleep(pause)
                    pause = min(2 * pause, 0.05)
                work.wait()

    def share(self, value: Any) -> Any:
        """Returns the value of process 0, which can be pickled, on all processes."""
        if self.size == 1:
            return value
        self.barrier()  # which handles signals while others wait
        values = [value]
        with lost_processes_named(self.rank, self.size):
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def close(self) -> None:
        """Leaves the process group."""
        if self._joined:
            dist.destroy_process_group()
            self._joined = False

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
