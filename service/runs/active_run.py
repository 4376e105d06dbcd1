"""A run between its submission and its end, as the engine's thread tells of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.engine import RunListener
from energy_flow.errors import EnergyFlowError
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.counters import StepMetrics
from energy_flow.trace.records import COLUMN_DTYPES
from service.events import EventLog
from service.problems import Problem
from service.store.run_folder import WholeRun
from service.store.run_summary import RunSummary, chunk_record
from service.store.tables import RunRow

# Of many short steps not every one is worth a word about progress.
PROGRESS_SECONDS = 0.25

# A run that answers its caller within this time is stored at its end, in one go, which costs less.
# Longer ones are in the list of runs while they go on.
LATE_SECONDS = 5.0


class Keeping(StrEnum):
    """What becomes of a run's results.

    ``ANSWER`` goes to a waiting caller only; ``ANSWER_AND_STORE`` is kept as well, but not before
    there is something to keep or ``LATE_SECONDS`` have passed; ``STORE`` was kept before it was
    queued.
    """

    ANSWER = "answer"
    ANSWER_AND_STORE = "answer_and_store"
    STORE = "store"


class Recorder(Protocol):
    """Takes note of what happens to runs; called on the engine's thread, returns at once."""

    def begin(self, live: LiveRun) -> None:
        """It goes on, and is to be seen by others."""

    def keeps_up(self) -> bool:
        """Whether it can take more."""
        ...

    def take(self, live: LiveRun, first_sample: int, result: SimulationResult) -> None:
        """Some samples have ended."""

    def end(self, live: LiveRun) -> None:
        """The engine is done with it."""


@dataclass
class Gathered:
    """The results of a run in memory, for a caller who waits for them.

    Trace records beyond ``inline`` are counted, not gathered.
    """

    inline: int
    outputs: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    records: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    record_count: int = 0

    @property
    def held_records(self) -> int:
        """How many trace records there are to come with an answer."""
        return min(self.record_count, self.inline)

    @property
    def array_numbers(self) -> int:
        """How many numbers the outputs and the records have."""
        outputs = sum(array.size for chunk in self.outputs for array in chunk.values())
        return outputs + len(COLUMN_DTYPES) * self.held_records

    @property
    def sample_numbers(self) -> int:
        """How many numbers there are about the samples, roughly."""
        return 40 * len(self.samples)

    def joined_outputs(self) -> dict[str, NDArray[Any]]:
        """The outputs of all chunks."""
        if len(self.outputs) == 1:
            return dict(self.outputs[0])
        return {
            name: np.concatenate([chunk[name] for chunk in self.outputs])
            for name in self.outputs[0]
        }

    def joined_records(self) -> dict[str, NDArray[Any]]:
        """The records of all chunks, up to ``inline``."""
        return {
            name: np.concatenate([part[name] for part in self.records]) for name in COLUMN_DTYPES
        }

    def add(
        self,
        outputs: Mapping[str, NDArray[Any]],
        columns: Mapping[str, NDArray[Any]],
        samples: list[dict[str, Any]],
    ) -> None:
        """Takes in the next chunk."""
        self.outputs.append(dict(outputs))
        self.samples += samples
        room = max(self.inline - self.record_count, 0)
        self.record_count += len(columns["seq"])
        self.records.append({name: column[:room] for name, column in columns.items()})


@dataclass(slots=True)
class Unsaved:
    """A run that has no row yet.

    Attributes:
        has_folder: whether it has files already.
        whole: all of its results, where they came at once before it had any.
    """

    row: RunRow
    embeddings: NDArray[np.float32] | None
    sample_keys: NDArray[np.int64] | None
    has_folder: bool = False
    whole: WholeRun | None = None


