"""Log lines of runs and steps. docs/telemetry.md lists the lines of the whole package.

Nothing is computed for a level that is off. No handler is installed here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from energy_flow.telemetry.counters import Counters
from energy_flow.telemetry.ledger import StepMetrics, summarize_step

STEP_INTERVAL = 10

step_logger = logging.getLogger("energy_flow.step")
run_logger = logging.getLogger("energy_flow.run")

run_id: ContextVar[str | None] = ContextVar("run_id", default=None)
"""The run that a line is about, for formatters on the thread that logs."""


@contextmanager
def lines_of(run: str) -> Iterator[None]:
    """Set the run that lines in the block are about.

    Args:
        run: its id.
    """
    token = run_id.set(run)
    try:
        yield
    finally:
        run_id.reset(token)


def log_step(metrics: StepMetrics) -> None:
    """Log a line about a step, if its level is on."""
    level = logging.INFO if metrics.step % STEP_INTERVAL == 0 else logging.DEBUG
    if step_logger.isEnabledFor(level):
        step_logger.log(level, summarize_step(metrics))


def log_end(counters: Counters, samples: int) -> None:
    """Log a line about a run that ended.

    Args:
        counters: of the run.
        samples: how many it had.
    """
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
