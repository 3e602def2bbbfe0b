"""Tidy tables of numbers, one row for each, as CSV, Parquet and pandas."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from RobustART.core.optional import require
from RobustART.core.tables import csv_table

if TYPE_CHECKING:
    import pandas

_TEXT = ("run", "benchmark", "metric", "row", "column")
_NUMBERS = ("value", "low", "high")
HEAD = (*_TEXT, *_NUMBERS, "n", "not_trustworthy", "reason")
"""Columns. ``row`` and ``column`` are empty unless the number is a cell of the table ``metric``; ``value`` is the number
even if it is not trustworthy, with the signs in ``not_trustworthy``; ``reason`` is why there is no value."""
Row = dict[str, Any]


def tidy_row(place: Sequence[str], estimate: Mapping[str, Any]) -> Row:
    """Returns the row of a number.

    Args:
        place: run, benchmark, metric, row and column.
        estimate: the number as in ``report.json``.
    """
    signs, why = "; ".join(estimate.get("not_trustworthy", ())), estimate.get("reason", "")
    numbers = (estimate[key] for key in (*_NUMBERS, "n"))
    return dict(zip(HEAD, (*place, *numbers, signs, why), strict=True))


def tidy_csv(rows: Sequence[Row]) -> str:
    """Returns rows as CSV; a missing value is empty."""
    return csv_table([HEAD, *(["" if row[key] is None else row[key] for key in HEAD] for row in rows)])


def tidy_parquet(rows: Sequence[Row]) -> bytes:
    """Returns rows as a Parquet file; raises a ConfigError if pyarrow is not installed."""
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    kinds = {**dict.fromkeys(_NUMBERS, arrow.float64()), "n": arrow.int64()}
    schema = arrow.schema([(key, kinds.get(key, arrow.string())) for key in HEAD])
    buffer = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()


def tidy_frame(rows: Sequence[Row]) -> pandas.DataFrame:
    """Returns rows as a data frame; raises a ConfigError if pandas is not installed."""
    frame = require("pandas").DataFrame(list(rows), columns=list(HEAD))
    return frame.astype({**dict.fromkeys(_NUMBERS, "float64"), "n": "int64"})
