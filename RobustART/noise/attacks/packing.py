"""A batch that stays full: rows leave when they are finished, and waiting ones take their places.

Every attack here is a function that advances all rows of a state by one step. A row is one image, or one image with one
target class or restart. As each row carries its own counter and its own random key, it goes its way whatever the rows
beside it do, and so the batch can be packed anew after every step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Rows = dict[str, Tensor]


def take(rows: Rows, keep: Tensor) -> Rows:
    """Returns the rows selected by a mask or by positions."""
    return {name: value[keep] for name, value in rows.items()}


def join(first: Rows, second: Rows) -> Rows:
    """Returns the rows of both, which have the same columns."""
    return {name: torch.cat((value, second[name])) for name, value in first.items()}


def size(rows: Rows | None) -> int:
    """Returns the number of rows."""
    return 0 if rows is None else len(next(iter(rows.values())))


def drive(
    items: Tensor,
    slots: int | None,
    begin: Callable[[Tensor], Rows],
    advance: Callable[[Rows], Tensor | None],
    *,
    skip: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Carries every item through ``advance`` until it is finished.

    Args:
        items: keys of the work items, (M,), begun in this order.
        slots: rows that stand in the batch at once; None for all.
        begin: items to fresh rows.
        advance: one step for all rows, which it changes; returns a mask of the finished ones, or None if none is. It
            stores the results of finished rows itself.
        skip: a mask of waiting items that need not be begun any more.
    """
    slots = max(1, len(items) if slots is None else slots)
    rows: Rows | None = None
    while len(items) or size(rows):
        room = slots - size(rows)
        if room > 0 and len(items) and skip is not None:
            items = items[~skip(items)]
        if room > 0 and len(items):
            fresh = begin(items[:room])
            items = items[room:]
            rows = fresh if rows is None else join(rows, fresh)
        if rows is None or not size(rows):
            continue
        finished = advance(rows)
        if finished is not None and bool(finished.any()):
            rows = take(rows, ~finished)


def where(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Returns the rows of ``first`` where ``mask`` (M,) is true, those of ``second`` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (first.ndim - 1)), first, second)
