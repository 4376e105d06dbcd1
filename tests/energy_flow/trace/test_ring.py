"""The trace rings, compared with ``collections.deque``, while runs enter, move and leave."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from energy_flow.simulation.cohort import Cohort
from energy_flow.trace.records import KINDS
from tests.support.small_model import LIVELY, embeddings, make_varied

SAMPLES = 3
Record = tuple[Any, ...]
COLUMNS = ("step", "kind", "flow", "parent", "code", "plane", "x", "y", "z", "energy", "length")


@cache
def everything() -> list[list[Record]]:
    """All records of each sample in order, from a run whose rings are large enough."""
    options = {**LIVELY, "trace.capacity": 100_000}
    trace = make_varied().simulate(embeddings(SAMPLES), options=options).trace
    assert sum(trace.dropped.values()) == 0
    records = []
    for sample in range(SAMPLES):
        columns = trace.select(sample=sample).columns
        assert columns["seq"].tolist() == list(range(len(columns["seq"])))
        records.append(list(zip(*(columns[name].tolist() for name in COLUMNS), strict=True)))
    return records


class ModelRing:
    """The expected ring of one sample: records as a deque, counters as plain numbers."""

    def __init__(self, sample: int, capacity: int, keep: str, kinds: frozenset[str]) -> None:
        self.events = deque(everything()[sample])
        self.capacity, self.keep, self.kinds = capacity, keep, kinds
        self.held: deque[tuple[int, Record]] = deque(maxlen=capacity if keep == "latest" else None)
        self.seq = 0
        self.total = dict.fromkeys(KINDS, 0)
        self.numbered = dict.fromkeys(KINDS, 0)

    def advance(self, step: int) -> None:
        """Add the events of one step."""
        while self.events and self.events[0][0] == step:
            event = self.events.popleft()
            kind = KINDS[event[1]]
            self.total[kind] += 1
            if kind not in self.kinds or self.capacity == 0:
                continue
            self.numbered[kind] += 1
            if self.keep != "earliest" or len(self.held) < self.capacity:
                self.held.append((self.seq, event))
            self.seq += 1

    @property
    def recorded(self) -> dict[str, int]:
        """Held records by kind."""
        kinds = [KINDS[event[1]] for _, event in self.held]
        return {kind: kinds.count(kind) for kind in KINDS}

    @property
    def dropped(self) -> dict[str, int]:
        """Lost records by kind."""
        return {kind: self.numbered[kind] - self.recorded[kind] for kind in KINDS}


class Rings(RuleBasedStateMachine):
    """A pool of runs with rings of many kinds, each beside its model."""

    @initialize()
    def begin(self) -> None:
        self.state = make_varied().empty()
        self.runs: list[tuple[Cohort, list[ModelRing]]] = []

    @rule(
        capacity=st.sampled_from((0, 1, 2, 7, 40, 150, 5000)),
        keep=st.sampled_from(("latest", "earliest", "lossless")),
        kinds=st.frozensets(st.sampled_from(KINDS)),
        samples=st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=3),
    )
    def enter(self, capacity: int, keep: str, kinds: frozenset[str], samples: list[int]) -> None:
        options = {
            **LIVELY,
            "trace.capacity": capacity,
            "trace.keep": keep,
            "trace.kinds": sorted(kinds),
        }
        config = make_varied().config.with_options(options)
        x = embeddings(SAMPLES)[samples]
        self.state = make_varied().add_cohort(self.state, x, config, 0, samples)
        rings = [ModelRing(sample, capacity, keep, kinds) for sample in samples]
        self.runs.append((self.state.cohorts[-1], rings))

    @precondition(lambda self: self.state.active_flows)
    @rule()
    def step(self) -> None:
        for cohort, rings in self.runs:
            if cohort.active_flows:
                for ring in rings:
                    ring.advance(len(cohort.ledger.history))
        self.state = make_varied().step(self.state)

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        cohort, _ = self.runs.pop(which % len(self.runs))
        self.state = self.state.without_cohorts([cohort])

    @invariant()
    def rings_hold_what_they_must(self) -> None:
        for cohort, rings in getattr(self, "runs", []):
            trace = make_varied().finish(self.state, cohort, ()).trace
            for row, ring in enumerate(rings):
                columns = trace.select(sample=row).columns
                records = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
                assert list(zip(columns["seq"].tolist(), records, strict=True)) == list(ring.held)
                for name in ("total", "recorded", "dropped"):
                    counted = getattr(trace.counters, name)[row].tolist()
                    assert dict(zip(KINDS, counted, strict=True)) == getattr(ring, name)


TestRings: Any = Rings.TestCase
TestRings.settings = settings(max_examples=12, stateful_step_count=20)
