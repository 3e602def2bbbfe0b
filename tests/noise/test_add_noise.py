"""AddNoise: every kind of input it promises, its own options, and no state shared between instances."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from RobustART.core.seeding import numpy_generator
from RobustART.errors import ConfigError, DataError, UnknownNameError
from RobustART.noise import AddNoise, corrupt
from RobustART.noise.attacks import fgsm
from tests.conftest import make_picture

PICTURE = make_picture(3, 48, 40)


@pytest.fixture
def fog():
    noise = AddNoise("imagenet-c")
    noise.set_config(corruption_name="fog", severity=3)
    return noise


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48 * 40 * 3, 5)).eval()


def test_kinds_of_pictures(tmp_path, fog):
    expected = corrupt(PICTURE, "fog", 3, numpy_generator(0, 0, "fog/3"))
    before = PICTURE.copy()
    assert np.array_equal(fog.add_noise(PICTURE), expected)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert np.array_equal(fog.add_noise(tmp_path / "a.png"), expected)
    assert np.array_equal(fog.add_noise(str(tmp_path / "a.png")), expected)
    assert np.array_equal(fog.add_noise((tmp_path / "a.png").read_bytes()), expected)
    picture = fog.add_noise(Image.fromarray(PICTURE))
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.array(picture), expected)
    batch = fog.add_noise(np.stack([PICTURE] * 2))
    assert batch.shape == (2, *PICTURE.shape)
    assert np.array_equal(batch[0], expected)
    assert not np.array_equal(batch[0], batch[1])
    assert np.array_equal(PICTURE, before)


def test_number_and_name(fog):
    fog.set_config(corruption_number=0)
    assert np.array_equal(fog.add_noise(PICTURE), corrupt(PICTURE, "fog", 3, numpy_generator(0, 0, "fog/3")))
    fog.set_config(corruption_name=None, corruption_number=9)
    assert np.array_equal(fog.add_noise(PICTURE), corrupt(PICTURE, "fog", 3, numpy_generator(0, 0, "fog/3")))
    for number in (-1, 19, 1.0, None):
        fog.set_config(corruption_number=number)
        with pytest.raises(ConfigError, match="corruption_number from 0 to 18"):
            fog.add_noise(PICTURE)


@pytest.mark.parametrize("backend", ["robustart", "imagecorruptions"])
@pytest.mark.parametrize("quality", [None, 85])
def test_severity_zero_is_the_clean_picture(fog, quality, backend):
    fog.set_config(severity=0, jpeg_quality=quality, backend=backend)
    for picture in (PICTURE, PICTURE[..., 1], PICTURE[:20, :9], PICTURE[None]):
        same = fog.add_noise(picture)
        assert np.array_equal(same, picture)
        assert not np.shares_memory(same, picture)
    for severity in (6, -1, 2.5, 1.0, True, np.bool_(True), "3", None, [1]):
        fog.set_config(severity=severity)
        with pytest.raises(ConfigError, match=r"severity must be an integer from 0 \(clean\) to 5, got"):
            fog.add_noise(PICTURE)


def test_jpeg_quality_goes_through_a_file(fog):
    plain = fog.add_noise(PICTURE)
    fog.set_config(jpeg_quality=85)
    stored = fog.add_noise(PICTURE)
    assert not np.array_equal(plain, stored)
    assert np.abs(plain.astype(int) - stored).mean() < 6
    for severity in (0, 3):
        fog.set_config(jpeg_quality=101, severity=severity)
        with pytest.raises(ConfigError, match="jpeg_quality must be an integer from 1 to 100, got 101"):
            fog.add_noise(PICTURE)


def test_backend_is_an_option(fog):
    ours = fog.add_noise(PICTURE)
    fog.set_config(backend="imagecorruptions")
    rng = numpy_generator(0, 0, "fog/3")
    assert np.array_equal(fog.add_noise(PICTURE), corrupt(PICTURE, "fog", 3, rng, backend="imagecorruptions"))
    assert not np.array_equal(fog.add_noise(PICTURE), ours)
    fog.set_config(backend="cuda")
    with pytest.raises(ConfigError, match="backend must be one of robustart, imagecorruptions, got 'cuda'"):
        fog.add_noise(PICTURE)


def test_instances_share_nothing_and_seeds_matter(fog):
    other = AddNoise("imagenet-c", seed=1)
    assert other.get_config()["corruption_name"] is None
    other.set_config(corruption_name="fog", severity=3)
    assert not np.array_equal(fog.add_noise(PICTURE), other.add_noise(PICTURE))
    fog.get_config()["severity"] = 99
    assert fog.get_config()["severity"] == 3


def test_mistakes(fog, model):
    with pytest.raises(UnknownNameError, match="unknown noise 'imagenet_c'; did you mean 'imagenet-c'"):
        AddNoise("imagenet_c")
    with pytest.raises(ConfigError, match="unknown option 'severty' .*did you mean 'severity'"):
        fog.set_config(severty=3, severity=1)
    assert fog.get_config()["severity"] == 3
    with pytest.raises(DataError, match="cannot be read"):
        fog.add_noise("/no/such/file.png")
    with pytest.raises(
        ConfigError, match=r"imagenet-c takes a uint8 array .* got ndarray float64 \(48, 40, 3\); values in"
    ):
        fog.add_noise(PICTURE / 255)
    attack = AddNoise("fgsm")
    images = torch.rand(2, 3, 48, 40)
    with pytest.raises(ConfigError, match="needs a model"):
        attack.add_noise(images, [0, 1])
    attack.set_config(model=model)
    with pytest.raises(ConfigError, match="needs the true label"):
        attack.add_noise(images)
    with pytest.raises(ConfigError, match="labels must be 2 integers"):
        attack.add_noise(images, [0])
    with pytest.raises(ConfigError, match="takes a float tensor"):
        attack.add_noise("a.png", [0])
    for wrong in (np.array(3, np.uint8), PICTURE[..., 0], PICTURE[None, None], PICTURE / 255):
        with pytest.raises(ConfigError, match=r"fgsm takes uint8 arrays \(N, H, W, 3\) or \(H, W, 3\), got ndarray"):
            attack.add_noise(wrong, [0])
    with pytest.raises(ConfigError, match="given twice"):
        attack.set_config(model=model, f_model=model)


def test_attack_on_tensors_is_the_function(model):
    attack = AddNoise("fgsm")
    assert attack.get_config()["eps"] == 8 / 255
    attack.set_config(f_model=model, eps="2/255")
    images, labels = torch.rand(4, 3, 48, 40), torch.tensor([0, 1, 2, 3])
    before = images.clone()
    attacked = attack.add_noise(images, labels)
    assert torch.equal(attacked, fgsm(model, images, labels, eps=2 / 255))
    assert torch.equal(images, before)


def test_attack_on_pictures_stays_inside_the_ball(model):
    attack = AddNoise("pgd_linf", seed=3)
    attack.set_config(model=model, eps=2.5 / 255, num_steps=5)
    assert attack.get_config()["steps"] == 5
    attacked = attack.add_noise(PICTURE, 1)
    assert attacked.shape == PICTURE.shape
    assert attacked.dtype == np.uint8
    distance = np.abs(attacked.astype(int) - PICTURE)
    assert distance.max() == 2
    assert np.array_equal(attacked, attack.add_noise(PICTURE[None], [1])[0])


@pytest.mark.parametrize("seed", [None, "a", 1.5, True])
def test_a_seed_that_is_no_whole_number_is_refused_at_once(seed):
    with pytest.raises(ConfigError, match="seed must be an integer, got"):
        AddNoise("imagenet-c", seed=seed)


@pytest.mark.parametrize("kind", [5, None, ["imagenet-c"]])
def test_a_type_that_is_no_name_is_refused(kind):
    with pytest.raises(ConfigError, match="the type of a noise must be its name"):
        AddNoise(kind)
