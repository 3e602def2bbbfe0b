"""Videos as stacks of frames, uint8 (T, H, W, 3), read and written by FFmpeg's libraries through the package ``av``."""

from __future__ import annotations

import io
import platform
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from RobustART.core.imaging.formats import MAX_PIXELS, check_pixels
from RobustART.core.imaging.pillow import READING, Array
from RobustART.core.optional import require
from RobustART.errors import DataError

_INSTRUCTIONS = "MMX2,SSE2" if platform.machine().lower() in ("x86_64", "amd64") else "0"
"""The processor's instructions that x264 may use. These give the bytes of its C code, which ``0`` is; with AVX-512 they
depend on what was in memory before (x264 core 165), and with SSSE3 a few differ."""


def _demuxer(data: bytes) -> str:
    """Returns FFmpeg's name of a video's container, by its first bytes; FFmpeg itself would also open playlists."""
    if data[4:8] == b"ftyp":
        return "mp4"
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "avi"
    if data.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    raise ValueError("it does not begin as an MP4, AVI or Matroska file does")


def read_video(data: bytes, name: str = "the video") -> Array:
    """Returns all frames of a video file, uint8 (T, H, W, 3).

    Args:
        data: the bytes of an MP4, AVI or Matroska file.
        name: what to call it in errors.

    Raises:
        DataError: it cannot be decoded, or not all of it, has no frames, frames of several sizes, or together more than
            ``formats.MAX_PIXELS`` pixels.
        ConfigError: ``av`` is not installed.
    """
    av = require("av")
    frames: list[Array] = []
    try:
        with av.open(io.BytesIO(data), format=_demuxer(data)) as container:
            stream = container.streams.video[0]
            stated = stream.frames  # 0 where the file does not say
            check_pixels(stream.height, stream.width, max(stated, 1))
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for frame in container.decode(video=0):
                check_pixels(frame.height, frame.width, len(frames) + 1)
                frames.append(frame.to_ndarray(format="rgb24"))
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except (av.FFmpegError, *READING) as error:
        raise DataError(f"{name} cannot be decoded ({len(data)} bytes): {error}") from None
    if not frames:
        raise DataError(f"{name} holds no frames")
    if len(frames) < stated:
        raise DataError(f"{name} is cut off or damaged: {len(frames)} of its {stated} frames can be decoded")
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        raise DataError(f"{name} has frames of several sizes: {', '.join(map(str, sorted(sizes)))}")
    return np.stack(frames)


def write_video(frames: Sequence[Array] | Array, *, crf: int = 20, tune: str | None = None) -> bytes:
    """Returns an MP4 file of frames, as ImageNet-P's files are made: H.264 at one frame a second, preset ``veryslow``.

    Colour is kept at full resolution (yuv444p), which is what FFmpeg chooses for PNG frames. The same frames give the same
    bytes, on every processor.

    Args:
        frames: uint8 images (H, W, 3) of one size.
        crf: constant rate factor, 0 (no loss) to 51.
        tune: x264's tuning; ``grain`` keeps noise.
    """
    av = require("av")
    buffer = io.BytesIO()
    options = {"crf": str(crf), "preset": "veryslow", "x264-params": f"asm={_INSTRUCTIONS}"}
    options |= {"tune": tune} if tune else {}
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        stream.codec_context.thread_count = 1
        stream.time_base = Fraction(1, 1)
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
