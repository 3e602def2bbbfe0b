"""The axes of the radar: for each benchmark what represents it, as accuracies, where more is more robust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from RobustART.metrics.spec import Axis, face


def noise_families(report: Mapping[str, Any]) -> list[Axis]:
    """Returns the axes of a report's radar; undefined ones are left out."""
    found = [axis for name, entry in report["benchmarks"].items() for axis in face(name).axes(entry)]
    return [axis for axis in found if axis.estimate["value"] is not None]
