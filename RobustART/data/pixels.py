"""What the images of other libraries' data sets are (type, range, size), and their pixels as uint8 (H, W, 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from RobustART.core.imaging import Array, picture_pixels
from RobustART.errors import DataError

GREY_LEVEL = 1e-3
"""Values in [0, 1] may be outside by this, and be this far from a grey level, by rounding."""
_FORMS = "PIL images, or tensors (C, H, W) or arrays (H, W, C) of 1 or 3 channels, uint8 or float in [0, 1]"


@dataclasses.dataclass(frozen=True)
class Form:
    """How the images of a data set are stored, as found in some of them."""

    kind: str
    """Type, such as ``float32 tensors``."""
    scale: Literal["8 bits", "[0, 1]", "[0, 255]", "normalised"]
    """Range of the values."""
    mean: tuple[float, ...] = ()
    """Mean that the data set's own transform subtracts, if it normalises."""
    std: tuple[float, ...] = ()
    """Standard deviation by which it divides."""
    exact: bool = True
    """Whether the values are grey levels of 8 bits; otherwise they are rounded to them."""
    shape: tuple[int, ...] | None = None
    """Shape (H, W, C) of the images; None if it differs."""

    @property
    def side(self) -> int | None:
        """Side of the images, if all are squares of one size."""
        return self.shape[0] if self.shape and self.shape[0] == self.shape[1] else None

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """The mean and std with which a model normalises images in [0, 1] to the values of these; empty for 8 bits."""
        if self.scale == "8 bits":
            return {}
        unit = 1 / 255 if self.scale == "[0, 255]" else 1.0
        return {"mean": list(self.mean or (0.0,)), "std": list(self.std or (unit,))}

    def __str__(self) -> str:
        size = "of several sizes" if self.shape is None else "of " + " x ".join(map(str, self.shape[:2]))
        channels = "" if self.shape is None or self.shape[2] == 3 else ", one channel"
        undone = f"normalised with mean {list(self.mean)}, std {list(self.std)}" if self.mean else f"in {self.scale}"
        rounded = "" if self.exact else ", rounded to 8 bits"
        return f"{self.kind} {size}{channels}" + ("" if self.scale == "8 bits" else f", {undone}{rounded}")

    def pixels(self, value: Any, name: str) -> Array:
        """Returns an image as uint8 (H, W, 3); raises a DataError that names it if it is of another form."""
        values = _channels_last(value, name)
        if self.scale != "8 bits" or values.dtype != np.uint8:
            values = self._unscaled(values)
            low, high = _range([values], name)
            if low < -GREY_LEVEL * 255 or high > 255 + GREY_LEVEL * 255:
                raise DataError(
                    f"{name} has values outside the range of the others ({self}): {low / 255:.4g} to {high / 255:.4g} "
                    "where 0 to 1 is allowed"
                )
            values = np.rint(values.clip(0, 255)).astype(np.uint8)
        if values.shape[2] == 1:
            values = values.repeat(3, axis=2)
        return np.ascontiguousarray(values)

    def _unscaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Returns values in [0, 255]."""
        values = values.astype(np.float64)
        if self.scale == "normalised":
            values = values * np.array(self.std) + np.array(self.mean)
        return values if self.scale in ("[0, 255]", "8 bits") else values * 255


def form_of(images: Sequence[Any], name: str, normalise: tuple[tuple[float, ...], tuple[float, ...]] | None) -> Form:
    """Returns the form that some images of a data set have.

    Args:
        images: PIL images, tensors or arrays.
        name: name of the data set.
        normalise: mean and std with which its transform normalises.

    Raises:
        DataError: they are not images, differ in type, or their range is not known.
    """
    kinds = sorted({_kind(image, f"image {i} of {name}") for i, image in enumerate(images)})
    arrays = [_channels_last(image, f"image {i} of {name}") for i, image in enumerate(images)]
    shapes = {array.shape for array in arrays}
    shape = shapes.pop() if len(shapes) == 1 else None
    floats = {array.dtype.kind == "f" for array in arrays}
    if len(floats) > 1:
        raise DataError(f"the images of {name} must have one type, got {' and '.join(kinds)}")
    kind = " and ".join(kinds)
    low, high = _range(arrays, name)
    if floats == {False}:
        if low < 0 or high > 255:
            raise DataError(f"the images of {name} have integers from {low:g} to {high:g}; 0 to 255 is allowed")
        return Form(kind, "8 bits", shape=shape)
    forms = [Form(kind, "[0, 1]", shape=shape), Form(kind, "[0, 255]", shape=shape)]
    if normalise is not None:
        forms = [Form(kind, "normalised", *normalise, shape=shape)]
    for form in forms:
        values = [form._unscaled(array) for array in arrays]
        low_, high_ = _range(values, name)
        if low_ >= -GREY_LEVEL * 255 and high_ <= 255 * (1 + GREY_LEVEL):
            exact = all((np.abs(value - np.rint(value)) < GREY_LEVEL * 255).all() for value in values)
            return dataclasses.replace(form, exact=exact)
    undone = f", which are not in [0, 1] after its Normalize{normalise} is undone" if normalise else ""
    raise DataError(
        f"the images of {name} have values from {low:.4g} to {high:.4g}{undone}; images must be {_FORMS}. If they are "
        "normalised, leave that out of the data and state it: preprocessing={'mean': [...], 'std': [...]}"
    )


def _range(arrays: Sequence[NDArray[Any]], name: str) -> tuple[float, float]:
    low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name} has values that are not finite")
    return low, high


def _kind(image: Any, name: str) -> str:
    if isinstance(image, Image.Image):
        return "PIL images"
    if isinstance(image, torch.Tensor):
        return f"{str(image.dtype).removeprefix('torch.')} tensors"
    if isinstance(image, np.ndarray):
        return f"{image.dtype} arrays"
    raise DataError(f"{name} must be one of {_FORMS}, got {type(image).__name__}")


def _channels_last(image: Any, name: str) -> NDArray[Any]:
    """Returns an image as an array (H, W, 1 or 3). Tensors have the channels first, arrays last, if both are possible."""
    kind = _kind(image, name)
    if isinstance(image, Image.Image):
        array: NDArray[Any] = picture_pixels(image)
    elif isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        array = (image.float() if image.dtype in (torch.bfloat16, torch.float16) else image).numpy()
    else:
        array = image
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.size and array.dtype.kind in "uif":
        first, last = array.shape[0] in (1, 3), array.shape[2] in (1, 3)
        if first and (isinstance(image, torch.Tensor) or not last):
            return array.transpose(1, 2, 0)
        if last:
            return array
    raise DataError(f"{name} must be one of {_FORMS}, got {kind} of shape {tuple(array.shape)}")
