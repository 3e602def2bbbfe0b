"""Helpers that the evaluators share."""

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
    """Returns whether ``res_file`` is a result file of ours.

    Raises:
        ConfigError: ``res_file`` is not a path.
    """
    path = as_path(res_file, "a result file")
    return path.is_file() and is_result_file(path)


def records_for(evaluator: object, res_file: str | Path) -> Records:
    """Returns the records of a result file of ours.

    Args:
        evaluator: the evaluator that reads it.
        res_file: the file.

    Raises:
        RecordError: the file is damaged, or of a benchmark that the evaluator does not read.
    """
    records = read_result(res_file)
    name, own = records.header["benchmark"], type(evaluator).__name__
    readers = [spec.name for spec in BENCHMARKS.values() if own in spec.evaluator.split(" or ")]
    if name not in readers:
        raise RecordError(f"{res_file} is of the benchmark {name}, but this evaluator reads {' or '.join(readers)}")
    return records


def classes_for(evaluator: object) -> tuple[int, ...]:
    """Returns the classes that compete in an evaluator's benchmark."""
    own = type(evaluator).__name__
    return next(spec.classes() for spec in BENCHMARKS.values() if spec.evaluator == own and spec.classes)


def numbers_of(records: Records, **companions: Any) -> Summary:
    """Returns the numbers that the benchmark of ``records`` defines; ``companions`` are the fields of ``Companions``."""
    return spec_of(records.header["benchmark"]).numbers(records, Companions(**companions))


def check_top(ks: Sequence[int]) -> tuple[int, ...]:
    """Returns the values of k of top-k accuracies; raises a ConfigError unless they are positive integers."""
    values = tuple(ks) if isinstance(ks, Iterable) else ()
    if not values or any(type(k) is not int or k < 1 for k in values):
        raise ConfigError(f"topk must be a list of integers from 1, such as (1, 5), got {ks!r}")
    return values


def check_list(res_files: object, what: str) -> list[Path]:
    """Returns the paths of a list of result files; raises a ConfigError that names ``what`` if it is not a list."""
    if not isinstance(res_files, (list, tuple)) or not res_files:
        raise ConfigError(f"{what} must be a list of result files, got {res_files!r}")
    return [as_path(path, "a result file") for path in res_files]


def joined(res_files: Sequence[str | Path]) -> list[NDArray[np.bool_]]:
    """Returns for each of the original's files whether the images are correct, (N,), in the image order of the first file.

    Raises:
        RecordError: a file is missing or damaged, or the files are of different images.
    """
    found: list[NDArray[np.bool_]] = []
    joiner: Joiner | None = None
    for path in res_files:
        verdicts = original().verdicts(path)
        joiner = joiner or Joiner(verdicts.place, verdicts.names, verdicts.labels)
        found.append(verdicts.correct[joiner.rows(verdicts.place, verdicts.names, verdicts.labels)])
    return found
