"""ImageNet-P's sequences: frames that must be the photo, moves that can be counted in pixels, noise of the stated size."""

import ast
import math

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from RobustART.errors import ConfigError, UnknownNameError
from RobustART.metrics import stability
from RobustART.noise import PERTURBATIONS, perturb
from RobustART.noise.corruptions import pixels
from RobustART.noise.corruptions.pixels import motion_blur
from tests.conftest import ROOT, make_picture
from tests.noise.official import clipped_zoom, finish, line_blur

PHOTO = make_picture(4, 256, 300)
CLEAN = PHOTO[16:240, 38:262]
GREY = np.full((256, 300, 3), 128, np.uint8)


CORRUPTION_FILES = ("noise", "blur", "weather", "digital", "pixels", "sampling")


def resize_and_crop(size):
    """The clean frame of :data:`PHOTO` at another size."""
    return perturb(PHOTO, "brightness", size=size)[15]


def frames(name, photo=PHOTO, seed=0):
    return perturb(photo, name, rng=np.random.default_rng(seed))


def test_names_are_the_benchmarks():
    assert {name for name in PERTURBATIONS if not name.endswith(("_2", "_3"))} == set(stability.PUBLISHED_PERTURBATIONS)
    for name in ("gaussian_noise", "shot_noise", "speckle_noise"):
        assert {f"{name}_2", f"{name}_3"} <= set(PERTURBATIONS)


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_contract(name):
    before = PHOTO.copy()
    made = perturb(PHOTO[:, :280], name, size=64, rng=np.random.default_rng(3))
    assert made.shape == (41 if name == "translate" else 31, 64, 64, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made, perturb(PHOTO[:, :280], name, size=64, rng=np.random.default_rng(3)))
    random = stability.is_noise(name) or name in ("snow", "spatter")
    assert np.array_equal(made, perturb(PHOTO[:, :280], name, size=64, rng=np.random.default_rng(4))) != random
    assert np.array_equal(PHOTO, before)
    changes = np.abs(np.diff(made.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert changes.mean() > 0.03
    if not stability.is_noise(name):
        assert changes.max() < 30


@pytest.mark.parametrize(
    ("name", "index"),
    [("gaussian_noise", 0), ("shot_noise_3", 0), ("speckle_noise_2", 0), ("zoom_blur", 0), ("brightness", 15),
     ("translate", 20), ("rotate", 15), ("scale", 24), ("shear", 15)],
)  # fmt: skip
def test_one_frame_is_the_photo(name, index):
    assert np.abs(frames(name)[index].astype(int) - CLEAN).max() <= 1


def test_tilt_in_the_middle_is_the_photo_one_pixel_away():
    assert np.abs(frames("tilt")[15].astype(int) - CLEAN).mean() < 0.5


def test_translate_moves_by_whole_pixels():
    made = frames("translate")
    for i in (5, 27):
        assert np.array_equal(made[i], PHOTO[16:240, 38 - (i - 20) : 262 - (i - 20)])


@pytest.mark.parametrize(("name", "index", "how"), [("rotate", 22, {"angle": 7}), ("scale", 30, {"scale": 1.15})])
def test_moves_are_torchvisions_but_for_half_a_pixel(name, index, how):
    how = {"angle": 0, "scale": 1, **how}
    bilinear = transforms.InterpolationMode.BILINEAR
    moved = functional.affine(Image.fromarray(PHOTO), translate=(0, 0), shear=0, interpolation=bilinear, **how)
    want = np.array(functional.center_crop(moved, 224)).astype(int)
    got = frames(name)[index].astype(int)
    other = frames(name)[30 - index if name == "rotate" else 20].astype(int)
    assert np.abs(got - want).mean() < 1.5
    assert np.abs(other - want).mean() > 6  # the other way round


def test_scale_leaves_black_around_what_is_small():
    first = frames("scale", GREY)[0]
    white = first[112, :, 0] > 0
    assert white.sum() == pytest.approx(0.4 * 300, abs=2)
    assert first[0, 0].tolist() == [0, 0, 0]


def test_shear_moves_rows_by_the_tangent():
    photo = np.zeros((256, 256, 3), np.uint8)
    photo[:, 127:129] = 255
    last = frames("shear", photo)[30]
    columns = [int(np.argmax(last[row, :, 0])) for row in (20, 200)]
    assert abs(columns[1] - columns[0]) == pytest.approx(
        180 * math.tan(math.radians(15)) * math.cos(math.radians(15)), abs=2
    )


@pytest.mark.parametrize(
    ("name", "deviation"),
    [("gaussian_noise", 0.03 * 255), ("gaussian_noise_2", 0.05 * 255), ("gaussian_noise_3", 0.08 * 255),
     ("shot_noise", math.sqrt(128 / 255 / 300) * 255), ("shot_noise_3", math.sqrt(128 / 255 / 60) * 255),
     ("speckle_noise", 0.05 * 128), ("speckle_noise_3", 0.15 * 128)],
)  # fmt: skip
def test_noise_has_the_stated_deviation(name, deviation):
    made = frames(name, GREY)[1:].astype(float)
    assert made.std() == pytest.approx(deviation, rel=0.02)
    assert made.mean() == pytest.approx(127.5, abs=0.3)  # cut, not rounded
    assert abs(np.corrcoef(made[0].ravel(), made[1].ravel())[0, 1]) < 0.02


def test_brightness_adds_to_the_value():
    made = frames("brightness", GREY)
    assert [int(made[i][0, 0, 0]) for i in (0, 15, 30)] == [int(128 - 76.5), 128, int(128 + 76.5)]


def test_brightness_keeps_the_hue():
    red = np.zeros((64, 64, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    made = perturb(red, "brightness", size=56)[5][0, 0].astype(float)
    assert made / made[0] == pytest.approx(np.array([1, 0.5, 0.25]), abs=0.02)


def test_blurs_widen():
    for name in ("gaussian_blur", "zoom_blur"):
        made = frames(name, np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
        spread = [made[i].std() for i in (0, 15, 30)]
        assert spread[0] > spread[1] > spread[2]


def test_motion_blur_smears_to_one_side():
    dot = np.zeros((41, 41), np.uint8)
    dot[20, 20] = 255
    blurred = motion_blur(dot, 10, 3, 0)
    kernel = np.exp(-(np.arange(21) ** 2) / 18)
    assert blurred[20, 20] == round(255 / kernel.sum())
    assert blurred[20, 17] == round(255 * kernel[3] / kernel.sum())
    assert blurred[20, 21:].sum() == 0
    assert int(blurred.sum()) == pytest.approx(255, abs=6)
    assert np.array_equal(motion_blur(dot.T.copy(), 10, 3, 90), blurred.T)
    assert np.array_equal(motion_blur(GREY, 10, 3, 30), GREY)


def test_snow_brightens_and_falls():
    made = frames("snow", GREY)
    assert made.min() >= 128
    assert made[0].mean() > 135
    assert not np.array_equal(made[0], made[30])


def test_spatter_flows_down():
    made = frames("spatter", np.full((256, 256, 3), 60, np.uint8)).astype(float)
    wet = (made.max(axis=3) > 62).mean(axis=(1, 2))
    assert (wet > 0.005).all()
    assert made.max() > 100


def test_motion_blur_is_imagemagicks():
    made = perturb(PHOTO, "motion_blur", size=56)
    clean = resize_and_crop(56)
    for i in (0, 13, 30):
        assert np.array_equal(made[i], line_blur(clean, 10, 3, (i - 30) * 4))


def test_brightness_is_the_value_of_hsv():
    from skimage.color import hsv2rgb, rgb2hsv

    made, clean = perturb(PHOTO, "brightness", size=56), resize_and_crop(56) / 255.0
    for i in (0, 8, 22, 30):
        colours = rgb2hsv(clean)
        colours[..., 2] = np.clip(colours[..., 2] + (i - 15) * 2 / 100, 0, 1)
        assert np.abs(made[i] - np.round(hsv2rgb(colours) * 255, 6)).max() < 1  # cut off, not rounded


def test_snow_is_the_official_layers_motion():
    made, clean = perturb(PHOTO, "snow", size=56, rng=np.random.default_rng(2)), resize_and_crop(56) / 255.0
    layer = clipped_zoom(np.random.default_rng(2).normal(0.05, 0.3, (56, 56)), 3)
    layer = finish(np.where(layer < 0.5, 0, layer))
    pale = 0.85 * clean + 0.15 * np.maximum(clean, (clean @ (0.299, 0.587, 0.114))[..., None] * 1.5 + 0.5)
    for i in (0, 17, 30):
        fallen = line_blur(layer, 14, 4, i * 4 - 150)[..., None] / 255.0
        apart = made[i].astype(int) - finish(pale + fallen + np.rot90(fallen, 2))
        assert np.abs(apart).max() <= 1
        assert (apart != 0).mean() < 1e-3


def test_raised_value_of_corruptions_and_of_perturbations():
    assert np.array_equal(pixels.raise_value(CLEAN, 0.0, 255e-9), CLEAN)
    assert np.array_equal(perturb(PHOTO, "brightness")[20], pixels.raise_value(CLEAN, 0.1, 255e-9))


@pytest.mark.parametrize("path", ["perturbations.py", *(f"corruptions/{name}.py" for name in CORRUPTION_FILES)])
def test_no_blas(path):
    """The sums of a BLAS depend on its build and its threads; products with sparse matrices are scipy's own."""
    tree = ast.parse((ROOT / "RobustART" / "noise" / path).read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"dot", "matmul", "einsum", "tensordot", "inner", "vdot", "linalg"}
    products = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult)]
    assert [ast.unparse(n.left) for n in products] == (["down", "across"] if path.endswith("blur.py") else [])


def test_mistakes():
    with pytest.raises(UnknownNameError, match="unknown perturbation 'rotatee'; did you mean 'rotate'"):
        perturb(PHOTO, "rotatee")
    with pytest.raises(ConfigError, match="size must be an integer from 8 up, got 0"):
        perturb(PHOTO, "rotate", size=0)
