"""Every kind of picture through every image noise, back in its kind; and what is no picture, named."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from RobustART.core.imaging import DECODERS, RESIZES, decode
from RobustART.core.seeding import numpy_generator
from RobustART.errors import ConfigError, DataError, UnknownNameError, UserError
from RobustART.noise import CORRUPTIONS, PERTURBATIONS, AddNoise, corrupt, perturb
from RobustART.noise.corruptions import CHANNELWISE
from RobustART.noise.system import system_noise
from tests.conftest import make_picture

PICTURE = make_picture(3, 48, 40)
GREY = PICTURE[..., 1].copy()
THREE = np.repeat(GREY[..., None], 3, axis=2)
NOISES = [*CORRUPTIONS, "imagenet-s"]


def made(name, seed=0):
    if name == "imagenet-s":
        noise = AddNoise("imagenet-s", seed)
        noise.set_config(resize_type="opencv-area", transform_type="train", size=32)
    else:
        noise = AddNoise("imagenet-c", seed)
        noise.set_config(corruption_name=name, severity=3)
    return noise


def png(image):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", NOISES)
def test_every_kind_comes_back_as_it_was(name, tmp_path):
    noise, before = made(name), PICTURE.copy()
    want = noise.add_noise(PICTURE)
    assert want.dtype == np.uint8
    assert want.shape == ((32, 32, 3) if name == "imagenet-s" else PICTURE.shape)
    path = tmp_path / "a.png"
    path.write_bytes(png(PICTURE))
    for same in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), np.asfortranarray(PICTURE)):
        assert np.array_equal(noise.add_noise(same), want)
    picture = noise.add_noise(Image.fromarray(PICTURE))
    assert picture.mode == "RGB"
    assert np.array_equal(np.array(picture), want)
    grey = noise.add_noise(GREY)
    assert grey.shape == want.shape[:2]
    assert grey.dtype == np.uint8
    picture = noise.add_noise(Image.fromarray(GREY))
    assert picture.mode == "L"
    assert np.array_equal(np.array(picture), grey)
    batch = noise.add_noise(np.stack([PICTURE] * 3))
    assert np.array_equal(batch[0], want)
    listed = noise.add_noise([PICTURE, Image.fromarray(PICTURE), path, GREY])
    assert isinstance(listed, list)
    assert [type(one) for one in listed] == [np.ndarray, Image.Image, np.ndarray, np.ndarray]
    assert all(np.array_equal(one, row) for one, row in zip(listed, batch, strict=False))  # draws go by the number
    assert listed[3].shape == grey.shape
    assert np.array_equal(PICTURE, before)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_grey_pictures_are_seen_with_three_equal_channels(name):
    rng = [np.random.default_rng(5) for _ in range(3)]
    grey, colour = corrupt(GREY, name, 4, rng[0]), corrupt(THREE, name, 4, rng[1])
    if name in CHANNELWISE:  # noise is drawn once, with the spread that each channel has
        deviation = (grey.astype(float) - GREY).std(), (colour.astype(float) - THREE).std()
        assert deviation[0] == pytest.approx(deviation[1], rel=0.08)
    else:
        assert np.array_equal(grey, np.array(Image.fromarray(colour).convert("L")))
    library = corrupt(GREY, name, 4, rng[2], backend="imagecorruptions")
    assert library.shape == GREY.shape


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I;16"])
def test_other_modes_are_converted_by_the_rule_of_decoding(mode):
    if mode == "I;16":
        picture, grey = Image.fromarray(GREY.astype(np.uint16) * 257), True
    else:
        picture, grey = Image.fromarray(PICTURE).convert(mode), mode in ("1", "LA")
    noisy = made("pixelate").add_noise(picture)
    assert noisy.mode == ("L" if grey else "RGB")
    plain = GREY if mode == "I;16" else np.array(picture.convert("L" if grey else "RGB"))
    assert np.array_equal(np.array(noisy), corrupt(plain, "pixelate", 3))


def test_pil_images_that_cannot_be_are_refused(tmp_path):
    for picture in (Image.fromarray(GREY.astype(np.float32)), Image.fromarray(GREY.astype(np.int32))):
        with pytest.raises(DataError, match="32 bits a pixel"):
            corrupt(picture, "fog")
    (tmp_path / "half.png").write_bytes(png(PICTURE)[:600])
    with pytest.raises(DataError, match="the PIL image of mode 'RGB' cannot be read"):
        corrupt(Image.open(tmp_path / "half.png"), "fog")
    with pytest.raises(DataError, match=r"half\.png cannot be decoded"):
        corrupt(tmp_path / "half.png", "fog")
    with pytest.raises(DataError, match=r"a.*b' cannot be read"):
        corrupt("a\0b", "fog")


@pytest.mark.parametrize("name", list(CORRUPTIONS))
@pytest.mark.parametrize("shape", [(32, 32), (32, 1500), (1100, 33)])
def test_any_aspect(name, shape):
    picture = make_picture(1, *shape)
    for image in (picture, picture[..., 0]):
        assert corrupt(image, name, 5).shape == image.shape


def test_alone_or_among_others_the_first_has_the_same_draws():
    noise = made("gaussian_noise", seed=4)
    alone = noise.add_noise(PICTURE)
    assert np.array_equal(alone, corrupt(PICTURE, "gaussian_noise", 3, numpy_generator(4, 0, "gaussian_noise/3")))
    for several in (np.stack([PICTURE] * 2), [PICTURE] * 2, (PICTURE, PICTURE)):
        first, second = noise.add_noise(several)
        assert np.array_equal(first, alone)
        assert np.array_equal(second, corrupt(PICTURE, "gaussian_noise", 3, numpy_generator(4, 1, "gaussian_noise/3")))


def test_jpeg_quality_of_a_grey_picture_is_that_of_a_grey_file():
    noise = made("pixelate")
    noise.set_config(jpeg_quality=40)
    buffer = io.BytesIO()
    Image.fromarray(corrupt(GREY, "pixelate", 3)).save(buffer, "JPEG", quality=40)
    assert np.array_equal(noise.add_noise(GREY), decode(buffer.getvalue())[..., 0])


NO_PICTURES = {
    "number": 3,
    "None": None,
    "text as a set": {"a.png"},
    "list of lists": PICTURE.tolist(),
    "0-d": np.array(7, np.uint8),
    "1-d": np.zeros(40, np.uint8),
    "two channels": PICTURE[..., :2],
    "four channels": np.dstack([PICTURE, GREY]),
    "channels first": PICTURE.transpose(2, 0, 1),
    "float": PICTURE / 255,
    "signed": PICTURE.astype(np.int16),
    "truth values": PICTURE > 9,
    "objects": PICTURE.astype(object),
    "empty": np.zeros((0, 0, 3), np.uint8),
    "no rows": np.zeros((0, 40, 3), np.uint8),
    "no columns": np.zeros((40, 0, 3), np.uint8),
    "tensor": torch.zeros(3, 40, 40),
    "five dimensions": np.zeros((1, 1, 40, 40, 3), np.uint8),
}
SMALL = {"a row": PICTURE[:1], "seven columns": PICTURE[:, :7]}
REFUSAL = r"(takes|needs) .*(, got |got )"


def check_refused(function, wrong, match=REFUSAL):
    for what, value in wrong.items():
        try:
            function(value)
        except UserError as error:
            if not re.search(match, str(error)):
                raise
        else:
            pytest.fail(f"{what} was taken for a picture")


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_corruptions_name_what_is_no_picture(name):
    check_refused(lambda value: corrupt(value, name, 1), NO_PICTURES)


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_perturbations_name_what_is_no_picture(name):
    wrong = {**NO_PICTURES, "greyscale": GREY, "path": "a.png", "PIL image": Image.fromarray(PICTURE)}
    check_refused(lambda value: perturb(value, name), wrong)


@pytest.mark.parametrize("decoder", list(DECODERS))
def test_system_noise_names_what_is_no_picture(decoder):
    wrong = {**NO_PICTURES, "greyscale": GREY, "PIL image": Image.fromarray(PICTURE)}
    check_refused(lambda value: system_noise(value, decoder=decoder), wrong, f"{REFUSAL}|needs a file")


@pytest.mark.parametrize("noise", ["fog", "imagenet-s"])
def test_add_noise_names_what_is_no_picture(noise):
    check_refused(made(noise).add_noise, NO_PICTURES)
    check_refused(
        lambda value: made(noise).add_noise([PICTURE, value]), NO_PICTURES, f"for picture 1 of the list, {REFUSAL}"
    )


def test_nothing_is_no_call():
    for nothing in ([], (), np.zeros((0, 40, 40, 3), np.uint8), np.zeros((2, 0, 40, 3), np.uint8)):
        with pytest.raises(ConfigError, match="picture, got an empty|at least 1, got|pixels or more, got 0 x 40"):
            made("fog").add_noise(nothing)


@pytest.mark.parametrize("size", SMALL)
def test_what_is_too_small_is_named(size):
    for name in CORRUPTIONS:
        for image in (SMALL[size], SMALL[size][..., 0]):
            with pytest.raises(ConfigError, match=rf"{name} needs 32 x 32 pixels or more, got \d+ x \d+"):
                corrupt(image, name, 1)
    for name in PERTURBATIONS:
        with pytest.raises(ConfigError, match="a perturbation needs 8 x 8 pixels or more, got"):
            perturb(SMALL[size], name)
    for name in RESIZES:
        assert system_noise(SMALL[size], resize=name, size=8).shape == (8, 8, 3)


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_the_smallest_photo_and_frame_of_perturbations(name):
    made = perturb(make_picture(0, 8, 11), name, size=8)
    assert made.shape == (41 if name == "translate" else 31, 8, 8, 3)


def test_other_arguments_are_named_too():
    for call in (corrupt, perturb):
        with pytest.raises(UnknownNameError, match=r"unknown (corruption|perturbation) \['fog'\]"):
            call(PICTURE, ["fog"])
        with pytest.raises(ConfigError, match=r"rng must be a numpy\.random\.Generator, as .* got 3"):
            call(PICTURE, "motion_blur", rng=3)
    with pytest.raises(ConfigError, match=r"rng must be a numpy\.random\.Generator"):
        system_noise(PICTURE, rng=3)
    with pytest.raises(UnknownNameError, match="unknown decoder None"):
        system_noise(PICTURE, decoder=None)
    for size in (7, 8.0, True, "224"):
        with pytest.raises(ConfigError, match="the frames' size must be an integer from 8 up"):
            perturb(PICTURE, "rotate", size=size)
