"""A trial that trains, between its start and its end or pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from energy_flow.choices import EventName
from energy_flow.errors import EnergyFlowError
from service.experiments.active_trial import ActiveTrial
from service.problems import Problem
from service.runs.recorder import RunRecorder
from service.store.run_summary import RunSummary
from service.store.tables import RunRow


class TrainingSummary(RunSummary):
    """The metrics of a training so far.

    Attributes:
        figures: Steps, loss, and figures on the held-out rows; ``None`` before the first step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, Any] | None = None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of the training; ``None`` before the first step."""
        return self.figures


class ActiveTraining(ActiveTrial):
    """A training. Its progress in samples is the share of its steps that is done.

    Attributes:
        is_under_way: Whether it has been started and has not stopped; then :meth:`ended` requests
            a stop.
        stop_reason: Why it is to stop after the current step.
        request_stop: Asks the executor to stop it.

    Args:
        row: Its row.
        loop: The event loop.
        recorder: Recorder of what happens to it.
        on_start: Called on the event loop when it has started.
    """

    def __init__(
        self,
        row: RunRow,
        loop: asyncio.AbstractEventLoop,
        recorder: RunRecorder,
        on_start: Callable[[ActiveTrial], None],
    ) -> None:
        super().__init__(row, (), loop, recorder, on_start)
        self.summary: TrainingSummary = TrainingSummary()
        self.is_under_way = False
        self.stop_reason: EnergyFlowError | Problem | None = None
        self.request_stop: Callable[[], object] | None = None
        self._ms_before = (row.timing or {}).get("compute_ms", 0.0)
        self.summary.figures = row.metrics
        self._set_samples(row.samples_done)

    @property
    def has_results(self) -> bool:
        """Whether it may continue from a snapshot of an earlier worker."""
        return self.placement.attempts > 0

    def progressed(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Record the progress of the training.

        Args:
            progress: Progress of its trainer.
            event: Newest event of its trainer.
        """
        loss = event.get("loss", (self.summary.figures or {}).get("loss"))
        self.summary.figures = {
            **{name: progress[name] for name in ("step", "steps", "epoch", "skipped")},
            "loss": loss,
            "held_out": progress["best"],
        }
        self.step = progress["step"]
        # All samples are done only once the model is stored.
        share = 1.0 if progress["ended"] else min(progress["step"] / progress["steps"], 1 - 1e-9)
        self._set_samples(int(self.samples * share))
        self.events.append(EventName.PROGRESS, self.progress())

    def record_other_name(self, wanted: str, name: str) -> None:
        """Record that the model has another name than it was to have, because that is used.

        Args:
            wanted: The name that it was to have.
            name: Its name.
        """
        self.row.request = {**self.row.request, "makes_model": name}
        self.summary.warnings.append(
            f"the model is named {name!r}, because another model has the name {wanted!r}"
        )

    def timing(self) -> dict[str, Any]:
        """Return the times so far as JSON data; flow-steps are not counted."""
        return {**super().timing(), "flow_steps_per_second": None}

    def ended(self, error: EnergyFlowError | Problem | None) -> None:
        """Record the end or the pause, or request it while the training is under way.

        Args:
            error: Why it ends before its last step, if it does.
        """
        if self.is_under_way:
            self.stop_reason = error
            if self.request_stop is not None:
                self.request_stop()
        else:
            super().ended(error)

    def _set_samples(self, samples: int) -> None:
        self.summary.samples_done = self.samples_done = self.stored_samples = samples
