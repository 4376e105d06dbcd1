"""``InMemoryExecutor``: an executor that carries out work one after the other."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from energy_flow.ablation import AblationMeasurements, AblationRun
from energy_flow.choices import EngineState
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import (
    AblationListener,
    AblationWork,
    EngineStatus,
    Estimate,
    LoadedModel,
    ReplayOutcome,
    ReplayRequest,
    TrainingListener,
    TrainingWork,
    Work,
    WorkerMemory,
    WorkerStatus,
    WorkListener,
)
from energy_flow.engine.failures import as_energy_flow_error
from energy_flow.engine.loaded_models import ModelKey, make_processor, model_key
from energy_flow.engine.model_memory import ModelMemory
from energy_flow.errors import (
    DeadlineExceeded,
    EnergyFlowError,
    EngineUnavailable,
    ModelNotLoaded,
    RunCancelled,
    RunPaused,
)
from energy_flow.runtime.limits import computing_threads
from energy_flow.runtime.worker_kind import find_kind
from energy_flow.simulation.checkpoint import save
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.replay import ReplayRun
from energy_flow.training.start import start_training
from energy_flow.training.store import ResumableStore, Snapshot

Value = TypeVar("Value")

WAIT_SECONDS = 0.002
"""Wait between two attempts while a listener accepts no chunk."""


@dataclass(eq=False, slots=True)
class _Task:
    """A run or a training that has not ended."""

    cancelled: bool = False
    discarded: bool = False
    paused: bool = False
    started: bool = False


@dataclass(slots=True)
class _Counts:
    """What has been done so far."""

    flow_steps: int = 0
    active_flows: int = 0
    heartbeat: float = field(default_factory=time.monotonic)


class InMemoryExecutor:
    """Carries out work one after the other on a thread, with no limits and no memory to share.

    Whatever crosses the boundary between the caller and the worker is pickled and unpickled, as if
    the worker were in another process. Results have the bits of ``LocalExecutor``. Its methods are
    those of ``Executor``.

    Args:
        chunk_samples: most samples of a chunk.
        name: name of the worker.
        kind: kind of the worker; by default that of this process.

    Attributes:
        host_memory: memory of requests, without a limit in practice.
    """

    def __init__(
        self, *, chunk_samples: int = 8, name: str = "memory", kind: str | None = None
    ) -> None:
        self.host_memory = ModelMemory.without_models(2**62)
        self._chunk_samples = chunk_samples
        self._name = name
        self._kind = kind or find_kind(torch.device("cpu"))
        self._lock = threading.Condition()
        self._state = EngineState.STARTING
        self._models: dict[ModelKey, FlowProcessor] = {}
        self._tasks: dict[str, _Task] = {}
        self._counts = _Counts()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="energy-flow-in-memory")

    def start(self) -> None:
        """As ``Executor.start``."""
        if self._state != EngineState.STARTING:
            raise EngineUnavailable("the executor was started before; create another one")
        self._state = EngineState.RUNNING

    def drain(self, seconds: float) -> None:
        """As ``Executor.drain``."""
        until = time.monotonic() + seconds
        with self._lock:
            if self._state == EngineState.RUNNING:
                self._state = EngineState.DRAINING
            while any(task.started for task in self._tasks.values()):
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
        self.stop()

    def stop(self) -> None:
        """As ``Executor.stop``."""
        self._state = EngineState.STOPPED
        self._thread.shutdown()

    def status(self) -> list[WorkerStatus]:
        """As ``Executor.status``."""
        with self._lock:
            started = sum(task.started for task in self._tasks.values())
            queued = len(self._tasks) - started
        engine = EngineStatus(
            state=self._state,
            heartbeat_age_seconds=0.0,
            queued_runs=queued,
            queued_flow_steps=0,
            active_runs=started,
            active_samples=0,
            active_flows=self._counts.active_flows,
            pool_flows=1,
            admitted_bytes=0,
            admitted_flow_steps=0,
            flow_steps=self._counts.flow_steps,
            flow_steps_per_second=None,
            out_of_memory_splits=0,
        )
        worker = WorkerStatus(
            name=self._name,
            host=socket.gethostname(),
            pid=os.getpid(),
            device="cpu",
            kind=self._kind,
            threads=computing_threads(),
            models=tuple(dict.fromkeys(digest for digest, _ in self._models)),
            memory=WorkerMemory(None, 0),
            engine=engine,
        )
        return [_cross(worker)]

    def submit(self, work: Work, listener: WorkListener) -> None:
        """As ``Executor.submit``."""
        processor = self._find(work.model, work.config)
        deadline = None
        if work.seconds_left is not None:
            deadline = time.monotonic() + work.seconds_left
        task = self._add(work.run_id)
        listener.assigned(self._name, self._kind)
        carried = _Simulation(_cross(work), listener, processor, task, deadline)
        self._put(work.run_id, listener.ended, lambda: self._simulate(carried))

    def cancel(self, run_id: str, *, discard: bool = False) -> bool:
        """As ``Executor.cancel``."""
        task = self._tasks.get(run_id)
        if task is not None:
            task.cancelled, task.discarded = True, discard
        return task is not None

    def pause(self, run_id: str) -> bool:
        """As ``Executor.pause``."""
        task = self._tasks.get(run_id)
        if task is not None:
            task.paused = True
        return task is not None

    def require_room(self, client: str) -> None:
        """As ``Executor.require_room``; there always is."""

    def check(
        self,
        config: FlowConfig,
        samples: int,
        *,
        streams: bool = False,
        model: str = "",
        base: FlowConfig | None = None,
    ) -> None:
        """As ``Executor.check``; everything fits."""

    def estimate(self, config: FlowConfig, samples: int, model: str = "") -> Estimate:
        """As ``Executor.estimate``."""
        return Estimate.of(
            config, samples, max_pool_flows=1, memory_limit_bytes=None, queue_wait_seconds=0.0
        )

    def replay(self, request: ReplayRequest) -> Future[ReplayOutcome]:
        """As ``Executor.replay``."""
        processor, sent = self._find(request.model, request.config), _cross(request)

        def simulate() -> ReplayOutcome:
            run = ReplayRun(
                processor,
                sent.embedding,
                sent.config,
                sent.seed,
                sent.sample_key,
                sent.sample,
            )
            while run.step():
                self._require_running()
            return ReplayOutcome(run.result(), self._kind, run.recorder)

        return self._call(simulate, Future())

    def ablate(
        self, work: AblationWork, listener: AblationListener
    ) -> Future[AblationMeasurements]:
        """As ``Executor.ablate``."""
        processor, sent = self._find(work.model, work.config), _cross(work)
        run = AblationRun(processor, sent.pairs, config=sent.config, resamples=sent.resamples)
        future: Future[AblationMeasurements] = Future()

        def measure() -> AblationMeasurements:
            while run.advance():
                self._require_running()
                if future.cancelled():
                    break
                listener.progressed(run.done, run.current)
            listener.progressed(run.done, run.current)
            return run.measurements()

        return self._call(measure, future)

    def train(self, work: TrainingWork, listener: TrainingListener) -> None:
        """As ``Executor.train``."""
        self._require_running()
        task = self._add(work.run_id)
        listener.assigned(self._name, self._kind)
        sent = _cross(work)
        self._put(work.run_id, listener.ended, lambda: self._train(sent, listener, task))

    def check_model(self, config: FlowConfig) -> None:
        """As ``Executor.check_model``; everything fits."""

    def load_model(
        self, source: FlowConfig | Path, *, prepare: bool = True, is_permanent: bool = True
    ) -> LoadedModel:
        """As ``Executor.load_model``."""
        self._require_running()
        processor = make_processor(source, "cpu")
        digest = processor.digest()
        self._models[model_key(digest, processor.config)] = processor
        return _cross(LoadedModel(digest, processor.config, processor.trained))

    def has_model(self, digest: str, config: FlowConfig) -> bool:
        """As ``Executor.has_model``."""
        return model_key(digest, config) in self._models

    def unload_model(self, digest: str, config: FlowConfig) -> None:
        """As ``Executor.unload_model``."""
        self._models.pop(model_key(digest, config), None)

    def create_checkpoint(self, config: FlowConfig, path: Path) -> LoadedModel:
        """As ``Executor.create_checkpoint``."""
        processor = FlowProcessor(config)
        save(processor, path)
        return LoadedModel(processor.digest(), config, processor.trained)

    def save_model(self, digest: str, config: FlowConfig, path: Path) -> None:
        """As ``Executor.save_model``."""
        save(self._find(digest, config), path)

    def _find(self, digest: str, config: FlowConfig) -> FlowProcessor:
        self._require_running()
        processor = self._models.get(model_key(digest, config))
        if processor is None:
            raise ModelNotLoaded(digest)
        return processor

    def _require_running(self) -> None:
        if self._state not in {EngineState.RUNNING, EngineState.DRAINING}:
            raise EngineUnavailable(f"the executor is {self._state}")

    def _add(self, run_id: str) -> _Task:
        if self._state != EngineState.RUNNING:
            raise EngineUnavailable(f"the executor is {self._state}")
        task = _Task()
        with self._lock:
            self._tasks[run_id] = task
        return task

    def _put(self, run_id: str, end: Callable[[Any], None], carry_out: Callable[[], None]) -> None:
        """Let the thread carry out a run or a training, and notify its listener of the end."""

        def work() -> None:
            error: BaseException | None = None
            try:
                if self._state != EngineState.RUNNING:
                    raise EngineUnavailable(f"the executor is {self._state}")
                carry_out()
            except BaseException as failure:
                error = failure
            with self._lock:
                del self._tasks[run_id]
                self._lock.notify_all()
            end(None if error is None else _cross(error))

        self._thread.submit(work)

    def _call(self, function: Callable[[], Value], future: Future[Value]) -> Future[Value]:
        def work() -> None:
            if future.cancelled():
                return
            # One that was cancelled meanwhile takes neither.
            with suppress(InvalidStateError):
                try:
                    future.set_result(_cross(function()))
                except BaseException as error:
                    future.set_exception(_cross(error))

        self._thread.submit(work)
        return future

    def _simulate(self, run: _Simulation) -> None:
        work = run.work
        at_once = min(self._chunk_samples, work.chunk_samples or self._chunk_samples)
        stop = work.first_sample + len(work.sample_keys)
        first = work.first_sample
        while first < stop:
            self._check(run)
            if not run.listener.accepts():
                time.sleep(WAIT_SECONDS)
                continue
            last = min(first + at_once, stop)
            self._simulate_chunk(run, first, last)
            first = last

    def _simulate_chunk(self, run: _Simulation, first: int, last: int) -> None:
        work, began = run.work, time.perf_counter()
        offset = work.first_sample
        rows = (
            work.embeddings[first - offset : last - offset]
            if isinstance(work.embeddings, np.ndarray)
            else run.read(first, last)
        )
        processor = run.processor
        keys = work.sample_keys[first - offset : last - offset]
        state = processor.add_cohort(
            processor.empty(work.config), rows, work.config, work.seed, keys, first
        )
        (cohort,) = state.cohorts
        if not run.task.started:
            run.task.started = True
            run.notify(run.listener.started, time.perf_counter() - began)
        failure: EnergyFlowError | None = None
        while state.active_flows and failure is None:
            self._counts.active_flows = state.active_flows
            state = processor.step(state)
            self._counts.flow_steps += cohort.ledger.history[-1].active
            run.notify(run.listener.stepped, _cross(cohort.ledger.history[-1]), first)
            failure = cohort.failure or run.stop_reason(self._state)
        self._counts.active_flows = 0
        if not (failure is not None and run.task.discarded):
            result = processor.finish(state, cohort, work.outputs)
            run.notify(run.listener.chunk, first, _cross(result))
        if failure is not None:
            raise failure

    def _check(self, run: _Simulation) -> None:
        """Raise why a run must stop between two chunks."""
        reason = run.stop_reason(self._state)
        if reason is None and run.task.paused:
            reason = RunPaused(f"run {run.work.run_id} was paused")
        if reason is not None:
            raise reason

    def _train(self, work: TrainingWork, listener: TrainingListener, task: _Task) -> None:
        task.started = True
        trainer = start_training(work.config, _PickledStore(listener.store))
        while not trainer.ended:
            self._require_running()
            if task.paused:
                trainer.save()
                raise RunPaused(f"training {work.run_id} was stopped")
            event = trainer.advance()
            listener.progressed(_cross(trainer.progress), _cross(event))


@dataclass(frozen=True, slots=True)
class _Simulation:
    """A run that the thread carries out."""

    work: Work
    listener: WorkListener
    processor: FlowProcessor
    task: _Task
    deadline: float | None

    def stop_reason(self, state: EngineState) -> EnergyFlowError | None:
        """Return why the run must stop after its current step, or none."""
        if self.task.cancelled:
            return RunCancelled(f"run {self.work.run_id} was cancelled")
        if state == EngineState.STOPPED:
            return EngineUnavailable("the executor stopped before the run ended")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return DeadlineExceeded(f"run {self.work.run_id} passed its deadline")
        return None

    def read(self, first: int, last: int) -> Any:
        """Return rows that the listener has."""
        try:
            return _cross(self.listener.read(first, last))
        except Exception as error:
            raise as_energy_flow_error(error) from error

    def notify(self, method: Callable[..., None], *arguments: Any) -> None:
        """Call a method of the listener, whose failure cancels the run."""
        try:
            method(*arguments)
        except Exception:
            self.task.cancelled = True


class _PickledStore:
    """The store of a training, to which everything is handed over pickled."""

    def __init__(self, store: ResumableStore) -> None:
        self._store = store
        self.has_snapshot = store.has_snapshot
        self.rewind = store.rewind

    def save(self, snapshot: Snapshot, keep: int) -> None:
        self._store.save(_cross(snapshot), keep)

    def save_best(self, processor: FlowProcessor) -> None:
        self._store.save_best(_cross(processor))

    def best(self) -> FlowProcessor:
        return _cross(self._store.best())

    def latest(self, device: str) -> Snapshot:
        return _cross(self._store.latest(device))

    def log(self, event: Mapping[str, Any]) -> None:
        self._store.log(_cross(event))


def _cross(value: Value) -> Value:
    """Return what arrives on the other side of a boundary between processes."""
    arrived: Value = pickle.loads(pickle.dumps(value))
    return arrived
