"""Which stretches of a shared array are in use; plain bookkeeping on the host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch ``[start, start + length)``."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """One past its last element."""
        return self.start + self.length


class SpanAllocator:
    """First-fit allocation of stretches; what is given back merges with its neighbours."""

    def __init__(self) -> None:
        self._free: list[Span] = []
        self.end = 0
        """One past the last element in use, and so the room the array must have."""

    def allocate(self, length: int) -> Span:
        """A free stretch, growing ``end`` where none is long enough."""
        for index, free in enumerate(self._free):
            if free.length >= length:
                rest = Span(free.start + length, free.length - length)
                self._free[index : index + 1] = [rest] if rest.length else []
                return Span(free.start, length)
        span = Span(self.end, length)
        self.end += length
        return span

    def release(self, span: Span) -> None:
        """Gives a stretch back."""
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
