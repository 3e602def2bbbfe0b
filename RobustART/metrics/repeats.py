"""The spread of a model that draws random numbers: accuracies of the single answers whose average classifies an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from RobustART.records.lines import Records


def spreads(records: Records) -> dict[str, dict[str, float]]:
    """Returns mean, standard deviation, lowest and highest accuracy of the single answers, in percent, by cell.

    The name of a cell follows that of its pass. The result is empty if the model was asked once.
    """
    found = {}
    count = records.header["conditions"].get("repeats", 1)
    for table in records.passes:
        if count == 1 or table.answers is None or not len(table.ids):
            continue
        bits = table.answers[..., None] >> np.arange(count) & 1
        for cell, accuracy in zip(table.cells, 100 * bits.mean(axis=0), strict=True):
            found[f"{table.name} {cell}".strip()] = {
                "mean": round(float(accuracy.mean()), 10), "std": round(float(accuracy.std(ddof=1)), 10),
                "lowest": round(float(accuracy.min()), 10), "highest": round(float(accuracy.max()), 10),
            }  # fmt: skip
    return found


def repeat_warnings(records: Records) -> Iterator[str]:
    """Yields a note on the spread of the single answers in the cell where it is largest."""
    found = spreads(records)
    if not found:
        return
    cell, widest = max(found.items(), key=lambda item: item[1]["std"])
    yield (
        f"each number is of the mean of {records.header['conditions']['repeats']} answers. The accuracy of a single answer "
        f"varies most in {cell}: {widest['mean']:.2f} on average, standard deviation {widest['std']:.2f}, from "
        f"{widest['lowest']:.2f} to {widest['highest']:.2f}"
    )
