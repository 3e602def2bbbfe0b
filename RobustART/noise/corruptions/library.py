"""ImageNet-C's corruptions by the library ``imagecorruptions``, which is imported when it is first used."""

from __future__ import annotations

from typing import Any

import numpy as np

from RobustART.core.imaging import Array
from RobustART.core.optional import require
from RobustART.errors import ConfigError


def imagecorruptions(name: str, image: Array, severity: int, rng: np.random.Generator) -> Array:
    """Returns the image corrupted by the library ``imagecorruptions`` (its maintained build, imagecorruptions-imaug).

    The library draws from numpy's global generator and from its own two; all are seeded from ``rng`` and the global
    one is put back, so that the result depends on ``rng`` alone.

    Args:
        name: one of the library's 19 corruptions.
        image: uint8 (H, W, 3), H and W at least 32.
        severity: 1 to 5.
        rng: the image's own generator.
    """
    library = require("imagecorruptions")
    if min(image.shape[:2]) < 32:
        raise ConfigError(f"imagecorruptions needs 32 x 32 pixels or more, got {image.shape[0]} x {image.shape[1]}")
    first, second = (int(value) for value in rng.integers(0, 2**32, size=2))
    options: dict[str, Any] = {"seed": second} if name in ("impulse_noise", "glass_blur") else {}
    state = np.random.get_state()
    np.random.seed(first)
    try:
        corrupted: Array = library.corrupt(image, severity=severity, corruption_name=name, **options)
    finally:
        np.random.set_state(state)
    return corrupted
