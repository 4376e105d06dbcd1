"""``Engine``: many runs share one pool of flows and advance together.

Runs enter and leave between steps. A run's results do not depend on what shares the pool, so
sharing is invisible but for the time it takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from energy_flow.config import FlowConfig, Precision
from energy_flow.engine.request import RunListener, RunRequest
from energy_flow.engine.schedule import (
    CHUNKS_OF_POOL,
    POOL_FLOWS,
    Chunk,
    Run,
    candidates,
    chunk_samples,
)
from energy_flow.errors import (
    CapacityError,
    DeviceMemoryError,
    EnergyFlowError,
    EngineUnavailable,
    QueueFull,
)
from energy_flow.flow_processor import FlowProcessor
from energy_flow.footprint import footprint, require_fit
from energy_flow.pool import Cohort, FlowState
from energy_flow.telemetry.logs import lines_of

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
PoolKey = tuple[int, Precision, bool]

IDLE_SECONDS = 0.5
"""How long the engine sleeps when there is nothing to do, so that it still beats."""
BLOCKED_SECONDS = 0.002
"""How long it sleeps when runs wait for a disk or a listener."""
SMOOTHING = 0.2
"""Weight of the newest step in the running mean of the rate."""


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


@dataclass(slots=True)
class _Pool:
    processor: FlowProcessor
    state: FlowState
    chunks: dict[Cohort, Chunk]

    @property
    def flows(self) -> int:
        return self.state.active_flows

    @property
    def bytes(self) -> int:
        return sum(chunk.bytes for chunk in self.chunks.values())


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
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._pools: dict[PoolKey, _Pool] = {}
        self._state = "starting"
        self._thread: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._beat = time.monotonic()
        self._flow_steps = 0
        self._rate: float | None = None
        self._bound_ratio = 1.0
        self._splits = 0
        self._active = (0, 0, 0)
        self._held: tuple[Chunk, ...] = ()
        self._on_step = on_step

    def start(self) -> None:
        """Starts the thread."""
        if self._thread is not None:
            raise EngineUnavailable("the engine was started before")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="energy-flow-reader")
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
        if self._readers is not None:
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
            QueueFull: too much work is waiting.
        """
        config, samples = request.config, len(request.sample_keys)
        self.check(config, samples, streams=request.streams)
        bound = flow_steps_bound(config, samples)
        with self._lock:
            if self._state != "running":
                raise EngineUnavailable(f"the engine is {self._state}")
            queued = self._queued_bound()
            if queued and queued + bound > self.max_queued_flow_steps:
                raise QueueFull(max(1.0, self._seconds(queued)))
            self._queue.append(Run(request, listener, bound))
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
            found = [run for run in self._queue if run.request.run_id == run_id and not run.ended]
            for run in found:
                run.cancelled = True
            self._lock.notify_all()
        return bool(found)

    def call(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Runs a short function on the engine's thread, between steps.

        Raises:
            EngineUnavailable: the engine does not take work.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._state not in {"running", "draining"}:
                raise EngineUnavailable(f"the engine is {self._state}")
            self._calls.append((function, future))
            self._lock.notify_all()
        return future

    def estimate(self, config: FlowConfig, samples: int) -> Estimate:
        """What a run of ``samples`` samples would cost."""
        at_once = min(samples, self._samples_at_once(config))
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
            runs, samples, flows = self._active
            held, entered = self._held, [run for run in self._queue if run.started]
            return EngineStatus(
                state=self._state,
                heartbeat_age_seconds=time.monotonic() - self._beat,
                queued_runs=len(queued),
                queued_flow_steps=sum(run.bound for run in queued),
                active_runs=runs,
                active_samples=samples,
                active_flows=flows,
                pool_flows=POOL_FLOWS.get(self.device.type, POOL_FLOWS["cpu"]),
                admitted_bytes=sum(chunk.bytes for chunk in held),
                admitted_flow_steps=sum(run.bound for run in entered),
                flow_steps=self._flow_steps,
                flow_steps_per_second=self._rate,
                out_of_memory_splits=self._splits,
            )

    # What follows runs on the engine's thread, but for the three estimates.

    def _samples_at_once(self, config: FlowConfig) -> int:
        most = POOL_FLOWS.get(self.device.type, POOL_FLOWS["cpu"])
        return max(chunk_samples(config, self.device.type), most // config.surface_cells)

    def _queued_bound(self) -> int:
        return sum(run.bound for run in self._queue if not run.started)

    def _seconds(self, bound: int) -> float:
        return bound * self._bound_ratio / self._rate if self._rate else 0.0

    def _loop(self) -> None:
        try:
            while True:
                self._beat = time.monotonic()
                with self._lock:
                    if self._state == "stopped":
                        break
                    runs = list(self._queue)
                    calls = list(self._calls)
                    self._calls.clear()
                for function, future in calls:
                    _answer(function, future)
                self._dismiss(runs)
                entered = self._admit(runs)
                busy = [pool for pool in self._pools.values() if pool.chunks]
                for pool in busy:
                    self._step(pool)
                self._tidy()
                if not busy and not entered:
                    self._sleep()
        finally:
            self._close()

    def _sleep(self) -> None:
        with self._lock:
            waiting = any(not run.ended for run in self._queue)
            if self._state == "stopped" or self._calls:
                return
            draining = self._state == "draining"
            self._lock.wait(BLOCKED_SECONDS if waiting and not draining else IDLE_SECONDS)

    def _dismiss(self, runs: list[Run]) -> None:
        """Ends runs that were cancelled or whose deadline has passed."""
        for run in runs:
            verdict = run.verdict()
            if verdict is not None and not run.ended:
                self._break_off(run, verdict)

    def _admit(self, runs: list[Run]) -> bool:
        """Lets samples into the pools while there is room; says whether any entered."""
        entered = False
        while True:
            chunk = self._next(runs)
            if chunk is None:
                return entered
            entered = True

    def _next(self, runs: list[Run]) -> Chunk | None:
        """Lets one chunk in; none when nothing may enter now."""
        draining = self._state == "draining"
        for run in candidates(runs):
            if (draining and not run.started) or not run.listener.accepts():
                continue
            chunk = run.next_chunk(self.device.type)
            if not self._has_room(chunk):
                # First come first served: nobody passes a run for which there is no room, except
                # one that has samples in the pool already and so has had its turn.
                if run.in_flight:
                    continue
                return None
            try:
                embeddings = run.embeddings(chunk, self._reader_pool())
                if embeddings is None:
                    continue
                self._enter(chunk, embeddings)
            except Exception as error:
                self._break_off(run, _as_energy_flow_error(error))
            return chunk
        return None

    def _has_room(self, chunk: Chunk) -> bool:
        pools = list(self._pools.values())
        if any(held.alone for pool in pools for held in pool.chunks.values()):
            return False
        held_flows = sum(pool.flows for pool in pools)
        if not held_flows:
            return True
        if chunk.alone:
            return False
        if self.memory_limit_bytes is not None:
            weights = footprint(chunk.run.request.config, 0).total
            held_bytes = sum(pool.bytes for pool in pools)
            if held_bytes + chunk.bytes + weights > self.memory_limit_bytes:
                return False
        most = POOL_FLOWS.get(self.device.type, POOL_FLOWS["cpu"])
        if chunk.run.samples > chunk.samples:
            # A large run leaves room for those that come while it is under way.
            most = most * (CHUNKS_OF_POOL - 1) // CHUNKS_OF_POOL
        return held_flows + chunk.flows <= most

    def _reader_pool(self) -> ThreadPoolExecutor:
        assert self._readers is not None
        return self._readers

    def _enter(self, chunk: Chunk, embeddings: Any) -> None:
        request, run = chunk.run.request, chunk.run
        key = (id(request.processor), request.config.precision, request.config.batch_invariant)
        pool = self._pools.get(key)
        if pool is None:
            pool = _Pool(request.processor, request.processor.empty(request.config), {})
            self._pools[key] = pool
        run.taken(chunk)
        try:
            pool.state = request.processor.enter(
                pool.state,
                embeddings,
                request.config,
                request.seed,
                request.sample_keys[chunk.start : chunk.stop],
                chunk.start,
            )
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            self._split(pool, [chunk])
            return
        cohort = pool.state.cohorts[-1]
        cohort.memory.limit_bytes = self.memory_limit_bytes
        pool.chunks[cohort] = chunk
        if not run.started:
            run.started = True
            run.tell(run.listener.started)

    def _step(self, pool: _Pool) -> None:
        before = time.perf_counter()
        try:
            moved = pool.flows
            pool.state = pool.processor.step(pool.state)
        except Exception as error:
            if _is_out_of_memory(error):
                self._split(pool, [])
                return
            logger.exception("a step failed")
            # What the pool held is in an unknown state; none of it is read any more.
            chunks = self._emptied(pool)
            for chunk in chunks:
                self._break_off(chunk.run, _as_energy_flow_error(error))
            return
        self._measure(moved, time.perf_counter() - before)
        for cohort, chunk in list(pool.chunks.items()):
            if cohort not in pool.chunks:
                continue
            last = cohort.ledger.history[-1]
            chunk.run.tell(chunk.run.listener.stepped, last, chunk.run.done_samples)
            if cohort.failure is not None:
                self._break_off(chunk.run, cohort.failure)
        ended = [cohort for cohort in pool.chunks if not cohort.active_flows]
        for cohort in ended:
            self._finish(pool, cohort)
        if ended:
            pool.state = pool.state.left(ended)

    def _finish(self, pool: _Pool, cohort: Cohort) -> None:
        """Hands a cohort's results over and forgets it; its place in the pool stays taken."""
        chunk = pool.chunks.pop(cohort)
        run = chunk.run
        run.in_flight -= 1
        try:
            with lines_of(run.request.run_id):
                result = pool.processor.finish(pool.state, cohort, run.request.outputs)
        except EnergyFlowError as error:
            self._break_off(run, error)
            return
        run.flow_steps += result.metrics.counters.flow_steps
        if not cohort.active_flows:
            run.done_samples += chunk.samples
        run.deliver(chunk.start, result)
        if not run.left and not run.in_flight:
            ratio = run.flow_steps / run.bound if run.bound else 1.0
            self._bound_ratio += SMOOTHING * (ratio - self._bound_ratio)
            run.end(None)

    def _break_off(self, run: Run, error: EnergyFlowError) -> None:
        """Takes a run out of the pools; its listener gets what its samples had."""
        run.next_sample, run.again = run.samples, []
        for pool in self._pools.values():
            leaving = [cohort for cohort, chunk in pool.chunks.items() if chunk.run is run]
            for cohort in leaving:
                chunk = pool.chunks.pop(cohort)
                run.in_flight -= 1
                try:
                    with lines_of(run.request.run_id):
                        result = pool.processor.finish(pool.state, cohort, run.request.outputs)
                    run.deliver(chunk.start, result)
                except EnergyFlowError as second:
                    logger.error("results of run %s are lost: %s", run.request.run_id, second)
            if leaving:
                pool.state = pool.state.left(leaving)
        run.end(error)

    def _split(self, pool: _Pool, entering: list[Chunk]) -> None:
        """The device ran out of memory: everything in the pool starts again, in halves, alone."""
        self._splits += 1
        chunks = [*self._emptied(pool), *entering]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        for chunk in entering:
            chunk.run.in_flight -= 1
        for chunk in chunks:
            if chunk.alone:
                self._break_off(
                    chunk.run,
                    DeviceMemoryError(
                        f"samples {chunk.start} to {chunk.stop - 1} do not fit in the device's "
                        "memory, not even alone"
                    ),
                )
            else:
                chunk.run.again += chunk.halves()

    def _emptied(self, pool: _Pool) -> list[Chunk]:
        """Forgets all that a pool holds; returns what it held."""
        chunks = list(pool.chunks.values())
        pool.chunks.clear()
        for chunk in chunks:
            chunk.run.in_flight -= 1
        pool.state = pool.processor.empty(chunks[0].run.request.config if chunks else None)
        return chunks

    def _measure(self, flow_steps: int, seconds: float) -> None:
        rate = flow_steps / max(seconds, 1e-9)
        self._flow_steps += flow_steps
        if self._on_step is not None:
            self._on_step(seconds)
        self._rate = rate if self._rate is None else self._rate + SMOOTHING * (rate - self._rate)

    def _tidy(self) -> None:
        """Forgets pools and runs that have ended, and publishes what is active."""
        self._pools = {key: pool for key, pool in self._pools.items() if pool.chunks}
        active = {id(chunk.run) for pool in self._pools.values() for chunk in pool.chunks.values()}
        samples = sum(c.samples for pool in self._pools.values() for c in pool.chunks.values())
        flows = sum(pool.flows for pool in self._pools.values())
        held = tuple(chunk for pool in self._pools.values() for chunk in pool.chunks.values())
        with self._lock:
            self._held = held
            self._queue = [run for run in self._queue if not run.ended]
            self._active = (len(active), samples, flows)
            self._lock.notify_all()

    def _close(self) -> None:
        """Tells everybody who still waits that the engine has stopped."""
        with self._lock:
            self._state = "stopped"
            runs, calls = self._queue, list(self._calls)
            self._queue = []
            self._calls.clear()
        self._pools.clear()
        for run in runs:
            run.end(EngineUnavailable("the engine stopped before the run ended"))
        for _, future in calls:
            future.set_exception(EngineUnavailable("the engine stopped"))


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


def _answer(function: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _as_energy_flow_error(error: Exception) -> EnergyFlowError:
    if isinstance(error, EnergyFlowError):
        return error
    wrapped = EnergyFlowError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
