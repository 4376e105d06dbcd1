"""Sums of rows of floats whose order is fixed on every device, forward and backward.

On a CUDA device, ``index_add_`` adds rows with atomic operations, in any order, and so does the
backward pass of ``index_select``. What is used here instead sorts first.

Shape legend: R rows of a total, N rows, C columns, S segments.
"""

from __future__ import annotations

import torch
from torch import Tensor


def add_rows_(total_RC: Tensor, index_N: Tensor, rows_NC: Tensor) -> None:
    """Add rows to rows of a total, in place; those of the same row are added in their order.

    Args:
        total_RC: what is added to.
        index_N: row of the total for each row, int64.
        rows_NC: in the dtype of the total.
    """
    if total_RC.device.type == "cpu":
        total_RC.index_add_(0, index_N, rows_NC)
    else:
        total_RC.index_put_((index_N,), rows_NC, accumulate=True)


def take_rows(column: Tensor, index_N: Tensor) -> Tensor:
    """Return rows of a column, of which a row may be taken several times; differentiable.

    Args:
        column: [R, ...].
        index_N: int64.
    """
    if column.requires_grad and column.device.type != "cpu":
        return column[index_N]
    return column.index_select(0, index_N)


def sum_segments(rows_NC: Tensor, length_S: Tensor, segment_N: Tensor, longest: int) -> Tensor:
    """Return the sums of consecutive rows, [S, C]; differentiable in the rows.

    A sum does not depend on where its segment is. On a CPU, rows are added one after the other. On
    other devices ``segment_reduce`` would do that in one thread a segment, so there sums are a
    binary tree over the places in a segment (Hillis and Steele, "Data parallel algorithms", 1986).

    Args:
        rows_NC: sorted by segment.
        length_S: rows of each segment, int64; they add up to N.
        segment_N: segment of each row, int64.
        longest: the longest segment has no more rows than this.
    """
    if rows_NC.device.type == "cpu":
        return torch.segment_reduce(rows_NC, "sum", lengths=length_S, axis=0, unsafe=True)
    rows = rows_NC.shape[0]
    end_S = length_S.cumsum(0)
    # Rows from here to the end of the segment.
    room_N1 = end_S.index_select(0, segment_N) - torch.arange(rows, device=rows_NC.device)
    room_N1 = room_N1.unsqueeze(1)
    sums_NC, reach = rows_NC.clone(), 1
    # Each row is the sum of ``reach`` rows from it on, or of those up to the end of its segment.
    while reach < min(longest, rows):
        further = torch.where(room_N1[:-reach] > reach, sums_NC[reach:], 0.0)
        sums_NC[:-reach].add_(further)
        reach *= 2
    first_S = (end_S - length_S).clamp(max=max(rows - 1, 0))
    return torch.where((length_S > 0).unsqueeze(1), take_rows(sums_NC, first_S), 0.0)
