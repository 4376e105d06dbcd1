"""``Engine``: many runs share one pool of flows and advance together.

Runs enter and leave between steps. A run's results do not depend on what shares the pool, so
sharing is invisible but for the time it takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.jobs import (
    CallJob,
    Job,
    PreparationJob,
    ReplayJob,
    ReplayOutcome,
    TrainingJob,
)
from energy_flow.engine.loaded_models import LoadedModel, LoadedModels
from energy_flow.engine.pools import Pools
from energy_flow.engine.request import (
    ReplayRequest,
    RunListener,
    RunRequest,
    TrainingListener,
    TrainingRequest,
)
from energy_flow.engine.schedule import Chunk, Run, chunk_samples, pool_flows
from energy_flow.errors import CapacityError, EngineUnavailable, QueueFull
from energy_flow.runtime.malloc import give_back
from energy_flow.runtime.threads import run_in_temporary_thread
from energy_flow.simulation.checkpoint import load, save
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import footprint, require_fit

Answer = TypeVar("Answer")

IDLE_SECONDS = 0.5
"""How long the engine sleeps when there is nothing to do, so that it still beats."""
REST_SECONDS = 5.0
"""After how long without work the memory of the work is given back; taking it again takes time."""
BLOCKED_SECONDS = 0.002
"""How long it sleeps when runs wait for a disk or a listener."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would cost.

    Attributes:
        flows: initial flows. predicted_bytes: most bytes it can need on the device, with the
            weights. flow_steps_bound: most flow-steps it can take.
        queue_wait_seconds: until it would start, from the measured rate; 0 before any was.
    """

    flows: int
    predicted_bytes: int
    flow_steps_bound: int
    queue_wait_seconds: float


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine is doing.

    Attributes:
        state: ``starting``, ``running``, ``draining`` or ``stopped``.
        heartbeat_age_seconds: since its thread last came round.
        queued_runs, queued_flow_steps: accepted and not started; flow-steps as upper bounds.
        active_runs, active_flows, active_samples: in the pools.
        pool_flows: initial flows that pools take in at once.
        admitted_bytes, admitted_flow_steps: of what is in the pools, by prediction: with the
            rings, without the weights; and the upper bounds of those runs.
        flow_steps: done since the start. flow_steps_per_second: running mean; none before a step.
        out_of_memory_splits: times that the device ran out of memory and the work was split.
    """

    state: str
    heartbeat_age_seconds: float
    queued_runs: int
    queued_flow_steps: int
    active_runs: int
    active_samples: int
    active_flows: int
    pool_flows: int
    admitted_bytes: int
    admitted_flow_steps: int
    flow_steps: int
    flow_steps_per_second: float | None
    out_of_memory_splits: int


