"""Runs that share a pool: they enter and leave between steps and do not affect each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_flow import FlowConfig, SimulationResult
from energy_flow.simulation.cohort import Cohort
from energy_flow.simulation.pool import FlowState
from tests.support.run_options import any_options
from tests.support.small_model import (
    CELLS,
    LIVELY,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    finish,
    make_varied,
    step_to_end,
)

OTHERS: list[dict[str, Any]] = [
    {},
    {"noise_std": 0.0, "spawn.mode": "percentile", "spawn.percentile": 70.0},
    {"aggregation_mode": "legacy", "trace.capacity": 0, "max_steps": 5, "projection_age": 4},
    {"trace.capacity": 17, "trace.keep": "earliest", "spawn.max_children": 4, "noise_std": 0.4},
    {"aggregation_mode": "splat", "field_strength": 0.9},
    {"aggregation_mode": "splat", "background": 0.7, "spawn.max_children": 3},
    {"boundary": "clamp", "spawn.mode": "off", "min_displacement": 0.1, "noise_on_z": False},
    {"convergence.enabled": True, "convergence.window": 9, "convergence.patience": 1},
    {"convergence.enabled": True, "convergence.min_steps": 1, "max_displacement": 0.2},
    {"max_active_flows": CELLS, "trace.kinds": ["spawn", "terminate"], "trace.capacity": 50},
]


class Guest:
    """A run that can enter a pool or be simulated alone."""

    def __init__(self, number: int, options: dict[str, Any], samples: int = 2) -> None:
        self.config: FlowConfig = make_varied().config.with_options({**LIVELY, **options})
        self.x = embeddings(samples, seed=100 + number)
        self.seed = 2**33 * number + 5
        self.keys = [1000 * number + row for row in range(samples)]

    def enter(self, state: FlowState) -> tuple[FlowState, Cohort]:
        """Into a pool, as its last cohort."""
        state = make_varied().add_cohort(state, self.x, self.config, self.seed, self.keys)
        return state, state.cohorts[-1]

    def alone(self) -> SimulationResult:
        """Return the expected results."""
        state, cohort = self.enter(make_varied().empty(self.config))
        return finish(make_varied(), step_to_end(make_varied(), state), cohort)


def same(mine: SimulationResult, other: SimulationResult) -> list[str]:
    """Return the names of results that differ in any bit."""
    names = [
        name
        for row in range(len(other.samples))
        for name in find_differences(bits(mine, row), bits(other, row))
    ]
    steps = [(s.step, s.active, s.spawned, s.reflected, s.mean_length) for s in mine.steps]
    if steps != [(s.step, s.active, s.spawned, s.reflected, s.mean_length) for s in other.steps]:
        names.append("steps")
    return names


def test_a_single_cohort_equals_a_plain_run() -> None:
    guest = Guest(3, OTHERS[3])
    plain = make_varied().simulate(
        guest.x,
        options={**LIVELY, **OTHERS[3]},
        seed=guest.seed,
        sample_keys=guest.keys,
        outputs=OUTPUTS,
    )
    assert same(guest.alone(), plain) == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_runs_with_different_options_share_a_pool(precision: str) -> None:
    guests = [Guest(n, {**options, "precision": precision}) for n, options in enumerate(OTHERS)]
    state = make_varied().empty(guests[0].config)
    cohorts = []
    for guest in guests:
        state, cohort = guest.enter(state)
        cohorts.append(cohort)
    state = step_to_end(make_varied(), state)
    for guest, cohort in zip(guests, cohorts, strict=True):
        assert same(finish(make_varied(), state, cohort), guest.alone()) == []


@pytest.mark.parametrize("every", [1, 2, 3])
def test_runs_join_between_steps(every: int) -> None:
    guests = [Guest(n, options) for n, options in enumerate(OTHERS)]
    state, steps = make_varied().empty(guests[0].config), 0
    cohorts: list[Cohort] = []
    while state.active_flows or len(cohorts) < len(guests):
        if steps % every == 0 and len(cohorts) < len(guests):
            state, cohort = guests[len(cohorts)].enter(state)
            cohorts.append(cohort)
        state = make_varied().step(state)
        steps += 1
    for guest, cohort in zip(guests, cohorts, strict=True):
        assert same(finish(make_varied(), state, cohort), guest.alone()) == []


@pytest.mark.parametrize("leaves", range(4))
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_run_may_be_removed_between_its_steps(leaves: int, after: int) -> None:
    guests = [Guest(n, OTHERS[n]) for n in (0, 3, 1, 5)]
    state = make_varied().empty(guests[0].config)
    cohorts = []
    for guest in guests:
        state, cohort = guest.enter(state)
        cohorts.append(cohort)
    for _ in range(after):
        state = make_varied().step(state)
    state = state.without_cohorts([cohorts[leaves]])
    assert cohorts[leaves] not in state.cohorts
    assert state.active_flows == sum(cohort.active_flows for cohort in state.cohorts)
    state = step_to_end(make_varied(), state)
    for number, (guest, cohort) in enumerate(zip(guests, cohorts, strict=True)):
        if number != leaves:
            assert same(finish(make_varied(), state, cohort), guest.alone()) == []


def test_an_emptied_pool_is_reused() -> None:
    guest = Guest(0, {})
    state, first = guest.enter(make_varied().empty(guest.config))
    state, second = guest.enter(make_varied().step(state))
    state = make_varied().step(state).without_cohorts([first, second])
    assert state.active_flows == 0
    assert state.cohorts == ()
    state, cohort = guest.enter(state)
    state = step_to_end(make_varied(), state)
    assert same(finish(make_varied(), state, cohort), guest.alone()) == []


def test_rows_in_the_request_are_kept() -> None:
    guest = Guest(0, {})
    state = make_varied().add_cohort(
        make_varied().empty(guest.config),
        guest.x,
        guest.config,
        guest.seed,
        guest.keys,
        first_sample=40,
    )
    (cohort,) = state.cohorts
    result = finish(make_varied(), step_to_end(make_varied(), state), cohort)
    assert [sample.sample for sample in result.samples] == [40, 41]
    assert np.unique(result.trace.columns["sample"]).tolist() == [40, 41]
    assert same(result, guest.alone()) == []


@st.composite
def comings_and_goings(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Return the actions before each step: runs that enter, and runs that are removed."""
    kinds = st.sampled_from(("step", "enter", "leave", "collect"))
    return draw(st.lists(st.tuples(kinds, st.integers(0, 7)), min_size=4, max_size=25))


