"""From the bytes of a picture to an ``image``, a uint8 array (H, W, 3): decoders, resizes and crops."""

from RobustART.imaging.decoding import DECODERS, Array, decode, decode_picture, encode_jpeg, read_bytes, to_rgb
from RobustART.imaging.resizing import FILTERS, RESIZES, center_crop, resize, resize_shorter

__all__ = [
    "DECODERS",
    "FILTERS",
    "RESIZES",
    "Array",
    "center_crop",
    "decode",
    "decode_picture",
    "encode_jpeg",
    "read_bytes",
    "resize",
    "resize_shorter",
    "to_rgb",
]
