"""Values over a training."""

from __future__ import annotations

import math

import pytest

from energy_flow.training.config import Decay, Ramp
from energy_flow.training.schedules import value_at

STEPS = 100


def values(ramp: Ramp | None, own: float = 1.0) -> list[float]:
    return [value_at(ramp, own, step, STEPS) for step in range(STEPS)]


def test_without_a_ramp_nothing_changes() -> None:
    assert values(None, 0.3) == [0.3] * STEPS
    assert values(Ramp(), 0.3) == [0.3] * STEPS


def test_up_to_the_peak_and_down_to_the_end() -> None:
    told = values(Ramp(start=0.0, peak=2.0, end=1.0, warm_up=0.1, decay=Decay.LINEAR))
    assert told[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert told[55] == pytest.approx(1.5)
    assert told[-1] == pytest.approx(1.0 + 1 / 90)
    assert told[9:] == sorted(told[9:], reverse=True)


def test_the_cosine() -> None:
    told = values(Ramp(end=0.0), own=4.0)
    expected = [2.0 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
    assert told == pytest.approx(expected)


def test_values_that_are_left_out_are_the_fields_own() -> None:
    told = values(Ramp(start=0.1, warm_up=0.5), own=0.5)
    assert told[0] == pytest.approx(0.1 + 0.4 / 50)
    assert told[50:] == [0.5] * 50


def test_a_warm_up_that_lasts_to_the_end() -> None:
    told = values(Ramp(start=0.0, end=7.0, warm_up=1.0))
    assert told == pytest.approx([(step + 1) / STEPS for step in range(STEPS)])


def test_one_step() -> None:
    assert value_at(Ramp(start=0.0, end=0.0, warm_up=0.05), 1.0, 0, 1) <= 1.0
