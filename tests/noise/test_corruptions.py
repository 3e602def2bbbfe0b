"""ImageNet-C's corruptions at the door: seeded by their own generator, in range, new, at any size, by either backend."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from RobustART.errors import ConfigError, UnknownNameError
from RobustART.metrics.corruption import SCORED
from RobustART.noise import CORRUPTIONS, corrupt
from RobustART.noise.corruptions import BACKENDS, GROUPS
from RobustART.noise.corruptions.weather import frost_folder
from tests.conftest import ROOT, make_picture

PICTURE = make_picture(3, 64, 80)
RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
    "elastic_transform", "spatter",
}  # fmt: skip


def test_names_and_order_are_the_originals():
    assert len(CORRUPTIONS) == 19
    assert tuple(CORRUPTIONS)[:15] == SCORED
    assert [f.__name__ for f in GROUPS["extra"]] == ["speckle_noise", "gaussian_blur", "spatter", "saturate"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_contract(name, backend):
    before, state = PICTURE.copy(), np.random.get_state()[1].copy()
    for severity in range(1, 6) if backend == "robustart" else (1, 5):
        noisy = corrupt(PICTURE, name, severity, np.random.default_rng(1), backend=backend)
        assert noisy.shape == PICTURE.shape
        assert noisy.dtype == np.uint8
        assert noisy.flags.owndata or noisy.base is not PICTURE
        assert not np.array_equal(noisy, PICTURE)
        np.random.random(3)  # what others draw must not matter
        again = corrupt(PICTURE, name, severity, np.random.default_rng(1), backend=backend)
        assert np.array_equal(noisy, again)
        other = corrupt(PICTURE, name, severity, np.random.default_rng(2), backend=backend)
        assert (not np.array_equal(noisy, other)) == (name in RANDOM)
    assert np.array_equal(PICTURE, before)
    np.random.set_state(("MT19937", state, 624, 0, 0.0))
    corrupt(PICTURE, name, 1, backend=backend)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
@pytest.mark.parametrize("size", [(32, 32), (33, 101), (150, 37), (300, 260)])
def test_any_size_and_grey_black_and_white(name, size):
    picture = make_picture(1, *size)
    grey = np.repeat(picture[..., :1], 3, axis=2)
    black, white = np.zeros_like(picture), np.full_like(picture, 255)
    for severity, image in ((1, picture), (5, picture), (3, grey), (2, black), (4, white)):
        noisy = corrupt(image, name, severity, np.random.default_rng(0))
        assert noisy.shape == image.shape
        assert noisy.dtype == np.uint8
    turned = np.asfortranarray(picture)[::-1, ::-1]
    assert np.array_equal(corrupt(turned, name, 4), corrupt(np.ascontiguousarray(turned), name, 4))
    readonly = picture.copy()
    readonly.flags.writeable = False
    assert np.array_equal(corrupt(readonly, name, 2), corrupt(picture, name, 2))


@pytest.fixture(scope="module")
def textured():
    """A picture with detail at every scale, as photos have."""
    rng = np.random.default_rng(0)
    layers = [
        Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)
        for n in (4, 8, 16, 32, 64)
    ]
    mean = np.mean([np.asarray(layer, float) for layer in layers], axis=0)
    return ((mean - mean.min()) / np.ptp(mean) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_grows_with_severity(name, textured):
    distance = [
        np.mean(
            [
                np.abs(corrupt(textured, name, s, np.random.default_rng(i)).astype(float) - textured).mean()
                for i in range(12)
            ]
        )
        for s in range(1, 6)
    ]
    # The official parameters do not rise everywhere: fewer rounds, paler frost, small waves for broad ones, a rounder factor.
    falls = {"glass_blur": 4, "frost": 4, "elastic_transform": 3, "pixelate": 2}.get(name)
    for severity in range(2, 6):
        if severity != falls:
            assert distance[severity - 1] > 0.97 * distance[severity - 2], distance
    assert distance[4] > 1.25 * distance[0] or name in ("frost", "elastic_transform"), distance


def test_threads_do_not_change_a_pixel():
    """Loader processes switch OpenCV's threads off, the main process does not; result files must be equal all the same."""
    import cv2

    image, threads = make_picture(2, 224, 224), cv2.getNumThreads()
    found = []
    try:
        for number in (0, 3):
            cv2.setNumThreads(number)
            found.append([corrupt(image, name, s, np.random.default_rng(s)) for name in CORRUPTIONS for s in (2, 5)])
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(first, second) for first, second in zip(*found, strict=True))


