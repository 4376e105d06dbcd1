"""A trial that trains, between its beginning and its end, or its pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from energy_flow.errors import EnergyFlowError
from service.experiments.live_trial import LiveTrial
from service.live_run import Recorder
from service.store.tables import RunRow
from service.summary import RunSummary


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
        self._ms_before = (row.timing or {}).get("compute_ms", 0.0)
        self.worked(row.metrics, row.samples_done / row.samples)

    def worked(self, figures: Mapping[str, Any] | None, share: float) -> None:
        """It has come so far.

        Args:
            figures: of :func:`figures_of`. share: of the steps that is done, in [0, 1].
        """
        self.summary.figures = None if figures is None else dict(figures)
        done = int(self.samples * share)
        self.summary.samples_done = self.samples_done = self.kept = done
        self.step = None if figures is None else figures["step"]
        self.events.append("progress", self.progress())

    def ended(self, error: EnergyFlowError | None) -> None:
        """It is done with, for now or for good, as soon as no step of it is under way."""
        if self.is_carried:
            self.asked = error
        else:
            super().ended(error)


def figures_of(progress: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a training, from what its trainer tells of its progress."""
    last, best = progress["last"] or {}, progress["best"]
    return {
        "step": progress["step"],
        "steps": progress["steps"],
        "epoch": progress["epoch"],
        "skipped": progress["skipped"],
        "loss": last.get("loss"),
        "held_out": None if best is None else dict(best),
    }
