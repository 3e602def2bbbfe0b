"""From the bytes of a picture to an ``image``, a uint8 array (H, W, 3): decoders, resizes and crops."""

from RobustART.core.imaging.decoding import (
    DECODERS,
    Array,
    JpegQuality,
    check_jpeg_quality,
    decode,
    decode_picture,
    encode_jpeg,
    picture_pixels,
    read_bytes,
)
from RobustART.core.imaging.resizing import FILTERS, REFERENCE, RESIZES, center_crop, resize, resize_shorter

__all__ = [
    "DECODERS",
    "FILTERS",
    "REFERENCE",
    "RESIZES",
    "Array",
    "JpegQuality",
    "center_crop",
    "check_jpeg_quality",
    "decode",
    "decode_picture",
    "encode_jpeg",
    "picture_pixels",
    "read_bytes",
    "resize",
    "resize_shorter",
]
