"""The draws of an image are a pure function of its key: equal to a plain-integer implementation, and well spread."""

import numpy as np
import pytest
import torch
from scipy import stats

from RobustART.core.seeding import image_seed, image_seeds, normal, numpy_generator, random_bits, uniform

MASK = 2**64 - 1


def reference_mix(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def test_bits_equal_plain_integer_splitmix():
    seeds = image_seeds(7, [0, 5, 123456], "pgd")
    got = random_bits(seeds, (2, 3), stream=4)
    stream = reference_mix(5 * 0x9E3779B97F4A7C15 & MASK)
    for row, seed in zip(got.flatten(1).tolist(), seeds.tolist(), strict=True):
        key = reference_mix(seed ^ stream)
        want = [reference_mix((key + (i + 1) * 0x9E3779B97F4A7C15) & MASK) for i in range(6)]
        assert [value & MASK for value in row] == want


def test_draws_do_not_depend_on_the_batch():
    seeds = image_seeds(0, range(50), "pgd")
    together = uniform(seeds, (3, 40, 40))
    alone = torch.cat([uniform(seeds[i : i + 1], (3, 40, 40)) for i in range(50)])
    assert torch.equal(together, alone)
    assert torch.equal(uniform(seeds.flip(0), (3, 40, 40)), together.flip(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_and_normal_have_their_distributions(dtype):
    seeds = image_seeds(1, range(20), "x")
    draws = uniform(seeds, (1000,), dtype=dtype)
    assert draws.dtype == dtype
    assert 0 <= draws.min()
    assert draws.max() < 1
    assert stats.kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal(seeds, (1000,), dtype=dtype).flatten().numpy(), "norm").pvalue > 1e-3
    correlation = torch.corrcoef(draws) - torch.eye(20, dtype=dtype)
    assert correlation.abs().max() < 0.15


def test_streams_and_keys_differ():
    seeds = image_seeds(0, [1], "pgd")
    assert not torch.equal(uniform(seeds, (8,)), uniform(seeds, (8,), stream=1))
    keys = {image_seed(s, i, c) for s in (0, 1) for i in (0, 1) for c in ("a", "b")}
    assert len(keys) == 8
    assert image_seed(0, 1, "fog/3") == 5045081127879408716  # the same on every machine and in every version
    assert np.array_equal(numpy_generator(0, 1, "a").random(4), numpy_generator(0, 1, "a").random(4))
