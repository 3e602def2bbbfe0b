"""What evaluators share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from RobustART.core.options import as_path
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.join import Joiner
from RobustART.metrics.reading import read_result
from RobustART.original import results as formats
from RobustART.records.lines import Records, is_result_file


def ours(res_file: str | Path) -> bool:
    """Returns whether this names one result file of ours; a ConfigError says if it names no file or folder at all."""
    path = as_path(res_file, "a result file")
    return path.is_file() and is_result_file(path)


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
    """Returns the numbers k of top-k accuracies, or raises a ConfigError if they are not whole numbers from 1."""
    values = tuple(ks) if isinstance(ks, Iterable) else ()
    if not values or any(type(k) is not int or k < 1 for k in values):
        raise ConfigError(f"topk must be a list of whole numbers from 1, such as (1, 5), got {ks!r}")
    return values


def check_list(res_files: object, what: str) -> list[Path]:
    """Returns a list of result files, or raises a ConfigError that says ``what`` must be one."""
    if not isinstance(res_files, (list, tuple)) or not res_files:
        raise ConfigError(f"{what} must be a list of result files, got {res_files!r}")
    return [as_path(path, "a result file") for path in res_files]


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
