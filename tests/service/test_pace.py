"""The pace of an experiment: sums over its trials, and the time that is left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.experiments.pace import Pace

SAMPLES = 100


def after_some_work(pace: Pace) -> None:
    """Time in which the trials were at work; from then on, it stands."""
    pace.busy(True)
    pace.busy(False)


@given(
    limits=some.lists(some.integers(1, 50), min_size=1, max_size=5),
    steps=some.lists(
        some.tuples(some.integers(0, 4), some.integers(0, SAMPLES), some.integers(0, 10**6))
    ),
)
def test_sums_are_those_of_the_trials(limits: list[int], steps: list[tuple[int, int, int]]) -> None:
    pace = Pace(SAMPLES, by_samples=False)
    known: dict[int, Any] = {}
    for number, limit in enumerate(limits):
        known[number] = (number, 7 * number)
        pace.enter(number, limit, *known[number])
    for number, samples, flow_steps in steps:
        if number in known:
            known[number] = (samples, flow_steps)
            pace.note(number, samples, flow_steps)
    assert pace.samples_done == sum(samples for samples, _ in known.values())
    assert pace.flow_steps == sum(flow_steps for _, flow_steps in known.values())
    assert all(pace.samples_of(number) == samples for number, (samples, _) in known.items())


def test_nothing_is_said_before_a_measurement() -> None:
    pace = Pace(SAMPLES, by_samples=False)
    pace.enter(0, 10, 0, 0)
    assert pace.seconds_left() is None
    after_some_work(pace)
    assert pace.seconds_left() is None
    pace.note(0, 10, 1000)
    assert pace.seconds_left() is not None


def test_what_was_done_before_the_start_is_no_measurement() -> None:
    pace = Pace(SAMPLES, by_samples=False)
    pace.enter(0, 10, 50, 5000)
    after_some_work(pace)
    assert pace.seconds_left() is None
    pace.note(0, 60, 6000)
    first = pace.seconds_left()
    pace.note(0, 70, 7000)
    second = pace.seconds_left()
    assert first is not None
    assert second is not None
    # 40 samples at 10 in that time, then 30 at 20 in the same.
    assert first / second == pytest.approx((40 / 10) / (30 / 20))


def test_samples_that_may_take_more_steps_are_taken_to_be_more_work() -> None:
    pace = Pace(SAMPLES, by_samples=False)
    for number, limit in enumerate((10, 10, 40)):
        pace.enter(number, limit, 0, 0)
    after_some_work(pace)
    pace.note(0, SAMPLES, 5000)
    both = pace.seconds_left()
    pace.leave(1)
    one = pace.seconds_left()
    pace.leave(2)
    assert both is not None
    assert one is not None
    assert both / one == pytest.approx((10 + 40) / 40)
    assert pace.seconds_left() == 0


def test_a_trial_that_ended_early_leaves_nothing_to_do() -> None:
    pace = Pace(SAMPLES, by_samples=False)
    pace.enter(0, 10, 0, 0)
    after_some_work(pace)
    pace.note(0, 30, 300)
    pace.leave(0)
    assert pace.seconds_left() == 0
    # Nor does it when what it had could not be kept.
    pace.note(0, 0, 0)
    pace.enter(1, 10, 0, 0)
    pace.note(1, SAMPLES, 1000)
    assert pace.seconds_left() == 0


def test_work_without_flow_steps_is_measured_by_samples() -> None:
    pace = Pace(SAMPLES, by_samples=True)
    pace.enter(0, 1, 0, 0)
    after_some_work(pace)
    pace.note(0, 25, 0)
    first = pace.seconds_left()
    pace.note(0, 50, 0)
    second = pace.seconds_left()
    assert first is not None
    assert second is not None
    assert first / second == pytest.approx((75 / 25) / (50 / 50))
