"""From the records of a benchmark to its numbers."""

from RobustART.metrics.summaries.adversarial import adversarial, attack_costs, attack_warnings, transfer
from RobustART.metrics.summaries.common import single_pass
from RobustART.metrics.summaries.natural import SCORED, calibration, classification, imagenet_a, imagenet_c
from RobustART.metrics.summaries.stored import corruption_errors, flips, imagenet_o, imagenet_p, unknown_images
from RobustART.metrics.summaries.system import imagenet_s

__all__ = [
    "SCORED",
    "adversarial",
    "attack_costs",
    "attack_warnings",
    "calibration",
    "classification",
    "corruption_errors",
    "flips",
    "imagenet_a",
    "imagenet_c",
    "imagenet_o",
    "imagenet_p",
    "imagenet_s",
    "single_pass",
    "transfer",
    "unknown_images",
]
