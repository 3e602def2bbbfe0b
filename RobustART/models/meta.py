"""Networks without memory, on torch's meta device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Numbers(TorchFunctionMode):
    """Leaves ``torch.linspace`` on the CPU: older builders of timm read rates of dropped paths from it."""

    def __torch_function__(self, function: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)


@contextlib.contextmanager
def meta_device() -> Iterator[None]:
    """Within the block, networks are built on the meta device, without memory: names, shapes and sizes, no values."""
    with torch.device("meta"), _Numbers():
        yield
