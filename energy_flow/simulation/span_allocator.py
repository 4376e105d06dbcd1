"""``SpanAllocator``: which spans of a shared array are in use, kept on the host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The places ``[start, start + length)`` of an array.

    Attributes:
        start: the first place.
        length: how many there are.
    """

    start: int
    length: int

    @property
    def end(self) -> int:
        """One past the last place."""
        return self.start + self.length


class SpanAllocator:
    """First-fit allocation of spans; a span that is released merges with its free neighbours.

    Attributes:
        end: one past the last place in use, which is the size that the array needs.
    """

    def __init__(self) -> None:
        self._free: list[Span] = []
        self.end = 0

    def allocate(self, length: int) -> Span:
        """Return a free span, increasing ``end`` where none is long enough."""
        for index, free in enumerate(self._free):
            if free.length >= length:
                rest = Span(free.start + length, free.length - length)
                self._free[index : index + 1] = [rest] if rest.length else []
                return Span(free.start, length)
        span = Span(self.end, length)
        self.end += length
        return span

    def release(self, span: Span) -> None:
        """Mark a span as free."""
        spans = sorted([*self._free, span], key=lambda free: free.start)
        merged: list[Span] = []
        for free in spans:
            if merged and merged[-1].end == free.start:
                merged[-1] = Span(merged[-1].start, merged[-1].length + free.length)
            elif free.length:
                merged.append(free)
        if merged and merged[-1].end == self.end:
            self.end = merged.pop().start
        self._free = merged
