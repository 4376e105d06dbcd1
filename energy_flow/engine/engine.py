"""``Engine``: one thread that owns a device and advances the flows of many runs together.

Runs enter and leave between steps. The results of a run do not depend on what shares its pool; only
its duration does. An exception outside a run ends the runs, and the thread goes on. If the device
is lost, or the thread fails again and again, the engine has failed until the process starts again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from energy_flow.choices import EngineState
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.capacity import pool_flows
from energy_flow.engine.clients import has_room
from energy_flow.engine.estimate import Estimate, flow_steps_bound, needed_bytes
from energy_flow.engine.job_queue import JobQueue
from energy_flow.engine.loaded_models import LoadedModels, model_key
from energy_flow.engine.model_loader import ModelLoader
from energy_flow.engine.model_memory import ModelMemory, ModelUse
from energy_flow.engine.pools import Pools
from energy_flow.engine.request import RunListener, RunRequest
from energy_flow.engine.rounds import run_rounds
from energy_flow.engine.schedule import Chunk, Run, packed_for_run
from energy_flow.engine.status import EngineStatus, WorkerMemory, WorkerStatus
from energy_flow.errors import (
    CapacityError,
    EnergyFlowError,
    EngineFailed,
    EngineUnavailable,
    QueueFull,
)
from energy_flow.runtime.limits import computing_threads
from energy_flow.runtime.malloc import HeapTrimmer
from energy_flow.runtime.worker_kind import find_kind
from energy_flow.simulation.footprint import require_fit

IDLE_SECONDS = 0.5
"""Longest wait without work; the heartbeat is renewed after it."""
BLOCKED_SECONDS = 0.002
"""Wait between two attempts while runs wait for a disk or a listener."""


class Engine(ModelLoader):
    """One thread that owns a device; any thread may call the methods.

    Args:
        device: name of the device, such as ``cpu`` or ``cuda:0``.
        memory_limit_bytes: largest predicted memory of models, pools and other work; no limit if
            none.
        host_limit_bytes: largest predicted memory of the host that pools use, where the device has
            another one; no limit if none.
        max_queued_flow_steps: largest sum of the upper bounds of the runs that wait; several
            clients share it. The first run that waits is always accepted.
        max_pool_flows: active flows up to which the pools admit samples; by default, as many as
            suit the device.
        on_step: called with the seconds of every step of a pool, on the engine's thread.
        name: name of the worker that the engine is, for listeners.

    Attributes:
        device: device that the engine owns.
        memory_limit_bytes: as given.
        max_queued_flow_steps: as given.
        max_pool_flows: as given, or the default of the device.
        name: as given.
        kind: what decides the bits of results, as ``runtime.worker_kind.find_kind``.
        memory: the memory of models, runs and requests.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        memory_limit_bytes: int | None = None,
        host_limit_bytes: int | None = None,
        max_queued_flow_steps: int = 10**12,
        max_pool_flows: int | None = None,
        on_step: Callable[[float], None] | None = None,
        name: str = "local",
    ) -> None:
        self.device = torch.device(device)
        self.name = name
        self.kind = find_kind(self.device)
        self._host = socket.gethostname()
        self._threads = computing_threads()
        self.memory_limit_bytes = memory_limit_bytes
        self.max_queued_flow_steps = max_queued_flow_steps
        self.max_pool_flows = max_pool_flows or pool_flows(self.device.type)
        self._lock = threading.Condition()
        self._queue: list[Run] = []
        self._jobs = JobQueue(self.device)
        self._models = LoadedModels()
        self.memory = ModelMemory(
            memory_limit_bytes, self._models, self._lock, self._find_work, self.device
        )
        self._state = EngineState.STARTING
        self._failure: str | None = None
        self._thread: threading.Thread | None = None
        # Its thread starts with the first embeddings that are read.
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="energy-flow-reader")
        self._host_limit_bytes = host_limit_bytes
        self._pools = Pools(
            self.device,
            self.max_pool_flows,
            self.memory,
            self._readers,
            on_step,
            host_limit_bytes,
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
            QueueFull: too much work is waiting; ``MemoryInUse`` if it and its models have the
                memory.
        """
        config, samples = request.config, len(request.sample_keys)
        processor = self._models.get(request.model, config)
        self.check(
            config, samples, streams=request.streams, model=request.model, base=processor.config
        )
        done = request.first_sample - request.first_row
        bound = flow_steps_bound(config, samples - done)
        with self._lock:
            if self._state != EngineState.RUNNING:
                raise self._unavailable()
            self._require_room(request.client, bound)
            run = Run(request, processor, listener, bound)
            self.memory.check_room("the run", processor, run.sample_bytes, may_wait=True)
            run.notify(listener.assigned, self.name, self.kind)
            self._queue.append(run)
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

    def check(
        self,
        config: FlowConfig,
        samples: int,
        *,
        streams: bool = False,
        model: str = "",
        base: FlowConfig | None = None,
    ) -> None:
        """Refuse a run that can never fit in memory beside the models that always stay.

        Args:
            config: config of the run.
            samples: number of its samples.
            streams: whether its results need not all be in memory at once.
            model: digest of the weights, if the model is loaded.
            base: config of the model; that of the run if none.

        Raises:
            ConfigError: one sample of the run cannot fit.
            CapacityError: its model cannot be loaded, or its results cannot all be in memory, and
                it does not stream them.
        """
        key = model_key(model, config)
        available = self.memory.available_bytes(key)
        if available is None:
            return
        require_fit(config, available, self.device, self._host_limit_bytes)
        if not self._models.has(key):
            self.memory.check_load(config)
        needed = needed_bytes(config, samples, streams=streams, device=self.device)
        needed += packed_for_run(base or config, config)
        if needed > available:
            raise CapacityError(needed, available)

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

    def estimate(self, config: FlowConfig, samples: int, model: str = "") -> Estimate:
        """Return what a run would cost.

        Args:
            config: config of the run.
            samples: number of its samples.
            model: digest of the weights, if the model is loaded.
        """
        with self._lock:
            wait = self._seconds(self._queued_bound())
        return Estimate.of(
            config,
            samples,
            max_pool_flows=self.max_pool_flows,
            memory_limit_bytes=self.memory.available_bytes(model_key(model, config)),
            queue_wait_seconds=wait,
            device=self.device,
        )

    @property
    def failure(self) -> str | None:
        """Why the engine can do no work until the process starts again; none if it can."""
        return self._failure

    def worker_status(self) -> WorkerStatus:
        """Return what the worker is that the engine is, and what it is doing now."""
        return WorkerStatus(
            name=self.name,
            host=self._host,
            pid=os.getpid(),
            device=str(self.device),
            kind=self.kind,
            threads=self._threads,
            models=self._models.digests,
            memory=WorkerMemory(self.memory_limit_bytes, self.models_bytes),
            engine=self.status(),
        )

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

    def _find_work(self) -> ModelUse:
        """Return what uses models now; the caller has the lock."""
        runs = [run for run in self._queue if not run.ended]
        jobs = self._jobs.model_jobs
        return ModelUse(
            models=frozenset(id(run.processor) for run in runs)
            | frozenset(id(job.processor) for job in jobs),
            job_bytes=sum(job.bytes for job in jobs),
            waiting_bytes=max((run.sample_bytes for run in runs), default=0),
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

    def _check_accepting(self) -> None:
        if self._state not in {EngineState.RUNNING, EngineState.DRAINING}:
            raise self._unavailable()

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
