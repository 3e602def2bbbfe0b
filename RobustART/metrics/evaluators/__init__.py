"""Evaluators of result files: ``Evaluator().eval(res_file) -> Metric``. They need neither a model nor torch.

``res_file`` is a result file of ours or of the original RobustART: its path, or for the original's files the path without
``.all``, ``.rank0``, ``.rank1``, ... Images of several files are matched by name, never by the order of lines.
"""

from RobustART.metrics.evaluators.adversarial import AdvRobustEvaluator, WorstCaseAdvRobustEvaluator
from RobustART.metrics.evaluators.corrupted import ImageNetCEvaluator, ImageNetPEvaluator, ImageNetSEvaluator
from RobustART.metrics.evaluators.photos import ImageNetAEvaluator, ImageNetEvaluator, ImageNetOEvaluator

__all__ = [
    "AdvRobustEvaluator",
    "ImageNetAEvaluator",
    "ImageNetCEvaluator",
    "ImageNetEvaluator",
    "ImageNetOEvaluator",
    "ImageNetPEvaluator",
    "ImageNetSEvaluator",
    "WorstCaseAdvRobustEvaluator",
]
