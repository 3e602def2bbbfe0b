"""ImageNet-C's corruptions by their official groups (Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261)."""

from __future__ import annotations

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The 19 corruptions by group."""
SCORED = tuple(name for group, names in GROUPS.items() if group != "extra" for name in names)
"""The 15 corruptions that ImageNet-C's scores count; the other 4 of the 19 are extra."""
