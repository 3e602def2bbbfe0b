"""Pictures of every kind at the door of image noise: what comes is read or checked, and goes back as the kind it was.

=========================================  ================================================
what comes                                 what goes back
=========================================  ================================================
uint8 array (H, W, 3)                      the same, new
uint8 array (H, W): greyscale              the same, new
uint8 array (N, H, W, 3), not for one      the same, new
PIL image                                  a PIL image of mode ``L`` if it is grey, else ``RGB``
path, or the bytes of a file               uint8 (H, W, 3), by the decoder
list or tuple of these, not for one        a list of what goes back for each
=========================================  ================================================

Modes of PIL images other than ``L`` and ``RGB`` are converted by the rule of ``RobustART.core.imaging``: an alpha channel
is dropped, 16 bits become 8, palettes and CMYK are converted by pillow; 32 bits are refused. Grey are ``L``, ``LA``,
``1`` and 16 bits without colour.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from RobustART.core.imaging import Array, decode, picture_pixels, read_bytes
from RobustART.errors import ConfigError


class Change(Protocol):
    """Noise on one of several pictures: from uint8 (H, W, 3) or (H, W), or what ``read`` returned, to uint8 alike.

    ``index`` is the picture's number in the call, which its draws depend on.
    """

    def __call__(self, image: Any, index: int) -> Array:
        """Returns the noisy picture."""


def kind_of(value: Any) -> str:
    """Returns what a value is, for messages: type and shape of arrays and tensors, the value of numbers and texts."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
    return repr(value) if isinstance(value, (int, float, str)) or value is None else type(value).__name__


def check_array(pixels: Any, who: str, *, grey: bool = False, smallest: int = 1) -> None:
    """Raises a ConfigError if something is not a picture as a uint8 array (H, W, 3).

    Args:
        pixels: what came.
        who: what takes it, for the message.
        grey: whether (H, W) will do too.
        smallest: pixels that height and width must have.
    """
    fits = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    if not fits or not ((pixels.ndim == 3 and pixels.shape[2] == 3) or (grey and pixels.ndim == 2)):
        advice = ""
        if isinstance(pixels, np.ndarray) and pixels.dtype.kind == "f":
            advice = "; values in [0, 1] become grey levels by np.rint(255 * image).astype(np.uint8)"
        shapes = "(H, W, 3) or (H, W)" if grey else "(H, W, 3)"
        raise ConfigError(f"{who} takes a uint8 array {shapes}, got {kind_of(pixels)}{advice}")
    height, width = pixels.shape[:2]
    if min(height, width) < smallest:
        raise ConfigError(f"{who} needs {smallest} x {smallest} pixels or more, got {height} x {width}")


def check_generator(rng: Any) -> np.random.Generator:
    """Returns a numpy generator: the one that came, or for None a new one at seed 0; anything else is a ConfigError."""
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise ConfigError(f"rng must be a numpy.random.Generator, as numpy's default_rng(seed) is, got {kind_of(rng)}")
    return rng


def to_colour(image: Array) -> Array:
    """Returns a picture (H, W) as three equal channels, and one (H, W, 3) as it is."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def to_grey(image: Array) -> Array:
    """Returns the luminance (H, W) of a picture (H, W, 3) as pillow has it; equal channels stay as they are."""
    return np.array(Image.fromarray(image).convert("L"))


def decode_file(file: str | Path | bytes) -> Array:
    """Returns the picture in a file, by its path or its bytes, as uint8 (H, W, 3)."""
    return decode(file) if isinstance(file, bytes) else decode(read_bytes(file), name=str(file))


def on_picture(
    picture: Any, change: Callable[[Any], Array], who: str, read: Callable[[str | Path | bytes], Any] = decode_file
) -> Any:
    """Returns what ``change`` makes of one picture, in the kind that came.

    Args:
        picture: of a kind in the table of this module.
        change: (uint8 (H, W, 3) or (H, W), or what ``read`` returned) -> uint8 array of as many dimensions.
        who: what takes it, for messages.
        read: makes the input of ``change`` from a path or the bytes of a file.

    Raises:
        ConfigError: it is of another kind.
        DataError: the file, or the PIL image, cannot be read.
    """
    if isinstance(picture, np.ndarray):
        check_array(picture, who, grey=True)
        return change(picture)
    if isinstance(picture, Image.Image):
        return Image.fromarray(change(picture_pixels(picture)))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return change(read(bytes(picture)))
    if isinstance(picture, (str, os.PathLike)):
        return change(read(Path(picture)))
    advice = ""
    if type(picture).__module__.partition(".")[0] == "torch":
        advice = (
            "; a tensor (N, 3, H, W) in [0, 1] becomes pictures by "
            "images.mul(255).round().byte().permute(0, 2, 3, 1).numpy()"
        )
    raise ConfigError(
        f"{who} takes a path, the bytes of a file, a PIL image or a uint8 array (H, W, 3) or (H, W), got "
        f"{kind_of(picture)}{advice}"
    )


def on_pictures(
    pictures: Any, change: Change, who: str, read: Callable[[str | Path | bytes], Any] = decode_file
) -> Any:
    """Returns what ``change`` makes of one picture, which has number 0, or of each of several, in the kind that came.

    Raises:
        ConfigError, DataError: as in :func:`on_picture`; or there is no picture in the batch or list.
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        if pictures.dtype != np.uint8 or pictures.shape[3] != 3 or not len(pictures):
            raise ConfigError(f"{who} takes a batch as uint8 (N, H, W, 3), N at least 1, got {kind_of(pictures)}")
        return np.stack([change(picture, i) for i, picture in enumerate(pictures)])
    if isinstance(pictures, (list, tuple)):
        if not pictures:
            raise ConfigError(f"{who} needs at least one picture, got an empty {type(pictures).__name__}")
        return [
            on_picture(picture, functools.partial(change, index=i), f"{who}, for picture {i} of the list,", read)
            for i, picture in enumerate(pictures)
        ]
    return on_picture(pictures, functools.partial(change, index=0), who, read)
