"""Optional libraries, imported on demand; the error for a missing one gives the command that installs it."""

from __future__ import annotations

import importlib
from types import ModuleType

from RobustART.errors import ConfigError

PACKAGES = {
    "cv2": "opencv-python", "imagecorruptions": "imagecorruptions-imaug", "open_clip": "open_clip_torch",
    "torchattacks": "--no-deps torchattacks", "pyarrow.parquet": "pyarrow",
}  # fmt: skip
"""Arguments of ``pip install`` for modules whose package has another name."""


def require(module: str) -> ModuleType:
    """Returns a module; raises a ConfigError with the command that installs it if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if "libGL" in str(error) or "libgthread" in str(error):
            raise ConfigError(
                f"OpenCV needs a system library that is missing ({error}): "
                "pip install --force-reinstall opencv-python-headless"
            ) from error
        raise ConfigError(
            f"the backend {module!r} needs a package that is not installed: pip install {PACKAGES.get(module, module)}"
        ) from error
