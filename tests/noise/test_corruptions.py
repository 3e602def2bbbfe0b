"""ImageNet-C's corruptions: seeded by their own generator, in range, new."""

import numpy as np
import pytest

from RobustART.errors import ConfigError, UnknownNameError
from RobustART.metrics.summaries import SCORED
from RobustART.noise import CORRUPTIONS, corrupt
from RobustART.noise.corruptions import GROUPS
from tests.conftest import make_picture

PICTURE = make_picture(3, 64, 80)
RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
    "elastic_transform", "spatter",
}  # fmt: skip


def test_names_and_order_are_the_originals():
    assert len(CORRUPTIONS) == 19
    assert tuple(CORRUPTIONS)[:15] == SCORED
    assert tuple(CORRUPTIONS)[15:] == GROUPS["extra"]


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_contract(name):
    before, state = PICTURE.copy(), np.random.get_state()[1].copy()
    for severity in (1, 5):
        noisy = corrupt(PICTURE, name, severity, np.random.default_rng(1))
        assert noisy.shape == PICTURE.shape
        assert noisy.dtype == np.uint8
        assert not np.array_equal(noisy, PICTURE)
        np.random.random(3)  # what others draw must not matter
        assert np.array_equal(noisy, corrupt(PICTURE, name, severity, np.random.default_rng(1)))
        differs = not np.array_equal(noisy, corrupt(PICTURE, name, severity, np.random.default_rng(2)))
        assert differs == (name in RANDOM)
    assert np.array_equal(PICTURE, before)
    np.random.set_state(("MT19937", state, 624, 0, 0.0))
    corrupt(PICTURE, name, 1)
    assert np.array_equal(np.random.get_state()[1], state)


def test_same_as_the_library_given_its_seeds():
    import imagecorruptions

    rng = np.random.default_rng(5)
    first = int(rng.integers(0, 2**32, size=2)[0])
    np.random.seed(first)
    expected = imagecorruptions.corrupt(PICTURE, severity=3, corruption_name="gaussian_noise")
    assert np.array_equal(corrupt(PICTURE, "gaussian_noise", 3, np.random.default_rng(5)), expected)


def test_severity_zero_is_a_copy():
    same = corrupt(PICTURE, "fog", 0)
    assert np.array_equal(same, PICTURE)
    assert same is not PICTURE


def test_bad_input_is_named():
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'; did you mean 'fog'"):
        corrupt(PICTURE, "fogg")
    for severity in (-1, 6, 2.5, True, "3"):
        with pytest.raises(ConfigError, match="severity must be a whole number from 0"):
            corrupt(PICTURE, "fog", severity)
    for image in (PICTURE / 255.0, PICTURE[..., 0], PICTURE.tolist()):
        with pytest.raises(ConfigError, match="takes a uint8 array"):
            corrupt(image, "fog")
    with pytest.raises(ConfigError, match="needs 32 x 32 pixels or more, got 20 x 80"):
        corrupt(PICTURE[:20], "fog")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("No module named 'imagecorruptions'", "pip install imagecorruptions-imaug"),
        ("libGL.so.1: cannot open shared object file", "pip install --force-reinstall opencv-python-headless"),
    ],
)
def test_missing_library_names_its_package(monkeypatch, reason, advice):
    def missing(name):
        raise ImportError(reason)

    monkeypatch.setattr("RobustART.optional.importlib.import_module", missing)
    with pytest.raises(ConfigError, match=advice):
        corrupt(PICTURE, "fog")
