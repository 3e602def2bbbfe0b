"""The decoders: functions from a file's bytes to uint8 (H, W, 3), by Pillow and by the libraries compared with it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np

from RobustART.core.imaging.exact import decode_jpeg
from RobustART.core.imaging.formats import FORMATS, MAX_PIXELS, image_format
from RobustART.core.imaging.pillow import Array, load_rgb
from RobustART.core.optional import require
from RobustART.errors import DataError
from RobustART.registry import Registry

DECODERS: Registry[Callable[[bytes], Array]] = Registry("decoder")
"""Names to functions from a file's bytes to uint8 (H, W, 3), as stored: none turns an image by its EXIF tag.

:func:`~RobustART.core.imaging.decode` gives the library decoders JPEG and WebP files only, see there.
"""

LIBRARIES = {
    "opencv": ("cv2", FORMATS),
    "ffmpeg": ("av", FORMATS),
    "simplejpeg-fast": ("simplejpeg", ("JPEG",)),
    "torchvision": ("torchvision", ("JPEG", "PNG", "GIF", "WEBP")),
}
"""The library decoders: the module of each, and the formats that it accepts."""


@DECODERS.register("pil")
def decode_pil(data: bytes) -> Array:
    """Pillow, the reference: what torchvision's and timm's loaders use; see :mod:`~RobustART.core.imaging.exact`."""
    image = decode_jpeg(data)
    return np.array(load_rgb(data)) if image is None else image


@DECODERS.register("opencv")
def decode_opencv(data: bytes) -> Array:
    """OpenCV's ``imdecode`` without EXIF orientation, which it applies by default; Pillow does not."""
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
    # With the demuxer named, FFmpeg does not guess it: a playlist is never read as one.
    demuxer = {"JPEG": "jpeg_pipe", "WEBP": "webp_pipe"}.get(image_format(data))
    if demuxer is None:
        raise DataError("FFmpeg is given JPEG and WEBP files only")
    try:
        with av.open(io.BytesIO(data), format=demuxer, options={"err_detect": "explode"}) as container:
            container.streams.video[0].codec_context.options = {
                "err_detect": "explode",
                "max_pixels": str(MAX_PIXELS),
            }
            frame = next(container.decode(video=0), None)
    except av.FFmpegError as error:  # some of its kinds are an Exception without another base
        raise OSError(str(error)) from None
    if frame is None:
        raise DataError("FFmpeg finds no image in it")
    if frame.is_corrupt:
        raise DataError("FFmpeg finds it damaged")
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))  # its rows may be padded


@DECODERS.register("simplejpeg-fast")
def decode_simplejpeg_fast(data: bytes) -> Array:
    """libjpeg-turbo's fast DCT and fast chroma upsampling, through the package ``simplejpeg``; JPEG files only."""
    simplejpeg = require("simplejpeg")
    return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=True, fastupsample=True)


@DECODERS.register("torchvision")
def decode_torchvision(data: bytes) -> Array:
    """torchvision's ``decode_image``, with the libjpeg and libpng it was built with."""
    torch, io_module = require("torch"), require("torchvision.io")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it moves to another package; here it is what is measured
        encoded = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
        pixels = io_module.decode_image(encoded, io_module.ImageReadMode.RGB)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
