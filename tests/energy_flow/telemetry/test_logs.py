"""Log lines: which, at which level, how often; and that a level that is off costs nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from energy_flow.telemetry.ledger import StepMetrics, summarize_step
from energy_flow.telemetry.logs import STEP_INTERVAL, log_step
from tests.support.small_model import embeddings, make_drifting

STEPS = 2 * STEP_INTERVAL + 3
LONG: Mapping[str, Any] = {"max_steps": STEPS, "projection_age": STEPS}


class Untouchable(Mapping[str, int]):
    """Counts that must not be read."""

    def __getitem__(self, key: str) -> int:
        raise AssertionError("looked at")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("looked at")

    def __len__(self) -> int:
        raise AssertionError("looked at")


def metrics(step: int, terminated: Mapping[str, int]) -> StepMetrics:
    return StepMetrics(step, 10, 2, 3, terminated, 0.25, 0.01, 1.5)


def messages(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


def test_a_step_in_one_line() -> None:
    line = summarize_step(metrics(7, {"plane": 4, "projected": 0, "stalled": 1}))
    assert "\n" not in line
    for part in ("step 7", "10 active", "2 spawned", "3 reflected", "4 plane", "1 stalled", "0.25"):
        assert part in line
    assert "projected" not in line
    nothing = StepMetrics(0, 0, 0, 0, {}, None, None, 0.0)
    assert "step 0" in summarize_step(nothing)


def test_info_logs_every_few_steps_and_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="energy_flow"):
        result = make_drifting(0.0, 0.0, 0.0).simulate(embeddings(2), options=LONG)
    logged = messages(caplog, "energy_flow.step")
    expected = [summarize_step(step) for step in result.steps[::STEP_INTERVAL]]
    assert logged == expected
    assert len(logged) == 3
    (end,) = messages(caplog, "energy_flow.run")
    assert "2 samples" in end
    assert f"{STEPS} steps" in end
    assert "32 completed" in end


def test_debug_logs_every_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="energy_flow"):
        make_drifting(0.0, 0.0, 0.0).simulate(embeddings(1), options=LONG)
    assert len(messages(caplog, "energy_flow.step")) == STEPS


def test_a_good_run_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="energy_flow"):
        make_drifting(0.0, 0.0, 0.0).simulate(embeddings(1), options=LONG)
    assert caplog.records == []


@pytest.mark.parametrize("step", [0, 1, STEP_INTERVAL])
def test_nothing_is_computed_for_a_level_that_is_off(
    step: int, caplog: pytest.LogCaptureFixture
) -> None:
    untouchable = metrics(step, Untouchable())
    with caplog.at_level(logging.WARNING, logger="energy_flow"):
        log_step(untouchable)
    with caplog.at_level(logging.INFO, logger="energy_flow"):
        if step % STEP_INTERVAL:
            log_step(untouchable)
        else:
            with pytest.raises(AssertionError, match="looked at"):
                log_step(untouchable)
