"""Values that change during a training."""

from __future__ import annotations

import math
from typing import Any

import pytest

from energy_flow import FlowConfig
from energy_flow.choices import AggregationMode, Decay
from energy_flow.config.flow_config import DEFAULT_BACKGROUND
from energy_flow.testing import tiny_config
from energy_flow.training.schedules import Ramp, Schedule, value_at
from tests.support.small_training import lattice_trainer

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


def options(model: FlowConfig, step: int = 0, **ramps: Any) -> dict[str, float]:
    return Schedule.model_validate(ramps).options_at(model, step, STEPS)


def test_a_field_may_change_its_sign() -> None:
    ramp = {"start": -1.0, "peak": 0.5, "warm_up": 0.5, "decay": "linear", "end": -0.25}
    found = [
        options(tiny_config(), step, field_strength=ramp)["field_strength"] for step in range(STEPS)
    ]
    assert found[0] == pytest.approx(-1.0 + 1.5 / 50)
    assert found[49] == pytest.approx(0.5)
    assert found[75] == pytest.approx(0.125)


def test_a_background_is_that_of_the_model_where_its_ramp_names_none() -> None:
    soft = tiny_config(aggregation_mode="splat")
    assert options(soft)["background"] == DEFAULT_BACKGROUND
    assert options(soft.replace({"background": 0.3}))["background"] == 0.3
    found = [
        options(soft, step, background={"start": 1.0, "warm_up": 0.5})["background"]
        for step in (0, 60)
    ]
    assert found == [pytest.approx(1.0 - 0.9 / 50), DEFAULT_BACKGROUND]


@pytest.mark.parametrize("mode", [mode for mode in AggregationMode if mode != "splat"])
def test_modes_without_a_background_are_given_none(mode: AggregationMode) -> None:
    model = tiny_config(aggregation_mode=mode)
    assert set(options(model)) == {"displacement_scale", "noise_std", "field_strength"}
    model.with_options(options(model))


def test_scheduled_values_reach_the_runs() -> None:
    ramps: dict[str, Any] = {
        "schedule__background": {"start": 2.0, "warm_up": 1.0},
        "schedule__field_strength": {"start": -0.5, "warm_up": 1.0},
    }
    with_ramps, plain = lattice_trainer(**ramps).advance(), lattice_trainer().advance()
    assert with_ramps["background"] == pytest.approx(2.0 - 1.9 / 6)
    assert with_ramps["field_strength"] == pytest.approx(-0.5 * 5 / 6)
    assert (plain["background"], plain["field_strength"]) == (DEFAULT_BACKGROUND, 0.0)
    assert with_ramps["loss"] != plain["loss"]


def test_one_step() -> None:
    assert value_at(Ramp(start=0.0, end=0.0, warm_up=0.05), 1.0, 0, 1) <= 1.0
