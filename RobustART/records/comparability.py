"""Which runs may stand beside each other: the one rule, for ``robustart compare`` and for ``robustart leaderboard``.

1. Numbers of two runs are of the same thing if both measured the same images, by the same options, attacks and further
   models, with the same seed (:func:`protocol`). Where data lie, and what sets and sources are called, does not matter.
2. How a photo becomes a model's input belongs to the model, as long as that is the model's own way. On a board of many
   models each may have its own; a run that was told another way stands beside those alone that were told the same
   (:func:`board_conditions`).
3. Image by image, two runs must have been shown the same pixels: there the way itself must be the same, but for mean and
   standard deviation, which are inside the model (:func:`paired_conditions`).

How it was computed (batch size, precision, device, versions) hinders neither, but is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from RobustART.core.preprocessing import INNER

PLACES = ("root_dir", "meta")
"""Options that say where data lie: the same data may lie elsewhere, and their fingerprint tells them apart."""
_DATA = ("images", "subset", "decoder", "exif_orientation", "fingerprint")
"""What is said of each data set that decides which pixels a model is shown."""


def protocol(stated: Mapping[str, Any], cells: Collection[str] | None = None) -> dict[str, Any]:
    """Returns what must be the same in two runs of a benchmark for their numbers to be of the same thing.

    Args:
        stated: ``options``, ``attacks``, ``data``, ``models`` and ``seed``, as in the conditions of a result file.
        cells: the attacked cells that the number depends on; None is the whole benchmark.
    """
    common = {
        "data": [{key: row.get(key) for key in _DATA} for row in stated.get("data", [])],
        "seed": stated.get("seed"),
    }
    attacks, options = stated.get("attacks", {}), stated.get("options", {})
    if cells is not None and all(cell in attacks for cell in cells):
        return {**common, "attacks": {cell: attacks[cell] for cell in cells}} if cells else common
    said_better = (*PLACES, "models", *(("attacks", "eps") if attacks else ()))
    return {
        **common,
        "images": "made on the fly" if options.get("root_dir", "") is None else "as they are stored",
        "options": {key: value for key, value in options.items() if key not in said_better},
        "attacks": attacks,
        "sources": stated.get("sources", {}),
        "models": {
            name: {key: model[key] for key in ("arguments", "weights", "preprocessing") if key in model}
            for name, model in stated.get("models", {}).items()
        },
    }


def board_conditions(report: Mapping[str, Any], benchmark: str, cells: Collection[str] | None = None) -> dict[str, Any]:
    """Returns what two reports must share for a number to stand in one column of a board.

    Args:
        report: what ``report.json`` holds.
        benchmark: one that it has.
        cells: as in :func:`protocol`.
    """
    conditions = report["conditions"]
    entry = {**report["benchmarks"][benchmark], "seed": conditions["seed"]}
    changed = conditions["overridden"]
    return {**protocol(entry, cells), "overridden preprocessing": "unknown" if changed is None else changed}


def paired_conditions(header: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what two result files must share to be compared image by image; the images themselves come on top.

    Args:
        header: of a result file.
    """
    stated = header["conditions"]
    found = protocol(stated)
    for row, given in zip(found["data"], stated.get("data", []), strict=True):
        shown = {**stated.get("preprocessing", {}), **given.get("preprocessing", {})}
        row["preprocessing"] = {key: value for key, value in shown.items() if key not in INNER}
    found["cells"] = {
        f"{entry['name']} {cell}".strip(): "measured" for entry in header["passes"] for cell in entry["cells"]
    }
    return found
