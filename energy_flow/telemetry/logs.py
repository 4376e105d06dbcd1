"""What is logged, at which level.

| level   | logger               | line                                               |
|---------|----------------------|----------------------------------------------------|
| WARNING | energy_flow.blocks   | bitwise independence cannot be kept here           |
| INFO    | energy_flow.run      | a compact line when a run ends                     |
| INFO    | energy_flow.step     | ``summarize_step`` of every ``STEP_INTERVAL``-th step |
| DEBUG   | energy_flow.step     | ``summarize_step`` of every step                   |

Nothing is computed for a level that is off, and no handler is ever installed here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from energy_flow.telemetry.counters import Counters, StepMetrics, summarize_step

STEP_INTERVAL = 10

step_logger = logging.getLogger("energy_flow.step")
run_logger = logging.getLogger("energy_flow.run")


run_id: ContextVar[str | None] = ContextVar("run_id", default=None)
"""The run that lines are about, for whoever formats them on the thread that logs."""


@contextmanager
def lines_of(run: str) -> Iterator[None]:
    """What is logged in the block is about a run."""
    token = run_id.set(run)
    try:
        yield
    finally:
        run_id.reset(token)


def log_step(metrics: StepMetrics) -> None:
    """One line for a step, where its level is on."""
    level = logging.INFO if metrics.step % STEP_INTERVAL == 0 else logging.DEBUG
    if step_logger.isEnabledFor(level):
        step_logger.log(level, summarize_step(metrics))


def log_end(counters: Counters, samples: int) -> None:
    """One line for a run that ended."""
    if run_logger.isEnabledFor(logging.INFO):
        run_logger.info(
            "%d samples, %d steps: %d flows, %d completed, %d stalled, %d flow-steps",
            samples,
            counters.steps,
            counters.created,
            counters.completed,
            counters.stalled,
            counters.flow_steps,
        )
