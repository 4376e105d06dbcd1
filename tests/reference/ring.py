"""The event trace of one sample: records, and the ring that holds them (docs/simulation.md §5)."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from .rules import TraceRules


class Kind(IntEnum):
    """Kinds of records, in the numbering of the `kind` field."""

    SPAWN = 0
    REFLECT = 1
    TERMINATE = 2

    @property
    def label(self) -> str:
        """The name used in `trace.kinds`."""
        return self.name.lower()


class Event(NamedTuple):
    """A record before it has a number: every field of §5 but `seq`."""

    step: int
    kind: Kind
    sample: int
    flow: int
    parent: int
    code: int
    plane: int
    x: float
    y: float
    z: float
    energy: float
    length: float


class Record(NamedTuple):
    """One row of the trace; floats are exact values of float32 numbers."""

    seq: int
    step: int
    kind: int
    sample: int
    flow: int
    parent: int
    code: int
    plane: int
    x: float
    y: float
    z: float
    energy: float
    length: float


class Ring:
    """Holds at most `capacity` records (a lossless one, all) and counts all.

    `recorded` counts the records still held and `dropped` those overwritten or refused, so that
    total = recorded + dropped for a kind that is on. A kind that is off, and every kind when the
    capacity is 0, is counted in `total` alone and takes no `seq`.
    """

    def __init__(self, rules: TraceRules) -> None:
        self._capacity = rules.capacity
        self._latest = rules.keep == "latest"
        self._lossless = rules.keep == "lossless"
        self._on = {kind for kind in Kind if kind.label in rules.kinds and rules.capacity > 0}
        self._next_seq = 0
        self._held: list[Record] = []
        self.total = {kind.label: 0 for kind in Kind}
        self.recorded = {kind.label: 0 for kind in Kind}
        self.dropped = {kind.label: 0 for kind in Kind}

    def add(self, event: Event) -> None:
        """Count an event and, as far as the ring's settings go, record it."""
        label = event.kind.label
        self.total[label] += 1
        if event.kind not in self._on:
            return
        record = Record(self._next_seq, *event)
        self._next_seq += 1
        if self._lossless or len(self._held) < self._capacity:
            self._held.append(record)
            self.recorded[label] += 1
        elif self._latest:
            oldest = Kind(self._held.pop(0).kind).label
            self.recorded[oldest] -= 1
            self.dropped[oldest] += 1
            self._held.append(record)
            self.recorded[label] += 1
        else:
            self.dropped[label] += 1

    @property
    def records(self) -> list[Record]:
        """The records held, in the order of `seq`."""
        return list(self._held)
