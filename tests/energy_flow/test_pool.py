"""Runs that share a pool: they join and leave between steps and never notice each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_flow import FlowConfig, SimulationResult
from energy_flow.simulation.pool import Cohort, FlowState
from tests.energy_flow.any_options import any_options
from tests.energy_flow.small import (
    CELLS,
    LIVELY,
    OUTPUTS,
    bits,
    differing,
    embeddings,
    finished,
    run_to_end,
    varied,
)

OTHERS: list[dict[str, Any]] = [
    {},
    {"noise_std": 0.0, "spawn.mode": "percentile", "spawn.percentile": 70.0},
    {"aggregation_mode": "legacy", "trace.capacity": 0, "max_steps": 5, "projection_age": 4},
    {"trace.capacity": 17, "trace.keep": "earliest", "spawn.max_children": 4, "noise_std": 0.4},
    {"boundary": "clamp", "spawn.mode": "off", "min_displacement": 0.1, "noise_on_z": False},
    {"convergence.enabled": True, "convergence.window": 9, "convergence.patience": 1},
    {"convergence.enabled": True, "convergence.min_steps": 1, "max_displacement": 0.2},
    {"max_active_flows": CELLS, "trace.kinds": ["spawn", "terminate"], "trace.capacity": 50},
]


class Guest:
    """A run that can enter a pool, or run alone."""

    def __init__(self, number: int, options: dict[str, Any], samples: int = 2) -> None:
        self.config: FlowConfig = varied().config.with_options({**LIVELY, **options})
        self.x = embeddings(samples, seed=100 + number)
        self.seed = 2**33 * number + 5
        self.keys = [1000 * number + row for row in range(samples)]

    def enter(self, state: FlowState) -> tuple[FlowState, Cohort]:
        """Into a pool, as its last cohort."""
        state = varied().enter(state, self.x, self.config, self.seed, self.keys)
        return state, state.cohorts[-1]

    def alone(self) -> SimulationResult:
        """What it must come to."""
        state, cohort = self.enter(varied().empty(self.config))
        return finished(varied(), run_to_end(varied(), state), cohort)


def same(mine: SimulationResult, other: SimulationResult) -> list[str]:
    """What differs in any bit."""
    names = [
        name
        for row in range(len(other.samples))
        for name in differing(bits(mine, row), bits(other, row))
    ]
    steps = [(s.step, s.active, s.spawned, s.reflected, s.mean_length) for s in mine.steps]
    if steps != [(s.step, s.active, s.spawned, s.reflected, s.mean_length) for s in other.steps]:
        names.append("steps")
    return names


def test_a_guest_alone_is_a_plain_run() -> None:
    guest = Guest(3, OTHERS[3])
    plain = varied().simulate(
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
    state = varied().empty(guests[0].config)
    cohorts = []
    for guest in guests:
        state, cohort = guest.enter(state)
        cohorts.append(cohort)
    state = run_to_end(varied(), state)
    for guest, cohort in zip(guests, cohorts, strict=True):
        assert same(finished(varied(), state, cohort), guest.alone()) == []


@pytest.mark.parametrize("every", [1, 2, 3])
def test_runs_join_between_steps(every: int) -> None:
    guests = [Guest(n, options) for n, options in enumerate(OTHERS)]
    state, steps = varied().empty(guests[0].config), 0
    cohorts: list[Cohort] = []
    while state.active_flows or len(cohorts) < len(guests):
        if steps % every == 0 and len(cohorts) < len(guests):
            state, cohort = guests[len(cohorts)].enter(state)
            cohorts.append(cohort)
        state = varied().step(state)
        steps += 1
    for guest, cohort in zip(guests, cohorts, strict=True):
        assert same(finished(varied(), state, cohort), guest.alone()) == []


@pytest.mark.parametrize("leaves", range(4))
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_run_may_leave_amid_its_steps(leaves: int, after: int) -> None:
    guests = [Guest(n, OTHERS[n]) for n in (0, 3, 1, 5)]
    state = varied().empty(guests[0].config)
    cohorts = []
    for guest in guests:
        state, cohort = guest.enter(state)
        cohorts.append(cohort)
    for _ in range(after):
        state = varied().step(state)
    state = state.left([cohorts[leaves]])
    assert cohorts[leaves] not in state.cohorts
    assert state.active_flows == sum(cohort.active_flows for cohort in state.cohorts)
    state = run_to_end(varied(), state)
    for number, (guest, cohort) in enumerate(zip(guests, cohorts, strict=True)):
        if number != leaves:
            assert same(finished(varied(), state, cohort), guest.alone()) == []


def test_everybody_may_leave_and_the_pool_is_used_again() -> None:
    guest = Guest(0, {})
    state, first = guest.enter(varied().empty(guest.config))
    state, second = guest.enter(varied().step(state))
    state = varied().step(state).left([first, second])
    assert state.active_flows == 0
    assert state.cohorts == ()
    state, cohort = guest.enter(state)
    state = run_to_end(varied(), state)
    assert same(finished(varied(), state, cohort), guest.alone()) == []


def test_rows_in_the_request_are_kept() -> None:
    guest = Guest(0, {})
    state = varied().enter(
        varied().empty(guest.config), guest.x, guest.config, guest.seed, guest.keys, first_sample=40
    )
    (cohort,) = state.cohorts
    result = finished(varied(), run_to_end(varied(), state), cohort)
    assert [sample.sample for sample in result.samples] == [40, 41]
    assert np.unique(result.trace.columns["sample"]).tolist() == [40, 41]
    assert same(result, guest.alone()) == []


@st.composite
def comings_and_goings(draw: st.DrawFn) -> list[tuple[str, int]]:
    """What happens before each step: who enters, who is sent away."""
    kinds = st.sampled_from(("step", "enter", "leave", "collect"))
    return draw(st.lists(st.tuples(kinds, st.integers(0, 7)), min_size=4, max_size=25))


@settings(max_examples=15)
@given(
    story=comings_and_goings(),
    options=st.lists(any_options(), min_size=8, max_size=8),
)
def test_any_story(story: list[tuple[str, int]], options: list[dict[str, Any]]) -> None:
    """Runs enter, leave early or are collected at their end, in any order."""
    guests = [Guest(n, chosen, samples=1 + n % 3) for n, chosen in enumerate(options)]
    state = varied().empty(guests[0].config)
    inside: list[tuple[Guest, Cohort]] = []

    def collect(ended: list[tuple[Guest, Cohort]]) -> None:
        nonlocal state
        for guest, cohort in ended:
            assert same(finished(varied(), state, cohort), guest.alone()) == []
            inside.remove((guest, cohort))
        state = state.left([cohort for _, cohort in ended])

    for what, number in story:
        if what == "enter" and len(inside) < 5:
            state, cohort = guests[number].enter(state)
            inside.append((guests[number], cohort))
        elif what == "leave" and inside:
            _, cohort = inside.pop(number % len(inside))
            state = state.left([cohort])
        elif what == "collect":
            collect([(guest, cohort) for guest, cohort in inside if not cohort.active_flows])
        elif state.active_flows:
            state = varied().step(state)
    state = run_to_end(varied(), state)
    collect(list(inside))
    assert state.active_flows == 0