class LiveRun(RunListener):
    """State, progress and events of one run; the engine's listener.

    The engine's thread calls the listener's methods (``started`` to ``ended``), and none waits.

    Attributes:
        state: ``queued``, ``running``, and in the end how it ended.
        summary: what it amounts to so far; belongs to the recorder.
        error: what the engine ended it with.
        storage_error: why it could not be kept.
        withdrawn: nobody wants it any more.
        problem: what a waiting caller is told instead of results.
    """

    def __init__(
        self,
        run_id: str,
        samples: int,
        loop: asyncio.AbstractEventLoop,
        recorder: Recorder,
        keeping: Keeping,
        gathered: Gathered | None = None,
        unsaved: Unsaved | None = None,
    ) -> None:
        self.run_id = run_id
        self.samples = samples
        self.keeping = keeping
        self.gathered = gathered
        self.unsaved = unsaved
        self.state = "queued"
        self.summary = RunSummary()
        self.events = EventLog(loop)
        self.error: EnergyFlowError | None = None
        self.storage_error: BaseException | None = None
        self.problem: Problem | None = None
        self.withdrawn = False
        self.samples_done = 0
        self.step: int | None = None
        self.submitted_at = time.perf_counter()
        self.started_at: float | None = None
        self.started_time: float | None = None
        self.ended_at: float | None = None
        self._recorder = recorder
        self._loop = loop
        self._told_progress = 0.0
        self._began_late = False
        self._settled = asyncio.Event()
        self._tell_state(None)

    def started(self, entering_seconds: float) -> None:
        """The engine begins with it; the mapping of its first rows is behind it."""
        self.started_at = time.perf_counter() - entering_seconds
        self.started_time = time.time() - entering_seconds
        self.state = "running"
        self._tell_state(None)
        if self.keeping is Keeping.STORE:
            self._recorder.begin(self)

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """One step of its flows is done."""
        self.step = metrics.step
        self.events.append("step", metrics.to_dict)
        now = time.perf_counter()
        if done_samples != self.samples_done or now - self._told_progress > PROGRESS_SECONDS:
            self.samples_done = done_samples
            self._told_progress = now
            self._begin_late(now)
            self.events.append("progress", self.progress())

    def _begin_late(self, now: float) -> None:
        late = self.started_at is not None and now - self.started_at > LATE_SECONDS
        if late and self.keeping is Keeping.ANSWER_AND_STORE and not self._began_late:
            self._began_late = True
            self._recorder.begin(self)

    def accepts(self) -> bool:
        """Whether another chunk may be started."""
        return self._recorder.keeps_up()

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Some samples have ended."""
        self.samples_done = max(self.samples_done, first_sample + len(result.samples))
        self._recorder.take(self, first_sample, result)

    def ended(self, error: EnergyFlowError | None) -> None:
        """The engine is done with it."""
        self.ended_at = time.perf_counter()
        self.error = error
        self._recorder.end(self)

    def sum_up(self, first_sample: int, result: SimulationResult) -> dict[str, Any]:
        """Takes in a chunk, and gathers it where somebody waits; returns what to note about it."""
        record = chunk_record(first_sample, result)
        self.summary.add(record)
        if self.gathered is not None:
            self.gathered.add(result.outputs, result.trace.columns, record["samples"])
        return record

    def settle(self, state: str, problem: Problem | None) -> None:
        """The run has ended in a state, and all that is kept of it is in its place."""
        self.state = state
        self.problem = problem
        self.samples_done = self.summary.samples_done
        self.unsaved = None
        self.events.append("progress", self.progress())
        self._tell_state(problem)
        self.events.close()
        try:
            self._loop.call_soon_threadsafe(self._settled.set)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            return

    def release(self) -> None:
        """Lets go of the results; state, progress and events stay."""
        self.gathered = None
        self.summary = RunSummary()

    @property
    def settled(self) -> bool:
        """Whether it has ended, and all that is kept of it is in its place."""
        return self._settled.is_set()

    @property
    def final_event_id(self) -> int:
        """Id that the last event of :meth:`settle` is going to have."""
        return self.events.last_id + 2

    async def wait(self) -> None:
        """Until the run is settled."""
        await self._settled.wait()

    def progress(self) -> dict[str, Any]:
        """How far it is."""
        return {
            "samples": self.samples,
            "samples_done": self.samples_done,
            "step": self.step,
            "fraction": self.samples_done / self.samples,
        }

    def timing(self) -> dict[str, Any]:
        """Where its time went, so far."""
        now = time.perf_counter()
        started = self.started_at
        ended = self.ended_at or now
        compute = ended - started if started is not None else 0.0
        flow_steps = self.summary.flow_steps
        return {
            "queue_ms": ((started or ended) - self.submitted_at) * 1e3,
            "compute_ms": compute * 1e3,
            "total_ms": (now - self.submitted_at) * 1e3,
            "flow_steps_per_second": flow_steps / compute if compute > 0 else None,
        }

    def _tell_state(self, problem: Problem | None) -> None:
        told: dict[str, Any] = {"run_id": self.run_id, "state": self.state}
        if problem is not None:
            told["error"] = problem.to_dict()
        self.events.append("state", told)
