"""ImageNet-S: decoders and resizes by known answers, and the same rule for turned pictures in all of them."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision import transforms

from RobustART.core.imaging import DECODERS, RESIZES, decode
from RobustART.core.imaging.decoding import turn
from RobustART.errors import ConfigError, DataError, UnknownNameError
from RobustART.noise import AddNoise
from RobustART.noise.system import random_resized_crop, system_noise
from tests.conftest import make_picture

THREE = ("pil", "opencv", "ffmpeg")
ALL_BUT_JPEG_ONLY = (*THREE, "torchvision")


def textured(height=300, width=260):
    """Smooth colour under fine noise, so that every filter leaves its own trace."""
    noise = np.random.default_rng(1).integers(-40, 41, (height, width, 3))
    return (make_picture(2, height, width).astype(int) // 2 + 64 + noise).clip(0, 255).astype(np.uint8)


TEXTURED = textured()


def packed(image, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("decoder", ALL_BUT_JPEG_ONLY)
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_decoders_agree_exactly_without_loss(decoder, kind):
    if decoder == "torchvision" and kind == "BMP":
        with pytest.raises(DataError, match="cannot be decoded by torchvision"):
            decode(packed(TEXTURED, kind), decoder=decoder)
        return
    assert np.array_equal(decode(packed(TEXTURED, kind), decoder=decoder), TEXTURED)
    grey = decode(packed(TEXTURED[..., 0], "PNG"), decoder=decoder)
    assert np.array_equal(grey, np.stack([TEXTURED[..., 0]] * 3, axis=-1))


@pytest.mark.parametrize("decoder", list(DECODERS))
def test_decoders_agree_nearly_on_jpeg(decoder):
    if decoder == "simplejpeg-fast":
        pytest.importorskip("simplejpeg")
    smooth = make_picture(0, 120, 90)
    got = decode(packed(smooth, "JPEG", quality=92), decoder=decoder)
    assert got.shape == smooth.shape
    assert got.flags.c_contiguous
    assert np.abs(got.astype(int) - smooth).mean() < 5


def test_ffmpeg_and_the_fast_modes_differ_from_pillow_on_jpeg():
    """Otherwise the comparison would be vacuous."""
    data = packed(TEXTURED, "JPEG", quality=90)
    reference = decode(data).astype(int)
    assert 0.1 < np.abs(decode(data, decoder="ffmpeg") - reference).mean() < 8
    pytest.importorskip("simplejpeg")
    assert 0.1 < np.abs(decode(data, decoder="simplejpeg-fast") - reference).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("decoder", ALL_BUT_JPEG_ONLY)
def test_no_decoder_turns_pictures_by_itself_and_all_do_when_asked(orientation, decoder):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = packed(TEXTURED[:40, :60], "JPEG", quality=95, exif=exif)
    stored = np.array(Image.open(io.BytesIO(data)))
    upright = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(turn(stored, orientation), upright)
    as_stored, turned = decode(data, decoder=decoder), decode(data, decoder=decoder, exif_orientation=True)
    assert as_stored.shape == stored.shape
    assert np.array_equal(turned, turn(as_stored, orientation))
    assert np.abs(turned.astype(int) - upright).mean() < 12  # a picture turned otherwise is about 50 away
    if orientation > 1:
        assert not np.array_equal(turn(stored, orientation), stored)


@pytest.mark.parametrize("decoder", list(DECODERS))
def test_truncated_files_are_errors_in_every_decoder(decoder):
    if decoder == "simplejpeg-fast":
        pytest.importorskip("simplejpeg")
    data = packed(TEXTURED, "JPEG")
    for kept in (0.4, 0.98):
        with pytest.raises(DataError, match=r"half\.jpg cannot be decoded"):
            decode(data[: int(len(data) * kept)], name="half.jpg", decoder=decoder)
    with pytest.raises(DataError, match=r"x: |x cannot be decoded"):
        decode(b"no picture at all", name="x", decoder=decoder)


def test_reference_is_torchvisions_resize_and_crop():
    want = transforms.Compose([transforms.Resize((256, 256)), transforms.CenterCrop(224)])(Image.fromarray(TEXTURED))
    assert np.array_equal(system_noise(TEXTURED), np.array(want))
    assert np.array_equal(system_noise(packed(TEXTURED)), np.array(want))


@pytest.mark.parametrize(("height", "width"), [(300, 260), (90, 400)])
def test_resizes_differ_pairwise(height, width):
    picture = textured(height, width)
    made = {name: system_noise(picture, resize=name) for name in RESIZES}
    assert len(made) == 11
    for first, second in itertools.combinations(made, 2):
        assert made[first].shape == (224, 224, 3)
        assert not np.array_equal(made[first], made[second]), (first, second)


def test_box_and_area_are_the_same_mean_where_the_factor_is_whole():
    picture = textured(64, 64)
    box, area = RESIZES["pil-box"](picture, (32, 32)), RESIZES["opencv-area"](picture, (32, 32))
    mean = picture.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(box - mean).max() <= 1  # pillow rounds after each of the two directions
    assert np.abs(area - mean).max() <= 0.5


def test_every_resize_keeps_a_plain_picture_and_the_input():
    plain = np.full((70, 50, 3), (10, 120, 250), np.uint8)
    for name, function in RESIZES.items():
        assert (function(plain, (33, 44)) == plain[0, 0]).all(), name
        same = TEXTURED.copy()
        made = function(same, same.shape[:2])
        made[:] = 0
        assert np.array_equal(same, TEXTURED), name


def test_train_crops_stay_inside_their_bounds():
    rows, columns = np.mgrid[0:200, 0:160]
    where = np.dstack([rows, columns, np.zeros_like(rows)]).astype(np.uint8)  # a pixel says where it was
    areas = []
    for seed in range(200):
        crop = random_resized_crop(where, "pil-nearest", 160, np.random.default_rng(seed))
        height = int(crop[..., 0].max()) - int(crop[..., 0].min()) + 1
        width = int(crop[..., 1].max()) - int(crop[..., 1].min()) + 1
        assert 0.72 < width / height < 1.39
        areas.append(height * width / (200 * 160))
    assert min(areas) > 0.07
    assert max(areas) <= 1
    assert 0.4 < np.mean(areas) < 0.6


def test_train_falls_back_to_the_centre_of_a_strip():
    strip = make_picture(0, 10, 300)
    got = random_resized_crop(strip, "pil-nearest", 10, np.random.default_rng(0))
    middle = strip[:, 143:156]
    assert np.array_equal(got, RESIZES["pil-nearest"](np.ascontiguousarray(middle), (10, 10)))


def test_add_noise_takes_the_originals_options_and_every_input(tmp_path):
    noise = AddNoise("imagenet-s")
    assert noise.get_config() == {
        "decoder_type": "pil",
        "resize_type": "pil-bilinear",
        "transform_type": "val",
        "size": 224,
    }
    noise.setconfig(resize_type="opencv-area")
    want = system_noise(TEXTURED, resize="opencv-area")
    path = tmp_path / "a.png"
    path.write_bytes(packed(TEXTURED))
    for source in (path, str(path), path.read_bytes(), TEXTURED):
        assert np.array_equal(noise.add_noise(source), want)
    picture = noise.add_noise(Image.fromarray(TEXTURED))
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.array(picture), want)
    assert np.array_equal(noise.add_noise(np.stack([TEXTURED] * 2))[1], want)
    noise.set_config(decoder_type="ffmpeg", resize_type="pil-bilinear")
    assert np.array_equal(noise.add_noise(path), system_noise(TEXTURED))
    with pytest.raises(DataError, match="decoder 'ffmpeg' needs a file"):
        noise.add_noise(TEXTURED)


def test_train_crops_follow_the_seed():
    noise, other = AddNoise("imagenet-s", seed=1), AddNoise("imagenet-s", seed=2)
    for one in (noise, other):
        one.set_config(transform_type="train", size=64)
    first = noise.add_noise(np.stack([TEXTURED] * 3))
    assert first.shape == (3, 64, 64, 3)
    assert np.array_equal(first, noise.add_noise(np.stack([TEXTURED] * 3)))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, other.add_noise(np.stack([TEXTURED] * 3)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"decoder_type": "opencvv"}, UnknownNameError, "unknown decoder 'opencvv'; did you mean 'opencv'"),
        ({"resize_type": "pil-area"}, UnknownNameError, "unknown resize 'pil-area'"),
        ({"transform_type": "test"}, ConfigError, "transform must be 'val' or 'train', got 'test'"),
        ({"size": 0}, ConfigError, "size must be an integer from 1 up, got 0"),
    ],
)
def test_mistakes_are_named(options, error, message):
    noise = AddNoise("imagenet-s")
    noise.set_config(**options)
    with pytest.raises(error, match=message):
        noise.add_noise(TEXTURED)


@pytest.mark.parametrize(("decoder", "module", "package"), [("ffmpeg", "av", "av"), ("opencv", "cv2", "opencv-python")])
def test_missing_library_says_what_to_install(monkeypatch, decoder, module, package):
    import importlib

    whole = importlib.import_module

    def missing(name, *arguments):
        if name == module:
            raise ImportError(f"No module named {name!r}")
        return whole(name, *arguments)

    monkeypatch.setattr("RobustART.core.optional.importlib.import_module", missing)
    with pytest.raises(ConfigError, match=f"pip install {package}$"):
        decode(packed(TEXTURED), decoder=decoder)