class Engine:
    """One thread that owns a device.

    Args:
        device: for example ``cpu`` or ``cuda:0``.
        memory_limit_bytes: what pools may hold by prediction; no limit if none.
        max_queued_flow_steps: upper bounds of the runs that wait, together; the first run that
            waits is always taken.
        on_step: told the seconds of every step of a pool, on the engine's thread.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        memory_limit_bytes: int | None = None,
        max_queued_flow_steps: int = 10**12,
        on_step: Callable[[float], None] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.memory_limit_bytes = memory_limit_bytes
        self.max_queued_flow_steps = max_queued_flow_steps
        self._lock = threading.Condition()
        self._queue: list[Run] = []
        self._jobs: deque[Job] = deque()
        self._trainings: dict[str, TrainingJob] = {}
        self._models = LoadedModels()
        self._state = "starting"
        self._thread: threading.Thread | None = None
        # Its threads start when it is first given something to read.
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="energy-flow-reader")
        self._pools = Pools(self.device, memory_limit_bytes, self._readers, on_step)
        self._beat = time.monotonic()
        self._held: tuple[Chunk, ...] = ()
        self._active_flows = 0
        self._worked_at: float | None = None

    def start(self) -> None:
        """Starts the thread."""
        if self._thread is not None:
            raise EngineUnavailable("the engine was started before")
        self._thread = threading.Thread(target=self._loop, name="energy-flow-engine", daemon=True)
        self._beat = time.monotonic()
        self._state = "running"
        self._thread.start()

    def stop(self) -> None:
        """Stops at the end of the step; runs that have not ended hear ``EngineUnavailable``."""
        with self._lock:
            self._state = "stopped"
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._readers.shutdown(cancel_futures=True)

    def drain(self, seconds: float) -> None:
        """Takes no new work, gives what has started ``seconds`` to end, then stops.

        Runs that have not ended by then, and those that had not started, hear
        ``EngineUnavailable``.
        """
        until = time.monotonic() + seconds
        with self._lock:
            if self._state == "running":
                self._state = "draining"
            self._lock.notify_all()
            while any(run.started for run in self._queue) and time.monotonic() < until:
                self._lock.wait(min(0.1, max(until - time.monotonic(), 0.0)))
        self.stop()

    def submit(self, request: RunRequest, listener: RunListener) -> None:
        """Queues a run and returns at once.

        Raises:
            EngineUnavailable: the engine does not take work.
            ConfigError: one sample of the run cannot fit in memory.
            CapacityError: its results cannot all be in memory, and it does not stream them.
            ModelNotLoaded: load its model first.
            QueueFull: too much work is waiting.
        """
        config, samples = request.config, len(request.sample_keys)
        self.check(config, samples, streams=request.streams)
        processor = self._models.get(request.model, config)
        bound = flow_steps_bound(config, samples - request.first_sample)
        with self._lock:
            if self._state != "running":
                raise EngineUnavailable(f"the engine is {self._state}")
            queued = self._queued_bound()
            if queued and queued + bound > self.max_queued_flow_steps:
                raise QueueFull(max(1.0, self._seconds(queued)))
            self._queue.append(Run(request, processor, listener, bound))
            self._lock.notify_all()

    def check(self, config: FlowConfig, samples: int, *, streams: bool = False) -> None:
        """Refuses what can never fit in memory.

        Raises:
            ConfigError: one sample of the run cannot fit.
            CapacityError: its results cannot all be in memory, and it does not stream them.
        """
        if self.memory_limit_bytes is None:
            return
        require_fit(config, self.memory_limit_bytes)
        needed = _needed_bytes(config, samples, streams=streams)
        if needed > self.memory_limit_bytes:
            raise CapacityError(needed, self.memory_limit_bytes)

    def cancel(self, run_id: str) -> bool:
        """Asks a run to end within a step; false when there is none of this id."""
        with self._lock:
            found = self._unended(run_id)
            for run in found:
                run.cancelled = True
            self._lock.notify_all()
        return bool(found)

    def pause(self, run_id: str) -> bool:
        """Lets a run end the chunks that it has started and start no other; it then hears
        ``RunPaused``. False when there is none of this id.
        """
        with self._lock:
            found = self._unended(run_id)
            for run in found:
                run.paused = True
            self._lock.notify_all()
        return bool(found)

    def call(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Run a short function of this process on the engine's thread, between steps.

        Raises:
            EngineUnavailable: the engine does not take work.
        """
        job = CallJob(function)
        self._do(job)
        return job.future

    def load_model(self, source: FlowConfig | Path, *, prepare: bool = True) -> LoadedModel:
        """Load a model and prepare it for its first run; blocks until that is done.

        Args:
            source: a checkpoint, or the config of an untrained model.
            prepare: whether to pack the weights and try block heights now, which can take
                seconds; otherwise the first run does.

        Raises:
            CheckpointError: the file is not a usable checkpoint.
            EngineUnavailable: the engine does not take work.
        """
        make = partial(_make, source, str(self.device))
        # On a CPU steps need not wait for that, and no other thread must go on computing.
        on_cpu = self.device.type == "cpu"
        processor = run_in_temporary_thread(make) if on_cpu else self.call(make).result()
        if prepare:
            preparation = PreparationJob(processor)
            self._do(preparation)
            preparation.future.result()
        return self.add_model(processor)

    def add_model(self, processor: FlowProcessor) -> LoadedModel:
        """Make a model of this process available to runs.

        Args:
            processor: on the engine's device; its weights must not change any more.
        """
        return self._models.add(processor)

    def save_model(self, digest: str, config: FlowConfig, path: Path) -> None:
        """Write a loaded model as a checkpoint.

        Raises:
            ModelNotLoaded: load the model first.
            OSError: the file cannot be written.
        """
        save(self._models.get(digest, config), path)

    def unload_model(self, digest: str, config: FlowConfig) -> None:
        """Forget a model; runs that use it go on."""
        self._models.remove(digest, config)

    def replay(self, request: ReplayRequest) -> Future[ReplayOutcome]:
        """Simulate one sample of an earlier run again, in short turns between steps.

        Raises:
            EngineUnavailable: the engine does not take work.
            ModelNotLoaded: load the model first.
        """
        job = ReplayJob(request, self._models.get(request.model, request.config))
        self._do(job)
        return job.future

    def train(self, request: TrainingRequest, listener: TrainingListener) -> None:
        """Train, one optimiser step after each step of the pools; returns at once.

        Raises:
            EngineUnavailable: the engine does not take work.
        """
        job = TrainingJob(request, listener, str(self.device), self.memory_limit_bytes)
        with self._lock:
            self._do(job)
            self._trainings[request.run_id] = job

    def stop_training(self, run_id: str) -> bool:
        """Let a training save a snapshot and end with ``RunPaused``.

        Returns:
            whether there is a training of this id.
        """
        with self._lock:
            job = self._trainings.get(run_id)
            if job is not None:
                job.stopping = True
        return job is not None

    def estimate(self, config: FlowConfig, samples: int) -> Estimate:
        """What a run of ``samples`` samples would cost."""
        device, limit = self.device.type, self.memory_limit_bytes
        in_a_pool = max(
            chunk_samples(config, device, limit), pool_flows(device) // config.surface_cells
        )
        at_once = min(samples, in_a_pool)
        with self._lock:
            wait = self._seconds(self._queued_bound())
        return Estimate(
            flows=samples * config.surface_cells,
            predicted_bytes=footprint(config, at_once).total,
            flow_steps_bound=flow_steps_bound(config, samples),
            queue_wait_seconds=wait,
        )

    def status(self) -> EngineStatus:
        """What the engine is doing now; never waits for a step."""
        with self._lock:
            queued = [run for run in self._queue if not run.started]
            held, entered = self._held, [run for run in self._queue if run.started]
            progress = self._pools.progress
            return EngineStatus(
                state=self._state,
                heartbeat_age_seconds=time.monotonic() - self._beat,
                queued_runs=len(queued),
                queued_flow_steps=sum(run.bound for run in queued),
                active_runs=len({id(chunk.run) for chunk in held}),
                active_samples=sum(chunk.samples for chunk in held),
                active_flows=self._active_flows,
                pool_flows=pool_flows(self.device.type),
                admitted_bytes=sum(chunk.bytes for chunk in held),
                admitted_flow_steps=sum(run.bound for run in entered),
                flow_steps=progress.flow_steps,
                flow_steps_per_second=progress.rate,
                out_of_memory_splits=progress.splits,
            )

    def _unended(self, run_id: str) -> list[Run]:
        return [run for run in self._queue if run.request.run_id == run_id and not run.ended]

    def _queued_bound(self) -> int:
        return sum(run.bound for run in self._queue if not run.started)

    def _seconds(self, bound: int) -> float:
        progress = self._pools.progress
        return bound * progress.bound_ratio / progress.rate if progress.rate else 0.0

    def _loop(self) -> None:
        try:
            while True:
                self._beat = time.monotonic()
                with self._lock:
                    if self._state == "stopped":
                        break
                    runs = list(self._queue)
                    jobs = list(self._jobs)
                    self._jobs.clear()
                worked = self._advance(jobs)
                self._dismiss(runs)
                entered = self._pools.admit(runs, self._may_enter)
                stepped = self._pools.step()
                self._publish()
                if stepped or worked:
                    self._worked_at = time.monotonic()
                if not stepped and not entered and not self._sleep():
                    self._rest()
        finally:
            self._close()

    def _sleep(self) -> bool:
        """Waits for something to do; says whether there may be something."""
        with self._lock:
            waiting = any(not run.ended for run in self._queue)
            if self._state == "stopped" or self._jobs:
                return True
            if waiting and self._state != "draining":
                self._lock.wait(BLOCKED_SECONDS)
                return True
            return self._lock.wait(IDLE_SECONDS)

    def _rest(self) -> None:
        """When nothing has come for a while, what the work left in the heap goes to the system."""
        if self._worked_at is not None and time.monotonic() - self._worked_at >= REST_SECONDS:
            self._worked_at = None
            give_back()

    def _do(self, job: Job) -> None:
        with self._lock:
            if self._state not in {"running", "draining"}:
                raise EngineUnavailable(f"the engine is {self._state}")
            self._jobs.append(job)
            self._lock.notify_all()

    def _advance(self, jobs: list[Job]) -> bool:
        """Give every job a turn; return whether there were any.

        Those that have more to do get another turn after the next step.
        """
        unfinished = [job for job in jobs if job.advance()]
        if not jobs:
            return False
        with self._lock:
            self._jobs.extend(unfinished)
            for job in jobs:
                if isinstance(job, TrainingJob) and job not in unfinished:
                    self._trainings.pop(job.request.run_id, None)
        return True

    def _dismiss(self, runs: list[Run]) -> None:
        """Ends runs that were cancelled or whose deadline has passed."""
        for run in runs:
            verdict = run.verdict()
            if verdict is not None and not run.ended:
                self._pools.break_off(run, verdict)

    def _may_enter(self, run: Run) -> bool:
        """Once it drains, only runs that have started go on, also in its last round; none that is
        paused does.
        """
        return not run.paused and (run.started or self._state == "running")

    def _publish(self) -> None:
        """Forgets runs that have ended, and says what is in the pools."""
        held, flows = self._pools.chunks, self._pools.flows
        with self._lock:
            self._held, self._active_flows = held, flows
            self._queue = [run for run in self._queue if not run.ended]
            self._lock.notify_all()

    def _close(self) -> None:
        """Tells everybody who still waits that the engine has stopped."""
        with self._lock:
            self._state = "stopped"
            runs, jobs = self._queue, list(self._jobs)
            self._queue = []
            self._jobs.clear()
            self._trainings.clear()
        self._pools.clear()
        self._models.clear()
        for run in runs:
            run.end(EngineUnavailable("the engine stopped before the run ended"))
        for job in jobs:
            job.abandon(EngineUnavailable("the engine stopped"))


def flow_steps_bound(config: FlowConfig, samples: int) -> int:
    """Most flow-steps that ``samples`` samples can take."""
    return samples * config.active_limit * config.step_limit


def _needed_bytes(config: FlowConfig, samples: int, *, streams: bool) -> int:
    """One sample in the pool, and the results of all unless they are streamed."""
    one = footprint(config, 1)
    if streams:
        return one.total
    outputs = 4 * (5 * config.surface_cells + 2 * config.embedding_dim)
    return one.total + samples * (outputs + one.trace)


def _make(source: FlowConfig | Path, device: str) -> FlowProcessor:
    if isinstance(source, FlowConfig):
        return FlowProcessor(source, device=device)
    return load(source, device)
