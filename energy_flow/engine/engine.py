"""``Engine``: one thread that owns a device and advances the flows of many runs together.

Runs enter and leave between steps. The results of a run do not depend on what shares its pool; only
its duration does. An exception outside a run ends the runs, and the thread goes on. If the device
is lost, or the thread fails again and again, the engine has failed until the process starts again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from energy_flow.ablation import AblationRun
from energy_flow.choices import EngineState
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.capacity import pool_flows
from energy_flow.engine.clients import has_room
from energy_flow.engine.estimate import Estimate, flow_steps_bound, needed_bytes
from energy_flow.engine.job_queue import JobQueue
from energy_flow.engine.jobs import (
    AblationJob,
    CallJob,
    Job,
    PreparationJob,
    ReplayJob,
    ReplayOutcome,
    TrainingJob,
)
from energy_flow.engine.loaded_models import LoadedModel, LoadedModels, make_processor
from energy_flow.engine.pools import Pools
from energy_flow.engine.request import (
    AblationRequest,
    ReplayRequest,
    RunListener,
    RunRequest,
    TrainingListener,
    TrainingRequest,
)
from energy_flow.engine.rounds import run_rounds
from energy_flow.engine.schedule import Chunk, Run
from energy_flow.engine.status import EngineStatus
from energy_flow.errors import (
    CapacityError,
    EnergyFlowError,
    EngineFailed,
    EngineUnavailable,
    QueueFull,
)
from energy_flow.runtime.malloc import HeapTrimmer
from energy_flow.runtime.threads import run_in_temporary_thread
from energy_flow.simulation.checkpoint import save
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import require_fit

Answer = TypeVar("Answer")

IDLE_SECONDS = 0.5
"""Longest wait without work; the heartbeat is renewed after it."""
BLOCKED_SECONDS = 0.002
"""Wait between two attempts while runs wait for a disk or a listener."""


class Engine:
    """One thread that owns a device; any thread may call the methods.

    Args:
        device: name of the device, such as ``cpu`` or ``cuda:0``.
        memory_limit_bytes: largest predicted memory of the pools; no limit if none.
        max_queued_flow_steps: largest sum of the upper bounds of the runs that wait; several
            clients share it. The first run that waits is always accepted.
        max_pool_flows: active flows up to which the pools admit samples; by default, as many as
            suit the device.
        on_step: called with the seconds of every step of a pool, on the engine's thread.

    Attributes:
        device: device that the engine owns.
        memory_limit_bytes: as given.
        max_queued_flow_steps: as given.
        max_pool_flows: as given, or the default of the device.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        memory_limit_bytes: int | None = None,
        max_queued_flow_steps: int = 10**12,
        max_pool_flows: int | None = None,
        on_step: Callable[[float], None] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.memory_limit_bytes = memory_limit_bytes
        self.max_queued_flow_steps = max_queued_flow_steps
        self.max_pool_flows = max_pool_flows or pool_flows(self.device.type)
        self._lock = threading.Condition()
        self._queue: list[Run] = []
        self._jobs = JobQueue(self.device)
        self._models = LoadedModels()
        self._state = EngineState.STARTING
        self._failure: str | None = None
        self._thread: threading.Thread | None = None
        # Its thread starts with the first embeddings that are read.
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="energy-flow-reader")
        self._pools = Pools(
            self.device, self.max_pool_flows, memory_limit_bytes, self._readers, on_step
        )
        self._heartbeat = time.monotonic()
        self._held: tuple[Chunk, ...] = ()
        self._active_flows = 0
        self._heap = HeapTrimmer()

    def start(self) -> None:
        """Start the thread.

        Raises:
            EngineUnavailable: the engine was started before.
        """
        if self._thread is not None:
            raise EngineUnavailable("the engine was started before; create another engine")
        self._thread = threading.Thread(target=self._loop, name="energy-flow-engine", daemon=True)
        self._heartbeat = time.monotonic()
        self._state = EngineState.RUNNING
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current step; runs that have not ended end with ``EngineUnavailable``."""
        with self._lock:
            if self._state != EngineState.FAILED:
                self._state = EngineState.STOPPED
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._readers.shutdown(cancel_futures=True)

    def drain(self, seconds: float) -> None:
        """Accept no new runs, let those that have started end, then stop.

        Runs that have not started, and those that have not ended in time, end with
        ``EngineUnavailable``.

        Args:
            seconds: longest wait for the runs that have started.
        """
        until = time.monotonic() + seconds
        with self._lock:
            if self._state == EngineState.RUNNING:
                self._state = EngineState.DRAINING
            self._lock.notify_all()
            while any(run.started for run in self._queue) and time.monotonic() < until:
                self._lock.wait(min(0.1, max(until - time.monotonic(), 0.0)))
        self.stop()

    def submit(self, request: RunRequest, listener: RunListener) -> None:
        """Queue a run and return at once.

        Args:
            request: run to simulate.
            listener: notified of the run, on the engine's thread.

        Raises:
            EngineUnavailable: the engine does not accept runs.
            ConfigError: one sample of the run cannot fit in memory.
            CapacityError: its results cannot all be in memory, and it does not stream them.
            ModelNotLoaded: its model is not loaded.
            QueueFull: too much work is waiting.
        """
        config, samples = request.config, len(request.sample_keys)
        self.check(config, samples, streams=request.streams)
        processor = self._models.get(request.model, config)
        bound = flow_steps_bound(config, samples - request.first_sample)
        with self._lock:
            if self._state != EngineState.RUNNING:
                raise self._unavailable()
            self._require_room(request.client, bound)
            self._queue.append(Run(request, processor, listener, bound))
            self._lock.notify_all()

    def require_room(self, client: str) -> None:
        """Refuse a run for which there is no room in the queue, however small it is.

        Args:
            client: who would send it.

        Raises:
            QueueFull: too much work is waiting.
        """
        with self._lock:
            self._require_room(client, 1)

    def check(self, config: FlowConfig, samples: int, *, streams: bool = False) -> None:
        """Refuse a run that can never fit in memory.

        Args:
            config: config of the run.
            samples: number of its samples.
            streams: whether its results need not all be in memory at once.

        Raises:
            ConfigError: one sample of the run cannot fit.
            CapacityError: its results cannot all be in memory, and it does not stream them.
        """
        if self.memory_limit_bytes is None:
            return
        require_fit(config, self.memory_limit_bytes)
        needed = needed_bytes(config, samples, streams=streams)
        if needed > self.memory_limit_bytes:
            raise CapacityError(needed, self.memory_limit_bytes)

    def cancel(self, run_id: str, *, discard: bool = False) -> bool:
        """Request a run to end after the current step.

        Args:
            run_id: id of the run.
            discard: whether nobody waits for the results that it has by then.

        Returns:
            Whether there is a run with this id that has not ended.
        """
        with self._lock:
            found = self._unended(run_id)
            for run in found:
                run.cancelled, run.discarded = True, discard
            self._lock.notify_all()
        return bool(found)

    def pause(self, run_id: str) -> bool:
        """Request a run to end with ``RunPaused`` after its chunks in the pools.

        Args:
            run_id: id of the run.

        Returns:
            Whether there is a run with this id that has not ended.
        """
        with self._lock:
            found = self._unended(run_id)
            for run in found:
                run.paused = True
            self._lock.notify_all()
        return bool(found)

    def call(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Call a short function on the engine's thread, between steps.

        Args:
            function: called once.

        Returns:
            What the function returns or raises.

        Raises:
            EngineUnavailable: the engine is not running.
        """
        job = CallJob(function)
        self._enqueue(job)
        return job.future

    def load_model(self, source: FlowConfig | Path, *, prepare: bool = True) -> LoadedModel:
        """Load a model and prepare it for its first run; blocks until that is done.

        Args:
            source: a checkpoint, or the config of an untrained model.
            prepare: whether to pack the weights and try block heights now, which can take
                seconds; otherwise the first run does.

        Raises:
            CheckpointError: the file is not a usable checkpoint.
            EngineUnavailable: the engine is not running.
        """
        make = partial(make_processor, source, str(self.device))
        # On a CPU, another thread does it, so that steps do not wait.
        on_cpu = self.device.type == "cpu"
        processor = run_in_temporary_thread(make) if on_cpu else self.call(make).result()
        if prepare:
            preparation = PreparationJob(processor)
            self._enqueue(preparation)
            preparation.future.result()
        return self.add_model(processor)

    def add_model(self, processor: FlowProcessor) -> LoadedModel:
        """Make a model of this process available to runs.

        Args:
            processor: model on the engine's device; its weights must not change any more.
        """
        return self._models.add(processor)

    def save_model(self, digest: str, config: FlowConfig, path: Path) -> None:
        """Write a loaded model as a checkpoint.

        Args:
            digest: digest of the weights.
            config: config of the model.
            path: file to write.

        Raises:
            ModelNotLoaded: the model is not loaded.
            OSError: the file cannot be written.
        """
        save(self._models.get(digest, config), path)

    def unload_model(self, digest: str, config: FlowConfig) -> None:
        """Forget a model; runs that use it continue.

        Args:
            digest: digest of the weights.
            config: config of the model.
        """
        self._models.remove(digest, config)

    def replay(self, request: ReplayRequest) -> Future[ReplayOutcome]:
        """Simulate one sample of an earlier run again, in short turns between steps.

        Args:
            request: sample to simulate.

        Raises:
            EngineUnavailable: the engine is not running.
            ModelNotLoaded: the model is not loaded.
        """
        job = ReplayJob(request, self._models.get(request.model, request.config))
        self._enqueue(job)
        return job.future

    def ablate(self, request: AblationRequest) -> Future[AblationRun]:
        """Measure a model with parts of it switched off, in short turns between steps.

        Args:
            request: what to measure.

        Returns:
            The run after its last step; until then it can be cancelled.

        Raises:
            DataError: the rows do not suit the model.
            EngineUnavailable: the engine is not running.
            ModelNotLoaded: the model is not loaded.
        """
        processor = self._models.get(request.model, request.config)
        job = AblationJob(request, processor, self.max_pool_flows, self.memory_limit_bytes)
        self._enqueue(job)
        return job.future

    def train(self, request: TrainingRequest, listener: TrainingListener) -> None:
        """Start a training and return at once; it does one turn after each step of the pools.

        Args:
            request: training to start or to resume.
            listener: notified of the training, on the engine's thread.

        Raises:
            EngineUnavailable: the engine is not running.
        """
        self._enqueue(TrainingJob(request, listener, str(self.device), self.memory_limit_bytes))

    def stop_training(self, run_id: str) -> bool:
        """Request a training to save a snapshot and end with ``RunPaused``.

        Args:
            run_id: id of the training.

        Returns:
            Whether there is a training with this id.
        """
        return self._jobs.stop_training(run_id)

    def estimate(self, config: FlowConfig, samples: int) -> Estimate:
        """Return what a run would cost.

        Args:
            config: config of the run.
            samples: number of its samples.
        """
        with self._lock:
            wait = self._seconds(self._queued_bound())
        return Estimate.of(
            config,
            samples,
            max_pool_flows=self.max_pool_flows,
            memory_limit_bytes=self.memory_limit_bytes,
            queue_wait_seconds=wait,
        )

    @property
    def failure(self) -> str | None:
        """Why the engine can do no work until the process starts again; none if it can."""
        return self._failure

    def status(self) -> EngineStatus:
        """Return what the engine is doing now, without waiting for a step."""
        with self._lock:
            queued = [run for run in self._queue if not run.started]
            held, started = self._held, [run for run in self._queue if run.started]
            throughput = self._pools.throughput
            return EngineStatus(
                state=self._state,
                failure=self._failure,
                heartbeat_age_seconds=time.monotonic() - self._heartbeat,
                queued_runs=len(queued),
                queued_flow_steps=sum(run.bound for run in queued),
                active_runs=len({id(chunk.run) for chunk in held}),
                active_samples=sum(chunk.samples for chunk in held),
                active_flows=self._active_flows,
                pool_flows=self.max_pool_flows,
                admitted_bytes=sum(chunk.bytes for chunk in held),
                admitted_flow_steps=sum(run.bound for run in started),
                flow_steps=throughput.flow_steps,
                flow_steps_per_second=throughput.rate,
                out_of_memory_splits=throughput.splits,
            )

    def _unended(self, run_id: str) -> list[Run]:
        return [run for run in self._queue if run.request.run_id == run_id and not run.ended]

    def _queued_bound(self) -> int:
        return sum(run.bound for run in self._queue if not run.started)

    def _require_room(self, client: str, bound: int) -> None:
        waiting = [run for run in self._queue if not run.started and not run.cancelled]
        if not has_room(waiting, client, bound, self.max_queued_flow_steps):
            raise QueueFull(max(1.0, self._seconds(self._queued_bound())))

    def _seconds(self, bound: int) -> float:
        throughput = self._pools.throughput
        return bound * throughput.bound_ratio / throughput.rate if throughput.rate else 0.0

    def _loop(self) -> None:
        failure = run_rounds(self._do_round, lambda fault: self._end_all(fault, fault))
        with self._lock:
            self._failure = failure
            self._state = EngineState.STOPPED if failure is None else EngineState.FAILED
        self._models.close(self._unavailable())
        if failure is None:
            self._end_all(
                EngineUnavailable("the engine stopped before the run ended"), self._unavailable()
            )
        else:
            during = EngineFailed(f"the engine failed during the run: {failure}")
            self._end_all(during, self._unavailable())

    def _do_round(self) -> bool:
        """Give every job a turn, and every pool a step; return whether the engine is to go on."""
        self._heartbeat = time.monotonic()
        with self._lock:
            if self._state == EngineState.STOPPED:
                return False
            runs = list(self._queue)
        worked = self._jobs.advance()
        self._stop_runs(runs)
        entered = self._pools.admit(runs, self._may_enter)
        stepped = self._pools.step()
        self._publish()
        if stepped or worked:
            self._heap.record_work()
        if not stepped and not entered and not self._wait_for_work():
            self._heap.trim_if_idle()
        return True

    def _wait_for_work(self) -> bool:
        """Wait for work, and return whether there may be some."""
        with self._lock:
            waiting = any(not run.ended for run in self._queue)
            if self._state == EngineState.STOPPED or not self._jobs.is_empty:
                return True
            if waiting and self._state != EngineState.DRAINING:
                self._lock.wait(BLOCKED_SECONDS)
                return True
            return self._lock.wait(IDLE_SECONDS)

    def _enqueue(self, job: Job) -> None:
        with self._lock:
            if self._state not in {EngineState.RUNNING, EngineState.DRAINING}:
                raise self._unavailable()
            self._jobs.add(job)
            self._lock.notify_all()

    def _unavailable(self) -> EngineUnavailable:
        if self._failure is not None:
            return EngineUnavailable(f"the engine has failed: {self._failure}")
        return EngineUnavailable(f"the engine is {self._state}")

    def _stop_runs(self, runs: list[Run]) -> None:
        """End runs that are cancelled, paused or late."""
        for run in runs:
            reason = run.stop_reason()
            if reason is not None and not run.ended:
                self._pools.abort(run, reason)

    def _may_enter(self, run: Run) -> bool:
        # While the engine drains, and in its last round, only runs that have started continue.
        return not run.paused and (run.started or self._state == EngineState.RUNNING)

    def _publish(self) -> None:
        """Remove runs that have ended, and publish what is in the pools."""
        held, flows = self._pools.chunks, self._pools.flows
        with self._lock:
            self._held, self._active_flows = held, flows
            self._queue = [run for run in self._queue if not run.ended]
            self._lock.notify_all()

    def _end_all(self, during: EnergyFlowError, before: EnergyFlowError) -> None:
        """End all runs and jobs.

        Args:
            during: why runs end that have started.
            before: why other runs and jobs end.
        """
        with self._lock:
            runs, self._queue = self._queue, []
            self._held, self._active_flows = (), 0
            self._lock.notify_all()
        self._pools.clear()
        for run in runs:
            run.end(during if run.started or run.in_flight else before)
        self._jobs.abandon(before)
