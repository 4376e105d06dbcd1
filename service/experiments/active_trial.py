"""A trial's run between its submission to the engine and its end or pause."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from energy_flow.choices import RunState
from energy_flow.simulation.tally.result import SimulationResult
from service.runs.active_run import ActiveRun, Persistence
from service.runs.placement import Placement
from service.runs.recorder import RunRecorder
from service.store.run_summary import describe_chunk
from service.store.tables import RunRow


class ActiveTrial(ActiveRun):
    """A run that continues from the chunks that it has.

    Attributes:
        row: Its row as it was when the trial started; the recorder changes its state.
        failure: Why it failed before a restart of the server that came before the failure was
            stored completely.
        stored_samples: Samples of the chunks that are on the disk.
        flow_steps: Flow-steps of these samples.
        unreadable: Why its stored chunks cannot be used, although it must end; none are counted.
        incomplete_chunk: First sample and results of a chunk whose samples have not all ended; the
            trial does not continue from it.

    Args:
        row: Its row.
        chunks: Lines of its stored chunks.
        loop: The event loop.
        recorder: Recorder of what happens to it.
        on_start: Called on the event loop when the engine has started it.
    """

    def __init__(
        self,
        row: RunRow,
        chunks: Iterable[Mapping[str, Any]],
        loop: asyncio.AbstractEventLoop,
        recorder: RunRecorder,
        on_start: Callable[[ActiveTrial], None],
    ) -> None:
        super().__init__(row.run_id, row.samples, loop, recorder, Persistence.STORE)
        self.row = row
        self.placement = Placement.of_row(row)
        self.failure = row.error if row.state == RunState.RUNNING else None
        self.unreadable: Exception | None = None
        self.incomplete_chunk: tuple[int, SimulationResult] | None = None
        self._on_start = on_start
        self._ms_before = 0.0
        for chunk in chunks:
            self.summary.add(chunk)
            self._ms_before = chunk.get("compute_ms", self._ms_before)
        self.samples_done = self.stored_samples = self.summary.samples_done
        self.flow_steps = self.summary.flow_steps

    @property
    def number(self) -> int:
        """Number of the trial in its experiment."""
        assert self.row.trial is not None
        return self.row.trial

    def started(self, entering_seconds: float) -> None:
        """Record that the engine has started the trial, as :meth:`ActiveRun.started`."""
        super().started(entering_seconds)
        # A closed loop has no readers.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_start, self)

    def describe_chunk(self, first_sample: int, result: SimulationResult) -> dict[str, Any]:
        """Return JSON data about a chunk, with the time that the trial has taken so far.

        Args:
            first_sample: Row of its first sample.
            result: Its results.
        """
        compute_ms = self.timing()["compute_ms"]
        return {**describe_chunk(first_sample, result), "compute_ms": compute_ms}

    def count_chunk(self, record: Mapping[str, Any], result: SimulationResult) -> None:
        """Count a chunk that is on the disk.

        Args:
            record: JSON data about it.
            result: Its results.
        """
        self.summary.add(record)
        self.stored_samples += len(result.samples)
        self.flow_steps += result.metrics.counters.flow_steps

    def timing(self) -> dict[str, Any]:
        """Return the times so far as JSON data, those before a pause included."""
        timing = super().timing()
        compute_ms = self._ms_before + timing["compute_ms"]
        return {
            **timing,
            "compute_ms": compute_ms,
            "total_ms": self._ms_before + timing["total_ms"],
            "flow_steps_per_second": 1e3 * self.flow_steps / compute_ms if compute_ms else None,
        }


def is_complete(result: SimulationResult) -> bool:
    """Return whether all samples of a chunk have ended by themselves."""
    counters = [sample.counters for sample in result.samples]
    return all(one.created == one.completed + one.stalled for one in counters)
