"""From the records of a benchmark to its numbers."""

from RobustART.metrics.summaries.adversarial import adversarial, attack_costs, attack_warnings, transfer
from RobustART.metrics.summaries.common import single_pass
from RobustART.metrics.summaries.natural import SCORED, calibration, classification, imagenet_a, imagenet_c

__all__ = [
    "SCORED",
    "adversarial",
    "attack_costs",
    "attack_warnings",
    "calibration",
    "classification",
    "imagenet_a",
    "imagenet_c",
    "single_pass",
    "transfer",
]
