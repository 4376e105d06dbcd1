"""The progress of an experiment: sums over its trials, and the remaining time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.experiments.progress_estimator import ProgressEstimator

SAMPLES = 100


def after_some_work(estimator: ProgressEstimator) -> None:
    """Measure some time with running trials, and stop measuring."""
    estimator.set_busy(True)
    estimator.set_busy(False)


@given(
    limits=some.lists(some.integers(1, 50), min_size=1, max_size=5),
    steps=some.lists(
        some.tuples(some.integers(0, 4), some.integers(0, SAMPLES), some.integers(0, 10**6))
    ),
)
def test_sums_are_those_of_the_trials(limits: list[int], steps: list[tuple[int, int, int]]) -> None:
    estimator = ProgressEstimator(SAMPLES, by_samples=False)
    known: dict[int, Any] = {}
    for number, limit in enumerate(limits):
        known[number] = (number, 7 * number)
        estimator.add_trial(number, limit, *known[number])
    for number, samples, flow_steps in steps:
        if number in known:
            known[number] = (samples, flow_steps)
            estimator.update(number, samples, flow_steps)
    assert estimator.samples_done == sum(samples for samples, _ in known.values())
    assert estimator.flow_steps == sum(flow_steps for _, flow_steps in known.values())
    assert all(estimator.samples_of(number) == samples for number, (samples, _) in known.items())


def test_there_is_no_estimate_before_a_measurement() -> None:
    estimator = ProgressEstimator(SAMPLES, by_samples=False)
    estimator.add_trial(0, 10, 0, 0)
    assert estimator.seconds_left() is None
    after_some_work(estimator)
    assert estimator.seconds_left() is None
    estimator.update(0, 10, 1000)
    assert estimator.seconds_left() is not None


def test_work_before_the_start_is_not_measured() -> None:
    estimator = ProgressEstimator(SAMPLES, by_samples=False)
    estimator.add_trial(0, 10, 50, 5000)
    after_some_work(estimator)
    assert estimator.seconds_left() is None
    estimator.update(0, 60, 6000)
    first = estimator.seconds_left()
    estimator.update(0, 70, 7000)
    second = estimator.seconds_left()
    assert first is not None
    assert second is not None
    # 40 samples at 10 in that time, then 30 at 20 in the same.
    assert first / second == pytest.approx((40 / 10) / (30 / 20))


def test_samples_with_more_steps_count_as_more_work() -> None:
    estimator = ProgressEstimator(SAMPLES, by_samples=False)
    for number, limit in enumerate((10, 10, 40)):
        estimator.add_trial(number, limit, 0, 0)
    after_some_work(estimator)
    estimator.update(0, SAMPLES, 5000)
    both = estimator.seconds_left()
    estimator.end_trial(1)
    one = estimator.seconds_left()
    estimator.end_trial(2)
    assert both is not None
    assert one is not None
    assert both / one == pytest.approx((10 + 40) / 40)
    assert estimator.seconds_left() == 0


def test_a_trial_that_ended_early_has_no_remaining_work() -> None:
    estimator = ProgressEstimator(SAMPLES, by_samples=False)
    estimator.add_trial(0, 10, 0, 0)
    after_some_work(estimator)
    estimator.update(0, 30, 300)
    estimator.end_trial(0)
    assert estimator.seconds_left() == 0
    # Nor does it when what it had could not be kept.
    estimator.update(0, 0, 0)
    estimator.add_trial(1, 10, 0, 0)
    estimator.update(1, SAMPLES, 1000)
    assert estimator.seconds_left() == 0


def test_work_without_flow_steps_is_measured_by_samples() -> None:
    estimator = ProgressEstimator(SAMPLES, by_samples=True)
    estimator.add_trial(0, 1, 0, 0)
    after_some_work(estimator)
    estimator.update(0, 25, 0)
    first = estimator.seconds_left()
    estimator.update(0, 50, 0)
    second = estimator.seconds_left()
    assert first is not None
    assert second is not None
    assert first / second == pytest.approx((75 / 25) / (50 / 50))
