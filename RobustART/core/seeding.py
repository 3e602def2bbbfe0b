"""Random numbers that depend on (seed, image id, cell) alone.

Corruptions run on the CPU, one image at a time, with a numpy generator from :func:`numpy_generator`. Attacks run on batches
on any device; they take one 64-bit key per image from :func:`image_seed` and draw with :func:`uniform` and :func:`normal`,
counter-based generators whose value at (key, stream, position) is a pure function. The draws of an image therefore do not
depend on its batch, the device, the world size or the point where a run was resumed.

Models and transforms that draw from the global generators of ``torch``, ``random`` and ``numpy`` get these seeded by
:func:`seed_generators` inside :func:`generators_kept`.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def image_seed(seed: int, image_id: int, cell: str) -> int:
    """Returns a key in [0, 2**63) that depends on the three arguments alone and is the same on every machine."""
    digest = hashlib.blake2b(f"{int(seed)}|{int(image_id)}|{cell}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def image_seeds(seed: int, image_ids: Iterable[int], cell: str) -> Tensor:
    """Returns the keys of several images as an int64 tensor (N,), for the ``seeds`` argument of attacks."""
    return torch.tensor([image_seed(seed, i, cell) for i in image_ids], dtype=torch.int64)


def numpy_generator(seed: int, image_id: int, cell: str) -> np.random.Generator:
    """Returns a numpy generator for one image and one cell."""
    return np.random.Generator(np.random.PCG64(image_seed(seed, image_id, cell)))


def seed_generators(key: int, device: torch.device | None = None) -> None:
    """Seeds the global generators of ``torch`` (on the CPU and on ``device``), ``random`` and ``numpy``."""
    key %= 2**63
    torch.default_generator.manual_seed(key)
    random.seed(key)
    np.random.seed(key & 0xFFFFFFFF)
    if device is not None and device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(key)


@contextlib.contextmanager
def generators_kept(device: torch.device | None = None) -> Iterator[None]:
    """Restores afterwards the state of the generators that :func:`seed_generators` seeds."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    on_device = torch.cuda.get_rng_state(device) if device is not None and device.type == "cuda" else None
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if on_device is not None and device is not None:
            torch.cuda.set_rng_state(on_device, device)


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_(x: Tensor, bits: int) -> Tensor:
    """Logical right shift in place; torch's own shift of int64 copies the sign bit."""
    x >>= bits
    x &= (1 << (64 - bits)) - 1
    return x


def _mix_(x: Tensor) -> Tensor:
    """The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, figure 18), in place on int64."""
    for bits, factor in ((30, _MIX_1), (27, _MIX_2), (31, 1)):
        x ^= _shift_(x.clone(), bits)
        if factor != 1:
            x *= factor  # int64 products wrap around, as the algorithm requires
    return x


_CHUNK = 1 << 18  # elements mixed at once on the CPU, so that they stay in the cache


def random_bits(seeds: Tensor, shape: Sequence[int], *, stream: int = 0) -> Tensor:
    """Returns 64 random bits per element as int64 (N, *shape), on the device of ``seeds``.

    Args:
        seeds: one int64 key per image, (N,).
        shape: shape of one image's draws.
        stream: index of an independent stream of the key; each purpose (restart, step, query) uses another.
    """
    count = math.prod(shape)
    keys = _mix_(seeds ^ _signed(_mix_python(stream)))
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=seeds.device)
    counter *= _GOLDEN
    rows = max(1, _CHUNK // max(count, 1)) if seeds.device.type == "cpu" else max(1, len(seeds))
    bits = torch.empty(len(seeds), count, dtype=torch.int64, device=seeds.device)
    for i in range(0, len(seeds), rows):
        bits[i : i + rows] = _mix_(keys[i : i + rows, None] + counter)
    return bits.view(len(seeds), *shape)


def _mix_python(value: int) -> int:
    """:func:`_mix` of a Python integer, so that streams are far apart."""
    x = (value + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1)
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    x = (x ^ x >> 27) * 0x94D049BB133111EB & (2**64 - 1)
    return x ^ x >> 31


def uniform(seeds: Tensor, shape: Sequence[int], *, stream: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns uniform draws in [0, 1) as (N, *shape); arguments as in :func:`random_bits`.

    float64 draws have 53 random bits; draws of other types have the 24 bits of float32, rounded to the type.
    """
    bits = random_bits(seeds, shape, stream=stream)
    if dtype == torch.float64:
        return _shift_(bits, 11).to(torch.float64).mul_(2.0**-53)
    return _shift_(bits, 40).to(torch.float32).mul_(2.0**-24).to(dtype)


def normal(seeds: Tensor, shape: Sequence[int], *, stream: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns standard normal draws as (N, *shape), by the Box-Muller transform of two uniform draws per element."""
    pair = uniform(seeds, (2, *shape), stream=stream, dtype=torch.float64)
    radius = (-2.0 * torch.log1p(-pair[:, 0])).sqrt()
    return (radius * torch.cos(2.0 * math.pi * pair[:, 1])).to(dtype)


def fold(seeds: Tensor, value: int | Tensor) -> Tensor:
    """Returns new keys (N,) that depend on the given keys and on ``value``, an integer or one per key, (N,).

    ``stream`` separates draws that all images make at the same time; ``fold`` separates draws that each image makes at its
    own time, for a restart, a target class or a step.
    """
    step = torch.as_tensor(value, dtype=torch.int64, device=seeds.device)
    return _mix_(seeds ^ _mix_((step + 1) * _GOLDEN))
