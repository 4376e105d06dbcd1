"""``ActiveAblation``: one ablation of a server, from its request to its removal."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from energy_flow.ablation import find_parts
from energy_flow.choices import ENDED_STATES, Ablation, RunState
from service.ablations.plan import AblationPlan
from service.problems import Problem


class ActiveAblation:
    """One ablation. Its methods belong to the event loop, but for :meth:`progressed`.

    Attributes:
        ablation_id: Its id.
        position: Number in the order of arrival.
        plan: What it measures.
        state: Its state.
        created_at: Seconds since the epoch, UTC; like the following times.
        started_at: When the engine got it.
        ended_at: When it ended.
        total: Rows to simulate, of all variants together.
        result: ``AblationResult.to_dict()`` once it has succeeded.
        problem: Why it failed.
        task: Carries it out.
        stopping: Set once its threads have nothing left to do.

    Args:
        ablation_id: Its id.
        position: Number in the order of arrival.
        plan: What it measures.
    """

    def __init__(self, ablation_id: str, position: int, plan: AblationPlan) -> None:
        self.ablation_id = ablation_id
        self.position = position
        self.plan = plan
        self.state = RunState.QUEUED
        self.created_at = time.time()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        first, stop = plan.rows
        self.total = (1 + len(find_parts(plan.config))) * (stop - first)
        self.result: dict[str, Any] | None = None
        self.problem: Problem | None = None
        self.task: asyncio.Task[None] | None = None
        self.stopping = threading.Event()
        self._progress: tuple[int, Ablation | None] = (0, None)

    @property
    def done(self) -> int:
        """Rows that have been simulated, of all variants together."""
        return self._progress[0]

    @property
    def current(self) -> Ablation | None:
        """The part that is switched off now, while the ablation is running."""
        return self._progress[1] if self.state is RunState.RUNNING else None

    @property
    def is_ended(self) -> bool:
        """Whether it is in a state that it never leaves."""
        return self.state in ENDED_STATES

    def progressed(self, done: int, current: Ablation | None) -> None:
        """Receive the progress; any thread may call this.

        Args:
            done: Rows that have been simulated, of all variants together.
            current: The part that is switched off now, if any.
        """
        self._progress = (done, current)

    def start(self) -> None:
        """Record that the engine gets the ablation."""
        self.state = RunState.RUNNING
        self.started_at = time.time()

    def succeed(self, result: dict[str, Any]) -> None:
        """Record the result.

        Args:
            result: Value of ``AblationResult.to_dict()``.
        """
        self.result = result
        self._progress = (self.total, None)
        self._end(RunState.SUCCEEDED)

    def fail(self, problem: Problem) -> None:
        """Record a failure.

        Args:
            problem: Why.
        """
        self.problem = problem
        self._end(RunState.FAILED)

    def cancel(self) -> None:
        """End the ablation within a step of the engine, or within some resamples."""
        self._end(RunState.CANCELLED)
        self._stop_task()

    def abandon(self, problem: Problem) -> None:
        """Stop the ablation like :meth:`cancel`, and record a failure.

        Args:
            problem: Why.
        """
        self.fail(problem)
        self._stop_task()

    def _stop_task(self) -> None:
        # At once: the event loop gets to the task after the answer to a request.
        self.stopping.set()
        if self.task is not None:
            self.task.cancel()

    def _end(self, state: RunState) -> None:
        self.state = state
        self.ended_at = time.time()