def test_channels_of_grey_pictures_stay_equal_where_they_should():
    grey = np.repeat(make_picture(1, 48, 64)[..., :1], 3, axis=2)
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "fog", "brightness", "contrast"):
        noisy = corrupt(grey, name, 3).astype(int)
        assert np.abs(noisy - noisy[..., :1]).max() <= 1, name


def test_same_as_the_library_given_its_seeds():
    import imagecorruptions

    rng = np.random.default_rng(5)
    first = int(rng.integers(0, 2**32, size=2)[0])
    np.random.seed(first)
    expected = imagecorruptions.corrupt(PICTURE, severity=3, corruption_name="gaussian_noise")
    found = corrupt(PICTURE, "gaussian_noise", 3, np.random.default_rng(5), backend="imagecorruptions")
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_severity_zero_is_a_copy(backend):
    same = corrupt(PICTURE, "fog", 0, backend=backend)
    assert np.array_equal(same, PICTURE)
    assert same is not PICTURE


def test_bad_input_is_named():
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'; did you mean 'fog'"):
        corrupt(PICTURE, "fogg")
    for severity in (-1, 6, 2.5, True, "3"):
        with pytest.raises(ConfigError, match="severity must be an integer from 0"):
            corrupt(PICTURE, "fog", severity)
    for image in (PICTURE / 255.0, PICTURE[..., :2], np.array(3)):
        with pytest.raises(ConfigError, match="takes a uint8 array"):
            corrupt(image, "fog")
    with pytest.raises(ConfigError, match="needs 32 x 32 pixels or more, got 20 x 80"):
        corrupt(PICTURE[:20], "fog")
    with pytest.raises(ConfigError, match="backend must be one of robustart, imagecorruptions, got 'cuda'"):
        corrupt(PICTURE, "fog", backend="cuda")


def test_own_corruptions_are_not_the_librarys():
    CORRUPTIONS.add("black", lambda image, severity, rng: image * 0)
    try:
        assert corrupt(PICTURE[:5], "black").max() == 0
        with pytest.raises(ConfigError, match="19 corruptions only, not 'black'"):
            corrupt(PICTURE, "black", backend="imagecorruptions")
    finally:
        CORRUPTIONS.remove("black")


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

    monkeypatch.setattr("RobustART.core.optional.importlib.import_module", missing)
    with pytest.raises(ConfigError, match=advice):
        corrupt(PICTURE, "fog", backend="imagecorruptions")


def test_missing_frost_pictures_name_their_package(monkeypatch, tmp_path):
    assert frost_folder().name == "frost"
    monkeypatch.setattr("RobustART.noise.corruptions.weather.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match="frost needs the pictures .* not installed: pip install imagecorruptions-imaug"
    ):
        frost_folder()


def test_library_is_not_imported():
    """Frost reads the library's pictures; numba and scikit-image, which it imports, are not wanted for that."""
    program = (
        "import sys, numpy as np\nfrom RobustART.noise import CORRUPTIONS, corrupt\nassert 'cv2' not in sys.modules\n"
        "for name in CORRUPTIONS: corrupt(np.zeros((32, 40, 3), np.uint8), name)\n"
        "assert not {'imagecorruptions', 'numba', 'skimage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
