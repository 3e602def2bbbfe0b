"""Files that are not images, or that libraries would read in several ways: one rule for all decoders, and no hang."""

import ast
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
import torchvision
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin

from RobustART.core.imaging import DECODERS, decode, decode_picture, picture_pixels, read_bytes
from RobustART.core.imaging.decoders import LIBRARIES
from RobustART.core.imaging.formats import FORMATS, MAX_BYTES, MAX_PIXELS, find_format, jpeg_frame
from RobustART.core.imaging.pillow import own_settings, turn
from RobustART.core.imaging.video import read_video, write_video
from RobustART.errors import DataError
from tests.conftest import ROOT, make_picture, solver_environ

RGB = make_picture(0)
GREY = RGB[..., 0]
COMPARED = ["opencv", "ffmpeg", "torchvision", "simplejpeg-fast"]
SECONDS = 60


@pytest.fixture(params=["pil", *COMPARED])
def decoder(request):
    if request.param == "simplejpeg-fast":
        pytest.importorskip("simplejpeg")
    return request.param


def packed(pixels, kind, **options) -> bytes:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(values: np.ndarray, colour: int) -> bytes:
    """Returns a PNG of 16 bits a channel; ``colour`` is PNG's colour type."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def claims(data: bytes, height: int, width: int) -> bytes:
    """Returns a JPEG whose frame states another size."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def accepts(decoder: str, data: bytes) -> bool:
    if decoder == "torchvision" and find_format(data) == "WEBP":
        return hasattr(torchvision.io, "decode_webp")  # since torchvision 0.20
    return find_format(data) in LIBRARIES.get(decoder, ("", FORMATS))[1]


