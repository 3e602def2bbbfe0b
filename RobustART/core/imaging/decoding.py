"""Decoders: from the bytes of a picture to an ``image``, a uint8 array (H, W, 3).

The rule for pictures that are not plain RGB, the same as that of the loaders published numbers were made with
(torchvision, timm), so that a number can be compared with theirs:

* greyscale becomes three equal channels; an alpha channel is dropped; palettes and CMYK are converted by pillow;
* grey pictures of 16 bits are scaled to 8, ``round(value / 257)`` (pillow alone would clip them to white); colour
  pictures of 16 bits a channel keep their upper 8, which is what pillow reads;
* the EXIF orientation is **not** applied unless asked for, because those loaders do not apply it;
* a truncated file is an error, never a picture with a grey rest; so is a PNG whose checksums are wrong. Damage inside other
  formats, which have no checksums, is an error where the decoder notices it.

That is what ``pil``, the reference, does. The other :data:`DECODERS` are there to be compared with it: whether a picture
is turned, and that a truncated one is refused, is the same for all of them; how they convert palettes, CMYK and 16 bits
is their own, since that is part of what is measured.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from RobustART.core.optional import require
from RobustART.core.options import convert
from RobustART.core.ranges import Range
from RobustART.errors import ConfigError, DataError
from RobustART.registry import Registry

Array = NDArray[np.uint8]

DECODERS: Registry[Callable[[bytes], Array]] = Registry("decoder")
"""Names to functions from a file's bytes to uint8 (H, W, 3), as stored: none turns a picture by its EXIF tag."""

_READING = (OSError, SyntaxError, ValueError, IndexError, RuntimeError, Image.DecompressionBombError)
"""What the libraries raise for files that they cannot read."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"


def to_rgb(picture: Image.Image) -> Image.Image:
    """Returns a picture as 8-bit RGB by the rule of this module.

    Raises:
        DataError: its mode has no agreed range (32-bit floats and whole numbers).
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        values = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray(((values + 128) // 257).clip(0, 255).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise DataError(
            f"a picture of mode {picture.mode!r} (32 bits a pixel) has no agreed range; save it with 8 or 16"
        )
    with warnings.catch_warnings():
        # Pillow advises to keep the transparency of palettes; it is dropped on purpose.
        warnings.filterwarnings("ignore", message="Palette images with Transparency", category=UserWarning)
        return picture if picture.mode == "RGB" else picture.convert("RGB")


GREY_MODES = ("1", "L", "LA", "La")
"""Modes of PIL images without colour, beside those of 16 bits."""


def picture_pixels(picture: Image.Image) -> Array:
    """Returns the pixels of a PIL image by the rule of this module: uint8 (H, W) if it is grey, else (H, W, 3).

    Raises:
        DataError: it cannot be loaded, or its mode has no agreed range.
    """
    try:
        picture.load()
        pixels = np.array(to_rgb(picture))
    except DataError:
        raise
    except _READING as error:
        raise DataError(f"the PIL image of mode {picture.mode!r} cannot be read: {error}") from None
    return pixels[..., 0].copy() if picture.mode in GREY_MODES or picture.mode.startswith("I") else pixels


@DECODERS.register("pil")
def decode_pil(data: bytes) -> Array:
    """Pillow, the reference: what torchvision's and timm's loaders do."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return np.array(to_rgb(picture))


@DECODERS.register("opencv")
def decode_opencv(data: bytes) -> Array:
    """OpenCV's ``imdecode``, told to leave the EXIF orientation alone (by itself it turns pictures, pillow does not)."""
    cv2 = require("cv2")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # an Exception without another base
        raise OSError(error.err) from None
    if image is None:
        raise DataError("OpenCV cannot read it")
    return np.ascontiguousarray(image[:, :, ::-1])


@DECODERS.register("ffmpeg")
def decode_ffmpeg(data: bytes) -> Array:
    """FFmpeg's decoder and its conversion to rgb24, through the package ``av``, which carries the libraries."""
    av = require("av")
    if data.startswith(b"BM") and len(data) < int.from_bytes(data[2:6], "little"):
        raise DataError("the BMP is shorter than it says")  # FFmpeg would read all rows at wrong places
    try:
        with av.open(io.BytesIO(data), options={"err_detect": "explode"}) as container:
            container.streams.video[0].codec_context.options = {"err_detect": "explode"}
            frame = next(container.decode(video=0), None)
    except av.FFmpegError as error:  # some of its kinds are an Exception without another base
        raise OSError(str(error)) from None
    if frame is None:
        raise DataError("FFmpeg finds no picture in it")
    if frame.is_corrupt:
        raise DataError("FFmpeg finds it damaged")
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))  # its rows may be padded


