"""A trial's run between its submission to the engine and the end of its chunks, or its pause."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from energy_flow.simulation.tally.result import SimulationResult
from service.runs.active_run import Keeping, LiveRun, Recorder
from service.states import State
from service.store.run_summary import chunk_record
from service.store.tables import RunRow


class LiveTrial(LiveRun):
    """A run that goes on from the chunks that it has.

    Attributes:
        row: as it was when this began; the recorder changes its state.
        verdict: why it has failed, where a stop of the server came before that was in its place.
        kept: samples of the chunks that are safely on the disk. flow_steps: done in those.
        broken_off: a chunk whose samples have not all ended; no trial goes on from such.

    Args:
        chunks: the lines of the finished ones.
        on_start: called on the event loop when the engine begins with it.
    """

    def __init__(
        self,
        row: RunRow,
        chunks: Iterable[Mapping[str, Any]],
        loop: asyncio.AbstractEventLoop,
        recorder: Recorder,
        on_start: Callable[[LiveTrial], None],
    ) -> None:
        super().__init__(row.run_id, row.samples, loop, recorder, Keeping.STORE)
        self.row = row
        self.verdict = row.error if row.state == State.RUNNING else None
        self.broken_off: tuple[int, SimulationResult] | None = None
        self._on_start = on_start
        self._ms_before = 0.0
        for chunk in chunks:
            self.summary.add(chunk)
            self._ms_before = chunk["compute_ms"]
        self.samples_done = self.kept = self.summary.samples_done
        self.flow_steps = self.summary.flow_steps

    @property
    def number(self) -> int:
        """Of the trial in its experiment."""
        assert self.row.trial is not None
        return self.row.trial

    def started(self, entering_seconds: float) -> None:
        """The engine begins with it."""
        super().started(entering_seconds)
        # Of a loop that is closed, nobody hears any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_start, self)

    def record(self, first_sample: int, result: SimulationResult) -> dict[str, Any]:
        """What to note about a chunk, with how long the trial has taken so far."""
        compute_ms = self.timing()["compute_ms"]
        return {**chunk_record(first_sample, result), "compute_ms": compute_ms}

    def add(self, record: Mapping[str, Any], result: SimulationResult) -> None:
        """Takes in a chunk that is kept."""
        self.summary.add(record)
        self.kept += len(result.samples)
        self.flow_steps += result.metrics.counters.flow_steps

    def lose(self) -> None:
        """Nothing of it could be kept."""
        self.kept = self.flow_steps = 0

    def timing(self) -> dict[str, Any]:
        """Where its time went, that before its last chunks and pauses included."""
        told = super().timing()
        compute_ms = self._ms_before + told["compute_ms"]
        return {
            **told,
            "compute_ms": compute_ms,
            "total_ms": self._ms_before + told["total_ms"],
            "flow_steps_per_second": 1e3 * self.flow_steps / compute_ms if compute_ms else None,
        }


def all_ended(result: SimulationResult) -> bool:
    """Whether no sample of a chunk was broken off."""
    counters = [sample.counters for sample in result.samples]
    return all(one.created == one.completed + one.stalled for one in counters)
