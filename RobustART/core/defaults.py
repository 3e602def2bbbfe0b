"""Defaults of settings that several packages declare."""

BATCH_SIZE = 64
"""Number of images in a forward pass of an evaluation."""

DEFAULT_EPS = {
    "Linf": (0.5 / 255, 2 / 255, 8 / 255),
    "L2": (0.5, 2.0, 8.0),
    "L1": (100.0, 400.0, 1600.0),
}
"""The benchmark's small, middle and large radius of each norm, for images in [0, 1] of shape (3, 224, 224)."""
NOT_KNOWN = "not known"
"""Fact of a model that neither its file nor its library states."""
UNTRAINED = "untrained"
"""Technique of random weights."""
