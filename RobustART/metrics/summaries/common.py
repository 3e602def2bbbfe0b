"""What the summaries of all benchmarks share."""

from __future__ import annotations

from RobustART.errors import RecordError
from RobustART.records import PassRecords, Records


def single_pass(records: Records) -> PassRecords:
    """Returns the pass of a benchmark that has one."""
    if len(records.passes) != 1:
        raise RecordError(f"one pass is expected here, the records have {len(records.passes)}")
    return records.passes[0]