# Programs and other files under an image's name.

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 20 20
%%EndComments
(WHERE) (w) file closefile
{} loop
showpage
%%EOF
"""
OTHERS = {
    "PostScript": EPS,
    "EPS with a preview": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0) + EPS,
    "PDF": b"%PDF-1.4\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    "SVG with an XML head": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "concat": b"ffconcat version 1.0\nfile WHERE\n",
    "m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nWHERE\n#EXT-X-ENDLIST\n",
    "web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    "zip archive": b"PK\x03\x04" + bytes(60),
    "XPM": b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #000000", "a"};',
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "wave": b"RIFF\x24\0\0\0WAVEfmt ",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_only_listed_formats_are_opened(kind, decoder, tmp_path, monkeypatch):
    """The name is no matter; no library is asked."""
    data = OTHERS[kind].replace(b"WHERE", str(tmp_path / "written").encode())
    for library in ("av.open", "cv2.imdecode", "torchvision.io.decode_image", "PIL.Image.open"):
        monkeypatch.setattr(library, lambda *_, **__: pytest.fail("a library was asked"))
    for function in (decode, decode_picture):
        with pytest.raises(DataError, match=r"cat\.png cannot be decoded.*it does not begin as a file of JPEG, PNG"):
            function(data, name="cat.png", decoder=decoder)
    assert not (tmp_path / "written").exists()


def test_the_error_says_what_the_file_is():
    for kind, words in (
        ("PostScript", "PostScript"),
        ("pointer of Git LFS", "not fetched"),
        ("web page", "a web page"),
    ):
        with pytest.raises(DataError, match=f"it is .*{words}"):
            decode(OTHERS[kind])


@pytest.mark.parametrize("name", ["concat", "m3u8", "SVG", "PostScript"])
def test_videos_are_of_listed_containers(name):
    with pytest.raises(DataError, match=r"x\.mp4 cannot be decoded.*MP4, AVI or Matroska"):
        read_video(OTHERS[name], "x.mp4")


def test_every_file_is_opened_by_its_format():
    """No call in the package leaves the choice to Pillow, FFmpeg or ``numpy.load``."""
    for path in (ROOT / "RobustART").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name, keywords = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
                if name == "Image.open":
                    assert "formats" in keywords, path
                if name == "av.open":
                    assert "format" in keywords, path
                assert name not in ("np.load", "cv2.imread", "cv2.VideoCapture"), path


# Files that never end, and sizes that are only stated.


def test_pipes_devices_and_sockets_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket has at most 107 bytes
    os.mkfifo(tmp_path / "pipe.jpg")
    os.symlink("/dev/zero", tmp_path / "zero.jpg")
    os.symlink(tmp_path / "pipe.jpg", tmp_path / "link.jpg")
    (tmp_path / "folder.jpg").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket.jpg")
    kinds = {"pipe": "a pipe", "zero": "a device", "link": "a pipe", "folder": "a folder", "socket": "a socket"}
    for name, kind in kinds.items():
        with pytest.raises(DataError, match=rf"{name}\.jpg cannot be read: it is {kind}, not a file"):
            read_bytes(tmp_path / f"{name}.jpg")
    listening.close()


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse
    with pytest.raises(DataError, match=r"a\.jpg has 715,827,881 bytes; at most 715,827,880 are read"):
        read_bytes(tmp_path / "a.jpg")


def test_a_size_is_checked_before_the_pixels_are_made(decoder, monkeypatch):
    data = claims(packed(RGB, "JPEG"), 13000, 13000)
    decode(packed(RGB, "JPEG"), decoder=decoder)  # so that a decoder that is compared with Pillow first has been
    for library in ("av.open", "cv2.imdecode", "torchvision.io.decode_image", "PIL.JpegImagePlugin.JpegImageFile.load"):
        monkeypatch.setattr(library, lambda *_, **__: pytest.fail("a library was asked"))
    for whole in (data, data + b"more", b"\xff\xd8\xff\xfe\0\4ab" + data[2:]):
        with pytest.raises(DataError, match=r"x\.jpg: it has 13000 x 13000 pixels; at most 89,478,485 are read"):
            decode(whole, decoder=decoder, name="x.jpg")
    assert 13000**2 > MAX_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_a_size_is_checked_in_every_format(kind, monkeypatch):
    monkeypatch.setattr("RobustART.core.imaging.formats.MAX_PIXELS", RGB.shape[0] * RGB.shape[1] - 1)
    with pytest.raises(DataError, match="it has 52 x 40 pixels; at most 2,079 are read"):
        decode(packed(RGB, kind))


def test_videos_have_a_size_too(monkeypatch):
    data = write_video(np.zeros((6, 32, 32, 3), np.uint8))
    monkeypatch.setattr("RobustART.core.imaging.formats.MAX_PIXELS", 6 * 32 * 32 - 1)
    with pytest.raises(DataError, match=r"x\.mp4: it has 6 frames of 32 x 32 pixels"):
        read_video(data, "x.mp4")


@pytest.mark.parametrize("colour", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"comment": b"c" * 999}, {"exif": b"Exif\0\0" + b"\xff" * 9}]
)
def test_the_header_of_a_jpeg(colour, options):
    data = packed(Image.fromarray(RGB).convert(colour), "JPEG", **options)
    assert jpeg_frame(data) == (40, 52, len(colour))
    assert jpeg_frame(data[: data.index(b"\xff\xda") - 40]) in (None, (40, 52, len(colour)))
    assert jpeg_frame(b"\xff\xd8" + b"\xff" * 5000) is None


# One rule for all decoders.


def sixteen(shape):
    return np.random.default_rng(3).integers(0, 2**16, shape).astype(np.uint16)


def kinds_of_pixels():
    picture, palette, wide = Image.fromarray(RGB), Image.fromarray(RGB).quantize(16), sixteen((40, 52, 4))
    rgba, la = np.dstack([RGB, GREY]), np.dstack([GREY, GREY])
    grey16 = np.repeat(np.round(wide[..., :1] / 257).astype(np.uint8), 3, axis=2)
    colour16 = (wide[..., :3] >> 8).astype(np.uint8)
    yield "grey PNG", packed(GREY, "PNG"), np.repeat(GREY[..., None], 3, axis=2)
    yield "PNG of 1 bit", packed(picture.convert("1"), "PNG"), np.array(picture.convert("1").convert("RGB"))
    yield "palette PNG", packed(palette, "PNG"), np.array(palette.convert("RGB"))
    yield "palette PNG with transparency", packed(palette, "PNG", transparency=3), np.array(palette.convert("RGB"))
    yield "PNG with alpha", packed(rgba, "PNG"), RGB
    yield "grey PNG with alpha", packed(la, "PNG"), np.repeat(GREY[..., None], 3, axis=2)
    yield "grey PNG of 16 bits", packed(np.ascontiguousarray(wide[..., 0]), "PNG"), grey16
    yield "PNG of 16 bits", png(wide[..., :3], 2), colour16
    yield "PNG of 16 bits with alpha", png(wide, 6), colour16
    yield "palette GIF with transparency", packed(palette, "GIF", transparency=3), np.array(palette.convert("RGB"))
    yield (
        "animated GIF",
        packed(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]),
        np.array(palette.convert("RGB")),
    )
    yield "lossless WebP with alpha", packed(rgba, "WEBP", lossless=True, exact=True), RGB
    yield "TIFF with alpha", packed(rgba, "TIFF"), RGB
    yield "grey TIFF of 16 bits", packed(np.ascontiguousarray(wide[..., 0]), "TIFF"), grey16
    yield "CMYK TIFF", packed(picture.convert("CMYK"), "TIFF"), RGB
    yield "BMP with alpha", packed(rgba, "BMP"), RGB
    yield "PPM of 100 levels", b"P6\n52 40\n100\n" + (RGB // 3).tobytes(), np.round((RGB // 3) * 2.55).astype(np.uint8)
    yield "grey PGM of 16 bits", packed(np.ascontiguousarray(wide[..., 0]), "PPM"), grey16


PIXELS = {name: (data, expected) for name, data, expected in kinds_of_pixels()}


@pytest.mark.parametrize("kind", PIXELS)
def test_what_is_stored_without_loss_has_the_same_pixels_in_every_decoder(kind, decoder):
    data, expected = PIXELS[kind]
    if not accepts(decoder, data):
        with pytest.raises(DataError, match=f"x cannot be decoded by {decoder}.* files only, and this is"):
            decode(data, decoder=decoder, name="x")
        return
    found = decode(data, decoder=decoder)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= (1 if "100 levels" in kind else 0)


@pytest.mark.parametrize("adobe", ["CMYK", "YCCK", "unmarked"])
def test_cmyk_jpegs_are_converted_by_pillow_in_every_decoder(adobe, decoder):
    data = packed(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
    place = data.index(b"Adobe")
    if adobe == "YCCK":
        data = data[: place + 11] + b"\2" + data[place + 12 :]
    if adobe == "unmarked":
        data = data[: place - 4] + data[place - 2 + int.from_bytes(data[place - 2 : place], "big") :]
    assert np.array_equal(decode(data, decoder=decoder), np.array(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP", "TIFF with LZW"])
def test_an_orientation_is_applied_once_or_not_at_all(kind, value, decoder):
    form, options = kind.split()[0], {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = options.get(form, {"compression": "tiff_lzw"} if "LZW" in kind else {})
    exif = Image.Exif()
    exif[0x0112] = value
    data = packed(RGB, form, exif=exif, **options)
    if not accepts(decoder, data):
        return
    stored = decode(packed(RGB, form, **options), decoder=decoder)
    assert np.array_equal(decode(data, decoder=decoder), stored)
    assert np.array_equal(decode(data, decoder=decoder, exif_orientation=True), turn(stored, value))
    if decoder == "pil":
        assert np.array_equal(np.array(decode_picture(data)), stored)


def test_a_decoder_of_a_users_own_is_checked(monkeypatch):
    data = packed(RGB, "PNG")
    results = {
        r"must return a uint8 array \(H, W, 3\), got uint16 \(4, 4, 3\)": np.zeros((4, 4, 3), np.uint16),
        r"got uint8 \(4, 4\)": np.zeros((4, 4), np.uint8),
        "got list": [[1]],
    }
    for message, result in results.items():
        monkeypatch.setitem(DECODERS._entries, "own", lambda _, result=result: result)
        with pytest.raises(DataError, match=message):
            decode(data, decoder="own", name="x")
    monkeypatch.setitem(DECODERS._entries, "own", lambda _: RGB)
    assert decode(b"a format that only the user knows", decoder="own") is RGB
    with pytest.raises(DataError, match="cannot be decoded by own"):
        decode(data[:-60], decoder="own")  # truncated


# Global state of the libraries.


@pytest.fixture
def careless():
    """Another module has set what it likes."""
    before = {
        (ImageFile, "LOAD_TRUNCATED_IMAGES"): True,
        (Image, "MAX_IMAGE_PIXELS"): 10,
        (PngImagePlugin, "MAX_TEXT_CHUNK"): 1,
        (GifImagePlugin, "LOADING_STRATEGY"): GifImagePlugin.LoadingStrategy.RGB_ALWAYS,
    }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        for (module, name), value in before.items():
            patch.setattr(module, name, value)
        yield before
        assert all(getattr(module, name) == value for (module, name), value in before.items())
        assert warnings.filters[0][0] == "error"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_no_global_state_completes_a_truncated_file(kind, decoder, careless):
    data = packed(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8), kind)
    for kept in (0.5, 0.8, 0.97):
        half = data[: int(len(data) * kept)]
        with pytest.raises(DataError):
            decode(half, decoder=decoder)
        with pytest.raises(DataError):
            decode_picture(half, decoder=decoder)


def test_no_global_state_completes_a_truncated_pil_image(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = packed(make_picture(1, 90, 70), "JPEG")
    with pytest.raises(DataError, match="the PIL image of mode 'RGB' cannot be read"):
        picture_pixels(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_no_global_state_refuses_or_changes_a_whole_file(careless):
    palette = Image.fromarray(RGB).quantize(16)
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "long " * 99, zip=True)
    assert np.array_equal(
        decode(packed(RGB, "PNG", pnginfo=text)), RGB
    )  # more than 10 pixels, more than 1 byte of text
    for options in ({}, {"transparency": 3}, {"transparency": bytes(range(16))}):
        data = packed(palette, "PNG", **options)
        assert np.array_equal(decode(data), np.array(palette.convert("RGB")))
    assert np.array_equal(decode(packed(palette, "GIF", transparency=3)), np.array(palette.convert("RGB")))


def test_settings_are_restored_when_the_last_thread_is_out(careless):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with own_settings():
            inside.set()
            leave.wait(SECONDS)

    other = threading.Thread(target=hold)
    other.start()
    assert inside.wait(SECONDS)
    with pytest.raises(DataError):
        decode(packed(RGB, "JPEG")[:300])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # the other thread still decodes
    leave.set()
    other.join()
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_switches_of_libraries_change_no_pixel(tmp_path):
    (tmp_path / "x.jpg").write_bytes(packed(make_picture(1, 300, 400), "JPEG"))
    code = (
        "import sys, cv2, numpy, torch\n"
        "from RobustART.core.imaging import decode\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "made = [decode(data, decoder=name) for name in ('pil', 'opencv', 'torchvision')]\n"
        "cv2.setUseOptimized(False), cv2.setNumThreads(1), torch.set_default_device('meta')\n"
        "again = [decode(data, decoder=name) for name in ('pil', 'opencv', 'torchvision')]\n"
        "print(*map(numpy.array_equal, made, again))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.jpg")]
    done = subprocess.run(command, env=solver_environ(), capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["True"] * 3
