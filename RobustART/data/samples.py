"""One image of a data set as a :class:`Sample`: its bytes, its pixels and the model's view of it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import numpy as np

from RobustART.core.imaging import Array, decode
from RobustART.errors import DataError


def content_digest(source: bytes | Array) -> str:
    """Returns 16 hexadecimal digits over the bytes of a file or over pixels."""
    content = source if isinstance(source, bytes) else np.ascontiguousarray(source).data
    return hashlib.blake2b(content, digest_size=8).hexdigest()


class Sample:
    """One image; its bytes, its pixels and the model's view of it are each made once, when first asked for.

    Attributes:
        image_id: its number in the data set.
        filename: its name in the data set.
        label: its class.
    """

    def __init__(
        self,
        image_id: int,
        filename: str,
        label: int,
        read: Callable[[], bytes | Array],
        prepare: Callable[[Array], Array],
        exif_orientation: bool = False,
        decoder: str = "pil",
    ) -> None:
        self.image_id, self.filename, self.label = image_id, filename, label
        self._read, self._prepare, self._exif_orientation, self._decoder = read, prepare, exif_orientation, decoder
        self.last_made: tuple[str, Array] | None = None
        """The last sequence that a view made, by name; consecutive views of that sequence reuse it."""

    @functools.cached_property
    def _source(self) -> bytes | Array:
        return self._read()

    @property
    def data(self) -> bytes:
        """The file's bytes; an image that was given as pixels has none (DataError)."""
        if not isinstance(self._source, bytes):
            raise DataError(f"{self.filename} was given as pixels; there is no file to decode in another way")
        return self._source

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over the file's bytes or the pixels: a result file says by them what it was made from."""
        return content_digest(self._source)

    @functools.cached_property
    def image(self) -> Array:
        """The decoded image, uint8 (H, W, 3)."""
        return self.decoded(self._decoder) if isinstance(self._source, bytes) else self._source

    def decoded(self, decoder: str) -> Array:
        """The image by one of ``imaging.DECODERS``, uint8 (H, W, 3)."""
        return decode(self.data, exif_orientation=self._exif_orientation, name=self.filename, decoder=decoder)

    @property
    def size(self) -> int:
        """Side of the model's input, in pixels."""
        return self.crop.shape[0]

    @functools.cached_property
    def crop(self) -> Array:
        """The image at the model's input size, uint8 (S, S, 3)."""
        return self._prepare(self.image)
