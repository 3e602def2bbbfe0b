"""From the records of a benchmark to its numbers."""

from collections.abc import Callable

from RobustART.metrics.estimates import Summary
from RobustART.metrics.summaries.adversarial import (
    Attacked,
    adversarial,
    attack_costs,
    attack_warnings,
    robustness,
    transfer,
)
from RobustART.metrics.summaries.common import matched_clean, single_pass
from RobustART.metrics.summaries.natural import (
    SCORED,
    calibration,
    classification,
    corrupted,
    imagenet_a,
    imagenet_c,
    top_k,
)
from RobustART.metrics.summaries.stored import corruption_errors, flips, imagenet_o, imagenet_p, unknown_images
from RobustART.metrics.summaries.system import imagenet_s, systems
from RobustART.records import Records

SUMMARIES: dict[str, Callable[[Records], Summary]] = {
    "clean": classification,
    "imagenet_a": imagenet_a,
    "imagenet_c": imagenet_c,
    **dict.fromkeys(("imagenet_r", "imagenet_sketch", "imagenet_v2"), classification),
    **dict.fromkeys(("cifar_c", "imagenet_3dcc", "imagenet_c_bar"), corruption_errors),
    "imagenet_o": imagenet_o,
    "imagenet_p": imagenet_p,
    "imagenet_s": imagenet_s,
    "adversarial": adversarial,
    "transfer": transfer,
}
"""Names of benchmarks and the functions from their records to their numbers."""

__all__ = [
    "SCORED",
    "SUMMARIES",
    "Attacked",
    "Summary",
    "adversarial",
    "attack_costs",
    "attack_warnings",
    "calibration",
    "classification",
    "corrupted",
    "corruption_errors",
    "flips",
    "imagenet_a",
    "imagenet_c",
    "imagenet_o",
    "imagenet_p",
    "imagenet_s",
    "matched_clean",
    "robustness",
    "single_pass",
    "systems",
    "top_k",
    "transfer",
    "unknown_images",
]