@DECODERS.register("simplejpeg-fast")
def decode_simplejpeg_fast(data: bytes) -> Array:
    """libjpeg-turbo's fast DCT and fast chroma upsampling, through the package ``simplejpeg``; JPEG files only."""
    simplejpeg = require("simplejpeg")
    if not data.startswith(_JPEG_START):
        raise DataError("simplejpeg-fast reads JPEG files only")
    image: Array = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=True, fastupsample=True)
    return image


@DECODERS.register("torchvision")
def decode_torchvision(data: bytes) -> Array:
    """torchvision's ``decode_image``, with the libjpeg and libpng it was built with."""
    torch, io_module = require("torch"), require("torchvision.io")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it moves to another package; here it is what is measured
        data_tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels = io_module.decode_image(data_tensor, io_module.ImageReadMode.RGB)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _check_whole(data: bytes, decoder: str) -> None:
    """Raises what pillow raises if it knows the format and the file is cut off or damaged.

    The other libraries fill the rest with grey (FFmpeg in GIF, some builds in JPEG) or end the process (torchvision in
    PNG), and pillow itself looks at the checksums of PNG's pixels only when told to.
    """
    if data.startswith(_PNG_START):
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
    if decoder == "pil" or (data.startswith(_JPEG_START) and _JPEG_END in data[-64:]):
        return
    try:
        picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        return
    with picture:
        picture.load()


def orientation(data: bytes) -> int:
    """Returns the EXIF orientation of a picture, 1 to 8; 1, as stored, where it says nothing."""
    with Image.open(io.BytesIO(data)) as picture:
        value = picture.getexif().get(0x0112, 1)
    return value if value in range(1, 9) else 1


def turn(image: Array, value: int) -> Array:
    """Returns the image as its EXIF orientation says: 3 is half a turn, 6 a quarter clockwise, even ones mirror."""
    if value in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if value in (2, 3, 6, 7):
        image = image[:, ::-1]
    if value in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def decode(data: bytes, *, exif_orientation: bool = False, name: str = "the image", decoder: str = "pil") -> Array:
    """Returns the picture in ``data`` as uint8 (H, W, 3).

    Args:
        data: a file of any format the decoder reads.
        exif_orientation: turn the picture as its EXIF tag says, whatever the decoder.
        name: what to call it in errors, such as its file name.
        decoder: one of :data:`DECODERS`.

    Raises:
        DataError: it cannot be decoded, or only in part.
        ConfigError: the decoder's library is not installed.
    """
    function = DECODERS[decoder]
    with _named(data, name, decoder):
        _check_whole(data, decoder)
        image = function(data)
        return turn(image, orientation(data)) if exif_orientation else image


def decode_picture(
    data: bytes, *, exif_orientation: bool = False, name: str = "the image", decoder: str = "pil"
) -> Image.Image:
    """Returns what :func:`decode` does as a pillow picture, where pillow decodes without a copy of the pixels."""
    if decoder != "pil" or exif_orientation:
        return Image.fromarray(decode(data, exif_orientation=exif_orientation, name=name, decoder=decoder))
    with _named(data, name, decoder):
        _check_whole(data, decoder)
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            return to_rgb(picture)


@contextlib.contextmanager
def _named(data: bytes, name: str, decoder: str) -> Iterator[None]:
    """Turns what decoders raise into errors that name the picture."""
    if not data:
        raise DataError(f"{name} cannot be decoded: the file is empty")
    try:
        yield
    except ConfigError:
        raise
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except _READING as error:
        by = "" if decoder == "pil" else f" by {decoder}"
        raise DataError(f"{name} cannot be decoded{by} ({len(data)} bytes): {error}") from None


def read_bytes(path: str | Path) -> bytes:
    """Returns a file's bytes; a missing or unreadable file is a DataError that names it."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"the image {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the name
        raise DataError(f"the image {str(path)!r} cannot be read: {error}") from None


JpegQuality = Annotated[int, Range(1, 100)]
"""A quality of pillow's JPEG encoder."""


def check_jpeg_quality(quality: object) -> int:
    """Returns a quality of JPEG; a ConfigError if it is not from 1 to 100."""
    return int(convert(quality, JpegQuality, "jpeg_quality"))


def encode_jpeg(image: Array, quality: int) -> bytes:
    """Returns the image as JPEG bytes by pillow's encoder with its default chroma subsampling, 4:2:0.

    Args:
        image: uint8 (H, W, 3), or (H, W) for a file without colour.
        quality: 1 to 100.
    """
    quality = check_jpeg_quality(quality)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
