"""From the bytes of a file to an ``image``, a uint8 array (H, W, 3): decoders, resizes and crops."""

from RobustART.core.imaging.decoders import DECODERS
from RobustART.core.imaging.decoding import JpegQuality, check_jpeg_quality, decode, decode_picture, encode_jpeg
from RobustART.core.imaging.formats import FORMATS, read_bytes
from RobustART.core.imaging.pillow import Array, picture_pixels
from RobustART.core.imaging.resizing import FILTERS, REFERENCE, RESIZES, center_crop, resize, resize_shorter

__all__ = [
    "DECODERS",
    "FILTERS",
    "FORMATS",
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