@settings(max_examples=15)
@given(
    story=comings_and_goings(),
    options=st.lists(any_options(), min_size=8, max_size=8),
)
def test_any_sequence_of_actions(
    story: list[tuple[str, int]], options: list[dict[str, Any]]
) -> None:
    """Runs enter, leave early or are collected at their end, in any order."""
    guests = [Guest(n, chosen, samples=1 + n % 3) for n, chosen in enumerate(options)]
    state = make_varied().empty(guests[0].config)
    inside: list[tuple[Guest, Cohort]] = []

    def collect(ended: list[tuple[Guest, Cohort]]) -> None:
        nonlocal state
        for guest, cohort in ended:
            assert same(finish(make_varied(), state, cohort), guest.alone()) == []
            inside.remove((guest, cohort))
        state = state.without_cohorts([cohort for _, cohort in ended])

    for what, number in story:
        if what == "enter" and len(inside) < 5:
            state, cohort = guests[number].enter(state)
            inside.append((guests[number], cohort))
        elif what == "leave" and inside:
            _, cohort = inside.pop(number % len(inside))
            state = state.without_cohorts([cohort])
        elif what == "collect":
            collect([(guest, cohort) for guest, cohort in inside if not cohort.active_flows])
        elif state.active_flows:
            state = make_varied().step(state)
    state = step_to_end(make_varied(), state)
    collect(list(inside))
    assert state.active_flows == 0
