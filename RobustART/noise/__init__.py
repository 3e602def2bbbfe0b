"""Noise: ``AddNoise`` for pictures, ``corrupt`` and ``CORRUPTIONS`` for ImageNet-C, ``ATTACKS`` for adversarial noise."""

from RobustART.noise.add_noise import AddNoise
from RobustART.noise.attacks import ATTACKS
from RobustART.noise.corruptions import CORRUPTIONS, corrupt

__all__ = ["ATTACKS", "CORRUPTIONS", "AddNoise", "corrupt"]
