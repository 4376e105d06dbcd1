"""Counters that must balance at every step and at the end, over random small configs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_flow import SimulationResult
from energy_flow.choices import Reason
from energy_flow.errors import LedgerError
from energy_flow.simulation.cohort import Cohort
from energy_flow.simulation.pool import FlowState
from energy_flow.telemetry.counters import COUNT_COLUMNS, Count, Counters, Sum
from energy_flow.telemetry.ledger import Ledger
from energy_flow.trace.records import KINDS, PLANES, REASONS
from tests.support.run_options import any_options
from tests.support.small_model import CELLS, embeddings, finish, make_varied

SAMPLES = 3


def check_flows(state: FlowState, cohort: Cohort) -> None:
    """Assert that the pool holds the flows that the ledger counts as active, and no others."""
    flows, limit = state.flows, cohort.config.active_limit
    sample, flow = flows.sample.numpy(), flows.flow_id.numpy()
    for row in range(cohort.samples):
        counters = Counters.of(cohort.ledger.sample(row, False))
        mine = flow[sample == row]
        active = int(cohort.ledger.active[row])
        assert len(mine) == active <= limit
        assert (np.diff(mine) > 0).all()
        assert (mine >= 0).all()
        assert (mine < counters.created).all()
        assert counters.created == CELLS + counters.spawned
        assert counters.created == active + counters.completed + counters.stalled
        assert counters.completed == sum(
            counters.terminated[reason] for reason in REASONS if reason != "stalled"
        )
        assert counters.completed == sum(counters.planes.values())
    assert (np.diff(sample) >= 0).all()
    assert bool((flows.position.abs() <= 1).all())
    assert bool((flows.position[:, 2].abs() < 1).all()), "who reaches a plane has ended"
    assert bool((flows.energy[flows.age > 0].abs() <= 1).all())
    assert bool((flows.age < cohort.config.age_limit).all())
    assert bool((flows.parent < flows.flow_id).all())
    born = flows.age == 0
    assert not bool(flows.path_length[born].any())


def check_step(cohort: Cohort) -> None:
    """Assert that the metrics of a step are the difference of two states of the ledger."""
    step = cohort.ledger.history[-1]
    history = cohort.ledger.history
    total = [Counters.of(cohort.ledger.sample(row, False)) for row in range(cohort.samples)]
    assert step.step == len(history) - 1
    assert step.active == cohort.active_flows
    assert sum(one.spawned for one in history) == sum(one.spawned for one in total)
    for reason in REASONS:
        counted = sum(one.terminated[reason] for one in history)
        assert counted == sum(one.terminated[reason] for one in total)
    before = history[-2].active if len(history) > 1 else cohort.samples * CELLS
    assert step.active == before + step.spawned - sum(step.terminated.values())


def check_result(result: SimulationResult, config: dict[str, Any]) -> None:
    """Totals of the trace are the counters; what is recorded and dropped is what took a number."""
    counted = result.metrics.counters.to_dict()
    assert counted["created"] == counted["completed"] + counted["stalled"]
    totals = {"spawn": counted["spawned"], "reflect": counted["reflected"]}
    totals["terminate"] = counted["completed"] + counted["stalled"]
    assert result.trace.totals == totals
    hits = result.outputs["hits"]
    assert hits.sum() == counted["completed"]
    assert dict(zip(PLANES, hits.sum((0, 2, 3)).tolist(), strict=True)) == counted["planes"]
    counters, columns = result.trace.counters, result.trace.columns
    capacity, kinds = config["trace.capacity"], config["trace.kinds"]
    for row, sample in enumerate(result.samples):
        assert hits[row].sum() == sample.counters.completed
        numbered = 0
        for code, kind in enumerate(KINDS):
            here = (columns["sample"] == row) & (columns["kind"] == code)
            total, recorded, dropped = (
                int(getattr(counters, name)[row, code]) for name in ("total", "recorded", "dropped")
            )
            assert recorded == here.sum()
            on = kind in kinds and capacity > 0
            assert recorded + dropped == (total if on else 0)
            numbered += total if on else 0
        lossless = config["trace.keep"] == "lossless" and capacity > 0
        held = numbered if lossless else min(numbered, capacity)
        first = numbered - held if config["trace.keep"] == "latest" else 0
        seq = columns["seq"][columns["sample"] == row]
        assert seq.tolist() == list(range(first, first + held))


@settings(max_examples=30)
@given(options=any_options(), seed=st.integers(0, 2**63 - 1), data_seed=st.integers(0, 9))
def test_the_ledger_balances_at_every_step(
    options: dict[str, Any], seed: int, data_seed: int
) -> None:
    state = make_varied().start(embeddings(SAMPLES, data_seed), options=options, seed=seed)
    (cohort,) = state.cohorts
    check_flows(state, cohort)
    steps = 0
    while state.active_flows:
        state = make_varied().step(state)
        steps += 1
        check_flows(state, cohort)
        check_step(cohort)
    assert steps <= cohort.config.step_limit
    result = finish(make_varied(), state, cohort)
    check_result(result, options)


@settings(max_examples=10)
@given(options=any_options(capacities=(4096,)))
def test_steps_agree_with_the_trace(options: dict[str, Any]) -> None:
    options = {**options, "trace.kinds": list(KINDS)}
    result = make_varied().simulate(embeddings(SAMPLES), options=options)
    columns = result.trace.columns
    assert sum(result.trace.dropped.values()) == 0
    for step in result.steps:
        here = columns["step"] == step.step
        spawned, reflected, ended = ((columns["kind"] == code) & here for code in range(3))
        assert step.spawned == spawned.sum()
        assert step.reflected == reflected.sum()
        codes = np.bincount(columns["code"][ended], minlength=len(REASONS))
        assert list(step.terminated.values()) == codes.tolist()
        assert list(step.terminated) == list(REASONS)


def test_an_unbalanced_ledger_is_reported() -> None:
    ledger = Ledger(samples=2, initial=4)
    counts = np.zeros((2, COUNT_COLUMNS), dtype=np.int64)
    counts[:, Count.MOVED] = 4
    counts[1, len(PLANES) * Reason.PLANE.code] = 1
    sums = np.zeros((2, len(Sum)))
    with pytest.raises(LedgerError, match="sample 1"):
        ledger.add(counts, sums, np.array([4, 4]), 0.0)


def test_unbalanced_hits_are_reported() -> None:
    ledger = Ledger(samples=2, initial=4)
    with pytest.raises(LedgerError, match="sample 1"):
        ledger.check_hits(np.array([0, 3]))
