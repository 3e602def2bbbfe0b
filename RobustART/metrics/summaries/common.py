"""What the summaries of all benchmarks share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.metrics.join import Joiner
from RobustART.records.lines import PassRecords, Records


def single_pass(records: Records) -> PassRecords:
    """Returns the pass of a benchmark that has one."""
    if len(records.passes) != 1:
        raise RecordError(f"one pass is expected here, the records have {len(records.passes)}")
    return records.passes[0]


def matched_clean(table: PassRecords, clean: Records) -> NDArray[np.bool_]:
    """Returns whether the images of a pass are right in the records of clean images, (N,), found there by file name.

    Raises:
        RecordError: these are records of other images.
    """
    other = single_pass(clean)
    joiner = Joiner("the result file", {"filename": table.files}, table.labels)
    rows = joiner.rows("the clean result file", {"filename": other.files}, other.labels)
    return np.asarray(other.correct[rows, 0])
