"""Fixed row counts for every network call, and the test that a row's bits do not depend on them.

Matrix products round a row differently with the number of rows beside it. So rows are cut into
blocks of a few fixed heights, the last one padded with copies of a row, and at start-up the model's
own shapes are tried: the same rows, at several offsets and in blocks of several heights, must give
the same bits. Only heights that agree are used, so it does not matter which of them holds a row.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger("energy_flow.blocks")

PROBE_ROWS = 32
"""Rows that are compared between heights and places."""
CALL_ROWS = 48
"""Rough cost of one more call on a CPU, in rows."""
DEVICE_CALL_ROWS = 1024
"""The same on other devices, where a call launches dozens of kernels."""
COSTLY = 1.15
"""Rows computed for each that there is beyond which missing heights give a warning."""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The block heights that a network may be called with.

    Attributes:
        heights: ascending; full blocks have the last one.
        invariant: whether the start-up test showed these heights to agree bitwise.
        padded: whether the last block is filled up to one of the heights.
        call_rows: rough cost of one more call, in rows.
    """

    heights: tuple[int, ...]
    invariant: bool
    padded: bool = True
    call_rows: int = CALL_ROWS

    def cover(self, rows: int) -> list[tuple[int, int]]:
        """Return blocks ``(start, height)`` that cover ``rows`` rows; the last may reach beyond."""
        full = self.heights[-1]
        blocks = [(start, full) for start in range(0, rows - full + 1, full)]
        done = len(blocks) * full
        rest = rows - done
        if not rest:
            return blocks
        if not self.padded:
            return [*blocks, (done, rest)]
        # One block, or two where that saves more padding than a second call costs.
        single = self._lowest_for(rest)
        if single <= self.heights[0] + self.call_rows:
            return [*blocks, (done, single)]
        pairs = [(h, self._lowest_for(rest - h)) for h in self.heights if h < rest]
        first, second = min(pairs, key=sum, default=(single, 0))
        if first + second + self.call_rows >= single:
            return [*blocks, (done, single)]
        return [*blocks, (done, first), (done + first, second)]

    def _lowest_for(self, rows: int) -> int:
        return self.heights[bisect_left(self.heights, rows)]

    def computed(self, rows: int) -> int:
        """Return how many rows are computed for so many rows."""
        return sum(height for _, height in self.cover(rows))


def device_heights(full: int) -> tuple[int, ...]:
    """Return heights up to ``full``, ascending, for devices other than a CPU.

    There are eight to an octave, so that at most an eighth of a block of 256 rows or more is
    padding.

    Args:
        full: the largest height wanted: 256 times a power of two.
    """
    heights = [PROBE_ROWS * step for step in range(1, 9)]
    while heights[-1] < full:
        octave = heights[-1]
        heights += [octave + octave // 8 * step for step in range(1, 9)]
    return tuple(height for height in heights if height <= full)


def candidate_heights(full: int, threads: int) -> tuple[int, ...]:
    """Return heights up to ``full``, ascending: multiples of 32 and of the threads' number.

    A thread's share of a block must hold whole vector registers, or the rows at its uneven edge
    would be computed by scalar instructions, which round differently.

    Args:
        full: the largest height wanted.
        threads: that share a block.
    """
    unit = PROBE_ROWS * (threads if threads & (threads - 1) else 1)
    full = max(unit, full // unit * unit)
    steps = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
    return (*(unit * step for step in steps if unit * step < full), full)


def _is_same(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def try_heights(
    run: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    inputs: Sequence[Tensor],
    candidates: Sequence[int],
    call_rows: int = CALL_ROWS,
) -> Generator[None, None, BlockPlan]:
    """Try a network at each height and keep those that agree bitwise with the largest.

    The trial of a large model takes seconds, so the caller can do other work after each height.

    Args:
        run: the network, from column tensors of equal length to column tensors.
        inputs: random columns, at least ``candidates[-1] + PROBE_ROWS`` rows.
        candidates: heights, ascending.
        call_rows: rough cost of one more call, in rows.

    Yields:
        Nothing, after each height.

    Returns:
        The plan; ``invariant`` is false where even one height gives a row different bits at
        different places, and then that height alone is used.
    """
    probe = [column[-PROBE_ROWS:] for column in inputs]

    @torch.inference_mode()
    def bits(height: int, offset: int) -> list[Tensor]:
        block = [column[:height].clone() for column in inputs]
        for column, rows in zip(block, probe, strict=True):
            column[offset : offset + PROBE_ROWS] = rows
        return [column[offset : offset + PROBE_ROWS].clone() for column in run(block)]

    full = candidates[-1]
    # Libraries choose how they compute a shape, and with how many threads, at its first use.
    bits(full, 0)
    expected = bits(full, 0)

    def agrees(height: int) -> bool:
        last = height - PROBE_ROWS
        offsets = {0, min(7, last), last // 2, max(last - 5, 0), last}
        return all(all(map(_is_same, bits(height, offset), expected)) for offset in sorted(offsets))

    if not agrees(full):
        logger.warning(
            "rows of a block of %d are not bitwise independent of their place on this machine; "
            "results may depend on the batch",
            full,
        )
        return BlockPlan((full,), invariant=False, call_rows=call_rows)
    agreeing = []
    for height in candidates[:-1]:
        yield
        if agrees(height):
            agreeing.append(height)
    plan = BlockPlan((*agreeing, full), invariant=True, call_rows=call_rows)
    _warn_of_padding(plan, candidates)
    return plan


def _warn_of_padding(plan: BlockPlan, candidates: Sequence[int]) -> None:
    """Log what it costs that some heights cannot be used, if that is much.

    Args:
        plan: with the heights that can be used.
        candidates: all that were tried.
    """
    rows, computed = max(
        ((rows, plan.computed(rows)) for rows in candidates), key=lambda pair: pair[1] / pair[0]
    )
    missing = len(candidates) - len(plan.heights)
    if missing and computed > COSTLY * rows:
        logger.warning(
            "%d of %d block heights are not used, because they do not agree bitwise with a block "
            "of %d on this machine; with few active flows, steps are slower: %d rows are computed "
            "as %d",
            missing,
            len(candidates),
            candidates[-1],
            rows,
            computed,
        )
