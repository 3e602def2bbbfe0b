"""Elastic networks: spaces of sub-networks that share the weights of one supernet. Of our own design, see ``spaces.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from RobustART.core.options import checked
from RobustART.errors import ConfigError
from RobustART.nas import families as _families  # registers the spaces
from RobustART.nas.networks import Network, Supernet
from RobustART.nas.spaces import SPACES, Encoding, Space

__all__ = ["SPACES", "Encoding", "Network", "Space", "Supernet", "build_nas", "create_space"]

assert _families


def create_space(name: str, options: Mapping[str, Any]) -> Space:
    """Returns a space by its name in ``SPACES`` and the options of its function.

    Raises:
        UnknownNameError: there is no such space.
        ConfigError: an option is unknown, or cannot be.
    """
    function = SPACES[name]
    checked(function, options, f"the space {name!r}")
    try:
        return function(**options)
    except TypeError as error:
        raise ConfigError(f"the space {name!r} cannot be made of {dict(options)}: {error}") from None


def build_nas(name: str, *, encoding: Mapping[str, Any] | None = None, **options: Any) -> Network:
    """Returns the supernet of a space, or with ``encoding`` that sub-network alone, with weights of its own.

    Args:
        name: of the space.
        encoding: of a sub-network.
        options: of the space.
    """
    space = create_space(name, options)
    if encoding is None:
        return Supernet(space)
    checked = space.check(encoding, f"model.kwargs.encoding of nas:{name}")
    return Network(space.plan(checked), checked["input_size"])
