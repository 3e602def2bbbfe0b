"""Models: every one takes images in [0, 1] and normalises by itself.

Its names are imported when they are first used, so that the table of architectures can be read without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from RobustART.core.preprocessing import Preprocessing
    from RobustART.models.create import RANDOM, build_model, create_model, wrap_model
    from RobustART.models.normalize import Classifier, Normalize
    from RobustART.models.weights import load_weights, read_state_dict

__all__ = [
    "RANDOM",
    "Classifier",
    "Normalize",
    "Preprocessing",
    "build_model",
    "create_model",
    "load_weights",
    "read_state_dict",
    "wrap_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for home in ("models.create", "models.normalize", "models.weights", "core.preprocessing"):
        found = getattr(importlib.import_module(f"RobustART.{home}"), name, None)
        if found is not None:
            return found
    raise AssertionError(name)
