"""Values that change during a training."""

from __future__ import annotations

import math

import pytest

from energy_flow.choices import Decay
from energy_flow.training.schedules import Ramp, value_at

STEPS = 100


def values(ramp: Ramp | None, own: float = 1.0) -> list[float]:
    return [value_at(ramp, own, step, STEPS) for step in range(STEPS)]


def test_without_a_ramp_nothing_changes() -> None:
    assert values(None, 0.3) == [0.3] * STEPS
    assert values(Ramp(), 0.3) == [0.3] * STEPS


def test_up_to_the_peak_and_down_to_the_end() -> None:
    found = values(Ramp(start=0.0, peak=2.0, end=1.0, warm_up=0.1, decay=Decay.LINEAR))
    assert found[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert found[55] == pytest.approx(1.5)
    assert found[-1] == pytest.approx(1.0 + 1 / 90)
    assert found[9:] == sorted(found[9:], reverse=True)


def test_the_cosine() -> None:
    found = values(Ramp(end=0.0), own=4.0)
    expected = [2.0 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
    assert found == pytest.approx(expected)


def test_omitted_values_are_the_defaults_of_the_fields() -> None:
    found = values(Ramp(start=0.1, warm_up=0.5), own=0.5)
    assert found[0] == pytest.approx(0.1 + 0.4 / 50)
    assert found[50:] == [0.5] * 50


def test_a_warm_up_as_long_as_the_training() -> None:
    found = values(Ramp(start=0.0, end=7.0, warm_up=1.0))
    assert found == pytest.approx([(step + 1) / STEPS for step in range(STEPS)])


def test_one_step() -> None:
    assert value_at(Ramp(start=0.0, end=0.0, warm_up=0.05), 1.0, 0, 1) <= 1.0
