"""Noise: ``AddNoise`` for images, ``corrupt`` and ``CORRUPTIONS`` for ImageNet-C, ``ATTACKS`` for adversarial noise."""

from RobustART.noise.add_noise import AddNoise
from RobustART.noise.attacks import ATTACKS
from RobustART.noise.corruptions import CORRUPTIONS, corrupt
from RobustART.noise.perturbations import PERTURBATIONS, perturb

__all__ = ["ATTACKS", "CORRUPTIONS", "PERTURBATIONS", "AddNoise", "corrupt", "perturb"]
