"""What evaluators share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from RobustART.errors import RecordError
from RobustART.metrics import formats
from RobustART.metrics.join import Joiner
from RobustART.metrics.reading import read_result
from RobustART.records import Records, is_result_file


def ours(res_file: object) -> bool:
    """Returns whether this names one result file of ours."""
    return isinstance(res_file, (str, Path)) and Path(res_file).is_file() and is_result_file(res_file)


def records_of(res_file: str | Path, *benchmarks: str) -> Records:
    """Returns a result file's records, or raises a RecordError if it is of none of these benchmarks."""
    records = read_result(res_file)
    if records.header["benchmark"] not in benchmarks:
        raise RecordError(
            f"{res_file} is of the benchmark {records.header['benchmark']}, but this evaluator reads "
            f"{' or '.join(benchmarks)}"
        )
    return records


def check_top(ks: Sequence[int]) -> tuple[int, ...]:
    """Returns the numbers k of top-k accuracies, checked."""
    values = tuple(ks)
    if not values or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in values):
        raise RecordError(f"topk must be whole numbers from 1, such as (1, 5), got {ks!r}")
    return values


def joined(res_files: Sequence[str | Path]) -> list[NDArray[np.bool_]]:
    """Returns whether images are right in each of the original's files, (N,), rows of one image being in one place.

    Raises:
        RecordError: a file is missing or damaged, or they are of different images.
    """
    found: list[NDArray[np.bool_]] = []
    joiner: Joiner | None = None
    for path in res_files:
        verdicts = formats.read_verdicts(path)
        joiner = joiner or Joiner(verdicts.place, verdicts.names, verdicts.labels)
        found.append(verdicts.correct[joiner.rows(verdicts.place, verdicts.names, verdicts.labels)])
    return found
