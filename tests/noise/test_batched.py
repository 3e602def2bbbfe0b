"""The batched corruptions against those of one image: the same draws, the same pictures within a grey level."""

import numpy as np
import pytest
import torch

from RobustART.errors import ConfigError, UnknownNameError
from RobustART.noise import CORRUPTIONS, corrupt
from RobustART.noise.corruptions.device import BATCHED, corrupt_batch
from tests.noise.test_corruption_fidelity import check_close, picture

EXACT = {
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "frost", "brightness", "contrast", "saturate",
}  # fmt: skip
"""What is looked up in tables, or computed by the same operations."""


def generators(count, first=0):
    return [np.random.default_rng(first + i) for i in range(count)]


def images(height=64, width=64, count=3):
    return torch.from_numpy(np.stack([picture(height, width, seed) for seed in range(count)]))


def test_what_is_not_batched_is_named():
    assert set(CORRUPTIONS) - set(BATCHED) == {"glass_blur", "jpeg_compression", "spatter"}
    for name in set(CORRUPTIONS) - set(BATCHED):
        with pytest.raises(ConfigError, match=f"'{name}' is made on the CPU, image by image"):
            corrupt_batch(images(), name, 1, rngs=generators(3))


@pytest.mark.parametrize("name", list(BATCHED))
@pytest.mark.parametrize("size", [(64, 64), (40, 70), (96, 33)])
def test_as_image_by_image(name, size):
    batch = images(*size)
    before = batch.clone()
    for severity in range(1, 6):
        got = corrupt_batch(batch, name, severity, rngs=generators(3))
        assert got.dtype == torch.uint8
        for one, image, rng in zip(got.numpy(), batch.numpy(), generators(3), strict=True):
            want = corrupt(image, name, severity, rng)
            check_close(one, want)
            assert name not in EXACT or np.array_equal(one, want)
    assert torch.equal(batch, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("size", [(64, 64), (40, 70), (224, 224)])
def test_on_a_gpu_as_on_the_cpu(size):
    batch = images(*size)
    for name in BATCHED:
        for severity in range(1, 6):
            got = corrupt_batch(batch, name, severity, rngs=generators(3), device="cuda")
            assert got.device.type == "cuda"
            for one, image, rng in zip(got.cpu().numpy(), batch.numpy(), generators(3), strict=True):
                check_close(one, corrupt(image, name, severity, rng))


@pytest.mark.parametrize("name", list(BATCHED))
def test_at_the_benchmarks_size(name):
    batch = images(224, 224, 1)
    got = corrupt_batch(batch, name, 4, rngs=generators(1))[0].numpy()
    check_close(got, corrupt(batch[0].numpy(), name, 4, np.random.default_rng(0)), 0.9999)


@pytest.mark.parametrize("name", list(BATCHED))
def test_the_batch_does_not_matter(name):
    batch = images(count=4)
    together = corrupt_batch(batch, name, 5, rngs=generators(4)).numpy()
    for i in range(4):
        alone = corrupt_batch(batch[i : i + 1], name, 5, rngs=generators(1, i)).numpy()
        check_close(together[i], alone[0], 0.9999)


@pytest.mark.parametrize("name", list(BATCHED))
def test_black_white_and_severity_zero(name):
    batch = torch.stack([torch.zeros(32, 40, 3), torch.full((32, 40, 3), 255)]).byte()
    for severity in (1, 5):
        got = corrupt_batch(batch, name, severity, rngs=generators(2)).numpy()
        for one, image, rng in zip(got, batch.numpy(), generators(2), strict=True):
            check_close(one, corrupt(image, name, severity, rng))
    same = corrupt_batch(batch, name, 0, rngs=generators(2))
    assert torch.equal(same, batch)
    assert same.data_ptr() != batch.data_ptr()


def test_mistakes():
    batch = images(32, 32)
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'; did you mean 'fog'"):
        corrupt_batch(batch, "fogg", 1, rngs=generators(3))
    for severity in (6, True, 1.0):
        with pytest.raises(ConfigError, match="severity must be an integer from 0"):
            corrupt_batch(batch, "fog", severity, rngs=generators(3))
    for wrong in (batch.float(), batch.numpy(), batch[0], batch.permute(0, 3, 1, 2), batch[:0], None):
        with pytest.raises(ConfigError, match=r"takes a uint8 tensor \(N, H, W, 3\), N at least 1, got"):
            corrupt_batch(wrong, "fog", 1, rngs=generators(3))
    with pytest.raises(ConfigError, match="fog needs 32 x 32 pixels or more, got 31 x 32"):
        corrupt_batch(batch[:, 1:], "fog", 1, rngs=generators(3))
    for device in ("xyz", "cuda:99", 1.5):
        with pytest.raises(ConfigError, match=f"device must be one of torch's that is here, got {device!r}"):
            corrupt_batch(batch, "fog", 1, rngs=generators(3), device=device)
    for rngs in (generators(2), [1, 2, 3], 5, None):
        with pytest.raises(ConfigError, match=r"rngs must be 3 numpy\.random\.Generators"):
            corrupt_batch(batch, "fog", 1, rngs=rngs)
