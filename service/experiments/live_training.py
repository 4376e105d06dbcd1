"""A trial that trains, between its beginning and its end, or its pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from energy_flow.errors import EnergyFlowError
from service.experiments.live_trial import LiveTrial
from service.runs.active_run import Recorder
from service.store.run_summary import RunSummary
from service.store.tables import RunRow


class TrainingSummary(RunSummary):
    """What a training amounts to so far.

    Attributes:
        figures: its metrics.
    """

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, Any] | None = None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Steps, losses and figures on the rows held out."""
        return self.figures


class LiveTraining(LiveTrial):
    """A training whose progress is told in rows: the share of its steps that is done.

    Attributes:
        is_carried: it is at work; whoever ends it meanwhile, asks for that.
        asked: why it is to stop after the step under way.
        on_stop: asks the engine to stop it.
    """

    def __init__(
        self,
        row: RunRow,
        loop: asyncio.AbstractEventLoop,
        recorder: Recorder,
        on_start: Callable[[LiveTrial], None],
    ) -> None:
        super().__init__(row, (), loop, recorder, on_start)
        self.summary: TrainingSummary = TrainingSummary()
        self.is_carried = False
        self.asked: EnergyFlowError | None = None
        self.on_stop: Callable[[], object] | None = None
        self._ms_before = (row.timing or {}).get("compute_ms", 0.0)
        self.summary.figures = row.metrics
        self._done(row.samples_done)

    def worked(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """It has come so far.

        Args:
            progress: of its trainer. event: what its trainer told last.
        """
        loss = event.get("loss", (self.summary.figures or {}).get("loss"))
        self.summary.figures = {
            **{name: progress[name] for name in ("step", "steps", "epoch", "skipped")},
            "loss": loss,
            "held_out": progress["best"],
        }
        self.step = progress["step"]
        # All of it is done once its model is kept.
        share = 1.0 if progress["ended"] else min(progress["step"] / progress["steps"], 1 - 1e-9)
        self._done(int(self.samples * share))
        self.events.append("progress", self.progress())

    def _done(self, samples: int) -> None:
        self.summary.samples_done = self.samples_done = self.kept = samples

    def timing(self) -> dict[str, Any]:
        """Where its time went; its flow-steps are not counted."""
        return {**super().timing(), "flow_steps_per_second": None}

    def ended(self, error: EnergyFlowError | None) -> None:
        """It is done with, for now or for good, as soon as no step of it is under way."""
        if self.is_carried:
            self.asked = error
            if self.on_stop is not None:
                self.on_stop()
        else:
            super().ended(error)
