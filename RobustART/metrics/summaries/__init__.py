"""From the records of a benchmark to its numbers."""

import dataclasses
from collections.abc import Callable, Mapping

from RobustART.errors import RecordError
from RobustART.metrics.results import Summary
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
from RobustART.metrics.summaries.perturbed import flips, imagenet_p
from RobustART.metrics.summaries.stored import corruption_errors, imagenet_o, unknown_images
from RobustART.metrics.summaries.system import imagenet_s, systems
from RobustART.records.lines import Records

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


def summarize(
    runs: Mapping[str, Records],
    functions: Mapping[str, Callable[[Records], Summary]] | None = None,
    baseline: Records | None = None,
) -> dict[str, Summary]:
    """Returns the numbers of several benchmarks of one model by name; with ``clean``, ImageNet-C's have relative mCE.

    Args:
        runs: records by the name of their benchmark.
        functions: from the records of each to its numbers; :data:`SUMMARIES` by default.
        baseline: records of ``imagenet_p`` of the model, AlexNet in papers, over whose numbers mFR and mT5D are.

    Raises:
        RecordError: no benchmark of this name is known, or the baseline is of other videos' options.
    """
    table = SUMMARIES if functions is None else functions
    found = {}
    for name, records in runs.items():
        if name not in table:
            raise RecordError(f"a result file is of the benchmark {name!r}; known: {', '.join(table)}")
        clean = runs.get("clean") if table[name] is imagenet_c else None
        if baseline is not None and table[name] is imagenet_p:
            found[name] = imagenet_p(records, baseline)
        else:
            found[name] = table[name](records) if clean is None else _with_clean(records, clean)
    return found


def _with_clean(records: Records, clean: Records) -> Summary:
    """Returns ImageNet-C's numbers with relative mCE; or, if the clean records are of other photos, without, and a note."""
    try:
        matched_clean(single_pass(records), clean)
    except RecordError as error:
        summary = imagenet_c(records)
        return dataclasses.replace(summary, notes=(*summary.notes, f"imagenet_c has no relative mCE: {error}"))
    return imagenet_c(records, clean)


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
    "summarize",
    "systems",
    "top_k",
    "transfer",
    "unknown_images",
]
