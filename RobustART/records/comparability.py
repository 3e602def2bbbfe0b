"""The rule of which runs are comparable, for ``robustart compare`` and ``robustart leaderboard``.

1. Numbers of two runs measure the same thing if the runs used the same images, options, attacks, further models, seed and
   number of answers (:func:`protocol`). The location of data and the names of data sets and sources do not matter.
2. Preprocessing belongs to the model. On a board of many models each may have its own; a run whose configuration overrides
   it shares a column only with runs that override it in the same way (:func:`board_conditions`).
3. A comparison image by image requires the same source images under the same noise (:func:`paired_conditions`). Each model
   sees them in its own preprocessing.

Differences in preprocessing and in how a run was computed (batch size, precision, device, versions) are reported but
prevent neither (:func:`circumstances`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from RobustART.core.preprocessing import INNER

PLACES = ("root_dir", "meta")
"""Options that locate data; the fingerprint identifies the data wherever they are."""
_DATA = ("images", "subset", "decoder", "exif_orientation", "fingerprint")
"""Conditions of a data set that determine the pixels a model receives."""
_HOW = ("batch_size", "channels_last", "precision", "device", "version")
"""Conditions of how a run was computed."""


def protocol(stated: Mapping[str, Any], cells: Collection[str] | None = None) -> dict[str, Any]:
    """Returns the conditions that two runs of a benchmark must share for their numbers to measure the same thing.

    Args:
        stated: ``options``, ``attacks``, ``data``, ``models``, ``repeats`` and ``seed``, as in the conditions of a result
            file.
        cells: attacked cells that the number depends on; None is the whole benchmark.
    """
    common = {
        "data": [{key: row.get(key) for key in _DATA} for row in stated.get("data", [])],
        "seed": stated.get("seed"),
        "repeats": stated.get("repeats", 1),
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
    """Returns the conditions that two reports must share for their numbers to share a column of a board.

    Args:
        report: contents of ``report.json``.
        benchmark: name of a benchmark in the report.
        cells: as in :func:`protocol`.
    """
    conditions = report["conditions"]
    entry = {**report["benchmarks"][benchmark], "seed": conditions["seed"]}
    changed = conditions["overridden"]
    return {**protocol(entry, cells), "overridden preprocessing": "unknown" if changed is None else changed}


def paired_conditions(header: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the conditions that two result files must share, besides the images, to be compared image by image.

    Args:
        header: header of a result file.
    """
    stated = header["conditions"]
    found = protocol(stated)
    found["cells"] = {
        f"{entry['name']} {cell}".strip(): "measured" for entry in header["passes"] for cell in entry["cells"]
    }
    return found


def circumstances(header: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the conditions of a result file whose differences are reported but do not prevent a comparison.

    The preprocessing is that of each pass, without mean and standard deviation, which are part of the model.

    Args:
        header: header of a result file.
    """
    stated = header["conditions"]
    rows = [{**stated.get("preprocessing", {}), **row.get("preprocessing", {})} for row in stated.get("data") or [{}]]
    seen = [{key: value for key, value in row.items() if key not in INNER} for row in rows]
    return {
        **{key: stated.get(key) for key in _HOW},
        "runtime": stated.get("runtime", {}).get("name", "torch"),
        "preprocessing": seen[0] if seen and all(row == seen[0] for row in seen) else seen,
        "versions": header.get("versions", {}),
    }
