"""What evaluators share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from RobustART.core.options import as_path
from RobustART.errors import ConfigError, RecordError
from RobustART.metrics.formats import original
from RobustART.metrics.join import Joiner
from RobustART.metrics.reading import read_result
from RobustART.metrics.results import Summary
from RobustART.metrics.spec import BENCHMARKS, Companions, spec_of
from RobustART.records.lines import Records, is_result_file


def ours(res_file: str | Path) -> bool:
    """Returns whether this names one result file of ours; a ConfigError says if it names no file or folder at all."""
    path = as_path(res_file, "a result file")
    return path.is_file() and is_result_file(path)


def records_for(evaluator: object, res_file: str | Path) -> Records:
    """Returns the records of a result file of ours; a RecordError names the evaluator that its benchmark has, if not this.

    Args:
        evaluator: the evaluator that asks.
        res_file: the file.
    """
    records = read_result(res_file)
    name, own = records.header["benchmark"], type(evaluator).__name__
    readers = [spec.name for spec in BENCHMARKS.values() if own in spec.evaluator.split(" or ")]
    if name not in readers:
        raise RecordError(f"{res_file} is of the benchmark {name}, but this evaluator reads {' or '.join(readers)}")
    return records


def classes_for(evaluator: object) -> tuple[int, ...]:
    """Returns the classes that compete in the benchmark of an evaluator."""
    own = type(evaluator).__name__
    return next(spec.classes() for spec in BENCHMARKS.values() if spec.evaluator == own and spec.classes)


def numbers_of(records: Records, **companions: Any) -> Summary:
    """Returns the numbers of records by the rule of their benchmark; ``companions`` are those of ``Companions``."""
    return spec_of(records.header["benchmark"]).numbers(records, Companions(**companions))


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
        verdicts = original().verdicts(path)
        joiner = joiner or Joiner(verdicts.place, verdicts.names, verdicts.labels)
        found.append(verdicts.correct[joiner.rows(verdicts.place, verdicts.names, verdicts.labels)])
    return found
