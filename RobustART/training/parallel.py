"""Communication between the processes of a training: gradients, statistics, messages.

Processes with a GPU each use NCCL, others gloo. Gradients are averaged, so a step equals that of one process with the whole
batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from RobustART.core.distributed import World
from RobustART.errors import ConfigError


class Parallel:
    """The processes of a training."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.group: Any = None
        self._wishes: tuple[Any, Tensor] | None = None
        if world.size > 1 and world.device.type == "cuda" and dist.is_nccl_available():
            devices: list[Any] = [None] * world.size
            dist.all_gather_object(devices, (_host(), world.device.index))
            if len(set(devices)) == world.size:  # NCCL needs a GPU for each process
                self.group = dist.new_group(backend="nccl")

    def wrap(self, model: nn.Module, sync: bool) -> nn.Module:
        """Returns a model whose backward pass averages gradients; the model itself with ``sync`` or a single process."""
        if self.world.size == 1 or sync:
            return model
        ids = [self.world.device] if self.world.device.type == "cuda" else None
        known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
        own_buffers = (
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        )  # the older name
        options: dict[str, Any] = {"device_ids": ids, "process_group": self.group, own_buffers: False}
        return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True, **options)

    def sync_batchnorm(self, model: nn.Module) -> nn.Module:
        """Returns the model with BatchNorm statistics that are computed over all processes."""
        if self.world.size == 1:
            return model
        if self.world.device.type != "cuda":
            raise ConfigError("SyncBatchNorm needs GPUs; on CPUs set training.sync_bn: false")
        from timm.layers import convert_sync_batchnorm  # torch's own drops the activation inside timm's BatchNormAct2d

        return convert_sync_batchnorm(model, self.group)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces gradients by their mean over the processes; where one is missing it counts as zero."""
        if self.world.size == 1:
            return
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        there = torch.tensor([parameter.grad is not None for parameter in learned], device=self.world.device).int()
        dist.all_reduce(there, group=self.group)
        grads = []
        for parameter, processes in zip(learned, there.tolist(), strict=True):
            if processes:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                grads.append(parameter.grad)
        for flat, parts in _flattened(grads):
            dist.all_reduce(flat, group=self.group)
            flat /= self.world.size
            _unflatten(flat, parts)

    def share_buffers(self, model: nn.Module) -> None:
        """Copies the buffers of process 0, such as BatchNorm's statistics, to all processes."""
        if self.world.size == 1:
            return
        for flat, parts in _flattened(list(model.buffers())):
            dist.broadcast(flat, src=0, group=self.group)
            _unflatten(flat, parts)

    def collect(self, values: Tensor) -> Tensor:
        """Returns the rows of all processes in the order of their ranks; each has equally many."""
        if self.world.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world.size)]
        dist.all_gather(parts, values, group=self.group)
        return torch.cat(parts)

    def mean(self, values: Tensor) -> Tensor:
        """Returns the mean over the processes."""
        if self.world.size > 1:
            dist.all_reduce(values, group=self.group)
            values = values / self.world.size
        return values

    def total(self, values: Tensor) -> Tensor:
        """Returns the sum over the processes."""
        if self.world.size > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def least(self, values: Tensor) -> Tensor:
        """Returns the smallest of the processes' values."""
        if self.world.size > 1:
            dist.all_reduce(values, op=dist.ReduceOp.MIN, group=self.group)
        return values

    def agreed(self, wish: bool) -> bool:
        """Returns whether any process wished this at the call before; the same on all. Alone, whether this one does.

        So the message is on its way while a step is made, and nobody waits for it.
        """
        if self.world.size == 1:
            return wish
        before = self._wishes
        wishes = torch.tensor(int(wish))
        self._wishes = dist.all_reduce(wishes, async_op=True), wishes
        if before is None:
            return False
        before[0].wait()
        return bool(before[1])

    def gather(self, value: Any) -> list[Any]:
        """Returns the values of all processes on process 0, and an empty list on the others."""
        if self.world.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world.size if self.world.is_main else None
        dist.gather_object(value, values)
        return values or []

    def from_main(self, value: Any) -> Any:
        """Returns the value of process 0 on all processes."""
        return self.world.share(value)


def _host() -> str:
    import socket

    return socket.gethostname()


def _flattened(tensors: list[Tensor]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yields a concatenation of all tensors of one type, with the tensors."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for parts in by_type.values():
        yield torch.cat([part.detach().reshape(-1) for part in parts]), parts


@torch.no_grad()
def _unflatten(flat: Tensor, parts: list[Tensor]) -> None:
    for part, values in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
        part.copy_(values.view_as(part))
