"""Kinds of images that image noise takes: each is read or checked, and the result has the kind of the input.

=========================================  ================================================
input                                      result
=========================================  ================================================
uint8 array (H, W, 3)                      a new array of this shape
uint8 array (H, W): greyscale              a new array of this shape
uint8 array (N, H, W, 3): a batch          a new array of this shape
PIL image                                  a PIL image of mode ``L`` if it is grey, else ``RGB``
path, or the bytes of a file               uint8 (H, W, 3), by the decoder
list or tuple of single images             a list of their results
=========================================  ================================================

Modes of PIL images other than ``L`` and ``RGB`` are converted by the rule of ``RobustART.core.imaging``: an alpha channel
is dropped, 16 bits become 8, palettes and CMYK are converted by pillow; 32 bits raise an error. The modes ``L``, ``LA``,
``1`` and 16 bits without colour are greyscale.
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
    """A noise function: from uint8 (H, W, 3) or (H, W), or what ``read`` returned, to uint8 of as many dimensions.

    ``index`` is the position of the image in the call; its random draws depend on it.
    """

    def __call__(self, image: Any, index: int) -> Array:
        """Returns the noisy image."""


def kind_of(value: Any) -> str:
    """Describes a value for messages: type and shape of arrays and tensors, the value of numbers and strings."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)}"
    return repr(value) if isinstance(value, (int, float, str)) or value is None else type(value).__name__


def check_array(pixels: Any, who: str, *, grey: bool = False, smallest: int = 1) -> None:
    """Raises a ConfigError unless a value is an image as a uint8 array (H, W, 3).

    Args:
        pixels: the value.
        who: name of the noise, for the message.
        grey: whether (H, W) is allowed too.
        smallest: least height and width in pixels.
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
    """Returns the given numpy generator, or for None a new one with seed 0; anything else is a ConfigError."""
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise ConfigError(f"rng must be a numpy.random.Generator, as numpy's default_rng(seed) is, got {kind_of(rng)}")
    return rng


def to_colour(image: Array) -> Array:
    """Returns an image (H, W) as three equal channels, and one (H, W, 3) unchanged."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def to_grey(image: Array) -> Array:
    """Returns the luminance (H, W) of an image (H, W, 3) as pillow computes it; equal channels are returned unchanged."""
    return np.array(Image.fromarray(image).convert("L"))


def decode_file(file: str | Path | bytes) -> Array:
    """Returns the image in a file, by its path or its bytes, as uint8 (H, W, 3)."""
    return decode(file) if isinstance(file, bytes) else decode(read_bytes(file), name=str(file))


def on_image(
    image: Any, change: Callable[[Any], Array], who: str, read: Callable[[str | Path | bytes], Any] = decode_file
) -> Any:
    """Applies ``change`` to one image; the result has the kind of the input.

    Args:
        image: of a kind in the table of this module, but for batches and lists.
        change: (uint8 (H, W, 3) or (H, W), or what ``read`` returned) -> uint8 array of as many dimensions.
        who: name of the noise, for messages.
        read: makes the input of ``change`` from a path or the bytes of a file.

    Raises:
        ConfigError: the image is of another kind.
        DataError: the file or the PIL image cannot be read.
    """
    if isinstance(image, np.ndarray):
        check_array(image, who, grey=True)
        return change(image)
    if isinstance(image, Image.Image):
        return Image.fromarray(change(picture_pixels(image)))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return change(read(bytes(image)))
    if isinstance(image, (str, os.PathLike)):
        return change(read(Path(image)))
    advice = ""
    if type(image).__module__.partition(".")[0] == "torch":
        advice = (
            "; a tensor (N, 3, H, W) in [0, 1] becomes images by "
            "images.mul(255).round().byte().permute(0, 2, 3, 1).numpy()"
        )
    raise ConfigError(
        f"{who} takes a path, the bytes of a file, a PIL image or a uint8 array (H, W, 3) or (H, W), got "
        f"{kind_of(image)}{advice}"
    )


def on_images(images: Any, change: Change, who: str, read: Callable[[str | Path | bytes], Any] = decode_file) -> Any:
    """Applies ``change`` to one image, which has index 0, or to each of several; the result has the kind of the input.

    Raises:
        ConfigError, DataError: as in :func:`on_image`; or the batch or list is empty.
    """
    if isinstance(images, np.ndarray) and images.ndim == 4:
        if images.dtype != np.uint8 or images.shape[3] != 3 or not len(images):
            raise ConfigError(f"{who} takes a batch as uint8 (N, H, W, 3), N at least 1, got {kind_of(images)}")
        return np.stack([change(image, i) for i, image in enumerate(images)])
    if isinstance(images, (list, tuple)):
        if not images:
            raise ConfigError(f"{who} needs at least one image, got an empty {type(images).__name__}")
        return [
            on_image(image, functools.partial(change, index=i), f"{who}, for image {i} of the list,", read)
            for i, image in enumerate(images)
        ]
    return on_image(images, functools.partial(change, index=0), who, read)
