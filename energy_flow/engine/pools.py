"""``Pools``: samples enter, take steps and leave, on the engine's thread alone."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow.choices import Precision
from energy_flow.engine.capacity import Admission, Capacity, chunk_samples
from energy_flow.engine.clients import Clients
from energy_flow.engine.failures import as_energy_flow_error, require_device
from energy_flow.engine.loaded_models import ModelKey, model_key
from energy_flow.engine.model_memory import TRIMMED_BYTES, ModelMemory
from energy_flow.engine.schedule import Chunk, Run
from energy_flow.engine.throughput import Throughput
from energy_flow.errors import DeviceMemoryError, EnergyFlowError
from energy_flow.simulation.cohort import Cohort, CohortRequest
from energy_flow.simulation.cohort_outputs import CohortOutputs
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.logs import lines_of

logger = logging.getLogger(__name__)

PoolKey = tuple[ModelKey, Precision, bool]
_Entering = tuple[Chunk, NDArray[np.float32]]


@dataclass(slots=True)
class _Pool:
    processor: FlowProcessor
    state: FlowState
    chunks: dict[Cohort, Chunk]

    @property
    def flows(self) -> int:
        return self.state.active_flows


class Pools:
    """The pools of a device, one for each model and precision in use.

    Args:
        device: where the pools are.
        max_flows: active flows up to which the pools admit chunks.
        memory: the memory that they share with the models.
        readers: reads embeddings that are not in memory.
        on_step: called with the seconds of every step of a pool.
        host_limit_bytes: largest predicted memory of the host, where that is another one than the
            device's; no limit if none.

    Attributes:
        throughput: what has been done so far.
    """

    def __init__(
        self,
        device: torch.device,
        max_flows: int,
        memory: ModelMemory,
        readers: Executor,
        on_step: Callable[[float], None] | None,
        host_limit_bytes: int | None = None,
    ) -> None:
        self._host_limit_bytes = host_limit_bytes
        self.throughput = Throughput()
        self._device = device
        self._max_flows = max_flows
        self._memory = memory
        self._readers = readers
        self._on_step = on_step
        self._clients = Clients(max_flows)
        self._pools: dict[PoolKey, _Pool] = {}
        # Those that the memory of the pools was last predicted for.
        self._counted: tuple[Chunk, ...] = ()

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Chunks in the pools."""
        return tuple(chunk for pool in self._pools.values() for chunk in pool.chunks.values())

    @property
    def flows(self) -> int:
        """Number of active flows in the pools."""
        return sum(pool.flows for pool in self._pools.values())

    def clear(self) -> None:
        """Discard all samples; listeners are not notified."""
        self._pools.clear()

    def admit(self, runs: list[Run], may_enter: Callable[[Run], bool]) -> bool:
        """Let samples enter while there is capacity.

        Args:
            runs: runs that have not ended, in the order of submission.
            may_enter: returns whether a run may send samples.

        Returns:
            Whether any samples entered.
        """
        entered = False
        while entering := self._select(runs, may_enter):
            entered = True
            for group in _by_pool(entering):
                self._enter(group)
        return entered

    def step(self) -> bool:
        """Move all flows once; samples that have ended leave.

        Returns:
            Whether there was anything to move.
        """
        busy = [pool for pool in self._pools.values() if pool.chunks]
        for pool in busy:
            self._step(pool)
        self._pools = {key: pool for key, pool in self._pools.items() if pool.chunks}
        self._count_memory()
        return bool(busy)

    def abort(self, run: Run, error: EnergyFlowError) -> None:
        """End a run early; its listener receives the results that its samples have by now.

        Nobody waits for the results of a run that is discarded.

        Args:
            run: run that has not ended.
            error: why it ends.
        """
        run.next_sample, run.retry_chunks = run.samples, []
        for pool in self._pools.values():
            leaving = [cohort for cohort, chunk in pool.chunks.items() if chunk.run is run]
            for cohort in leaving:
                chunk = pool.chunks.pop(cohort)
                run.in_flight -= 1
                if run.discarded:
                    continue
                try:
                    with lines_of(run.request.run_id):
                        result = pool.processor.finish(pool.state, cohort, run.request.outputs)
                    run.deliver(chunk.start, result)
                except Exception as second:
                    require_device(second, self._device)
                    logger.error("results of run %s are lost: %s", run.request.run_id, second)
            if leaving:
                pool.state = pool.state.without_cohorts(leaving)
        self._count_memory()
        run.end(error)

    def _select(self, runs: list[Run], may_enter: Callable[[Run], bool]) -> list[_Entering]:
        """Return the chunks that enter together now, at most one of each run."""
        following = next((run for run in runs if run.has_pending_samples), None)
        if following is None:
            return []
        active_flows = self._active_flows()
        capacity = Capacity.beside(active_flows, self._max_flows, None, self._host_limit_bytes)
        self._memory.make_room_in_pools(capacity.total + following.sample_bytes)
        flows_of_clients: Counter[str] = Counter()
        for chunk, flows in active_flows.items():
            flows_of_clients[chunk.run.request.client] += flows
        ordered = self._clients.order(runs, flows_of_clients)
        before = capacity.total
        selected = list(self._choose(ordered, may_enter, capacity))
        self._memory.pool_bytes = capacity.total
        if capacity.total - before >= TRIMMED_BYTES:
            self._memory.trim()
        return selected

    def _choose(
        self, waiting: Iterator[Run], may_enter: Callable[[Run], bool], capacity: Capacity
    ) -> Iterator[_Entering]:
        """Yield the next chunk of each run that has room, with its embeddings."""
        for run in waiting:
            if not may_enter(run) or not run.accepts():
                continue
            chunk, admission = self._admit_next(run, capacity)
            if admission is Admission.BLOCKS:
                break
            if admission is Admission.WAITS:
                continue
            try:
                embeddings = run.embeddings(chunk, self._readers)
            except Exception as error:
                self.abort(run, as_energy_flow_error(error))
                continue
            if embeddings is not None:
                run.mark_entered(chunk)
                capacity.reserve(chunk, chunk.flows)
                self._clients.enter(run.request.client, chunk.flows)
                yield chunk, embeddings

    def _admit_next(self, run: Run, capacity: Capacity) -> tuple[Chunk, Admission]:
        """Return the next chunk of a run, and whether it may enter."""
        # No model is loaded meanwhile into the memory that the chunk is to have.
        with self._memory.lock:
            free, others_end = self._memory.find_room()
            capacity.limit_bytes, capacity.may_exceed = free, not others_end
            if free is not None:
                free -= run.packed_bytes
            samples = chunk_samples(
                run.request.config, self._max_flows, free, self._device, self._host_limit_bytes
            )
            chunk = run.next_chunk(samples)
            admission = capacity.admit(chunk)
            if admission is Admission.ENTERS:
                self._memory.pool_bytes = capacity.total_with(chunk)
        return chunk, admission

    def _count_memory(self) -> None:
        """Publish the memory of the pools, before a listener hears that it is free."""
        if self.chunks != self._counted:
            self._counted = self.chunks
            active_flows = self._active_flows()
            self._memory.pool_bytes = Capacity.beside(active_flows, self._max_flows, None).total

    def _active_flows(self) -> dict[Chunk, int]:
        """Return the number of flows of each chunk in the pools."""
        return {
            chunk: cohort.active_flows
            for pool in self._pools.values()
            for cohort, chunk in pool.chunks.items()
        }

    def _enter(self, group: list[_Entering]) -> None:
        """Let chunks of one pool enter."""
        chunks = [chunk for chunk, _ in group]
        began = time.perf_counter()
        pool: _Pool | None = None
        failure: EnergyFlowError | None = None
        try:
            pool = self._pool_of(chunks[0])
            pool.state = pool.processor.add_cohorts(
                pool.state, [_cohort_request(*one) for one in group]
            )
        except Exception as error:
            failure = self._failure_of(error)
        # Only now, when nothing holds the tensors of what failed.
        if failure is not None:
            self._fail_to_enter(pool, group, failure)
            return
        assert pool is not None
        for cohort, chunk in zip(pool.state.cohorts[-len(chunks) :], chunks, strict=True):
            cohort.memory.limit_bytes = self._memory.limit_bytes
            pool.chunks[cohort] = chunk
            run = chunk.run
            if not run.started:
                run.started = True
                run.notify(run.listener.started, time.perf_counter() - began)

    def _fail_to_enter(
        self, pool: _Pool | None, group: list[_Entering], failure: EnergyFlowError
    ) -> None:
        chunks = [chunk for chunk, _ in group]
        if pool is not None and isinstance(failure, DeviceMemoryError):
            self._split(pool, chunks)
        elif len(group) > 1:
            # Retried one by one, so that only the run that causes the error fails.
            for one in group:
                self._enter([one])
        else:
            chunks[0].run.in_flight -= 1
            self.abort(chunks[0].run, failure)

    def _failure_of(self, error: Exception) -> EnergyFlowError:
        """Return why runs fail; raise ``EngineFailed`` if no other run can succeed either."""
        require_device(error, self._device)
        return as_energy_flow_error(error)

    def _pool_of(self, chunk: Chunk) -> _Pool:
        key = _key_of(chunk)
        pool = self._pools.get(key)
        if pool is None:
            request = chunk.run.request
            processor = chunk.run.processor
            pool = _Pool(processor, processor.empty(request.config), {})
            self._pools[key] = pool
        return pool

    def _step(self, pool: _Pool) -> None:
        before = time.perf_counter()
        moved, failure = pool.flows, None
        try:
            pool.state = pool.processor.step(pool.state)
        except Exception as error:
            failure = self._failure_of(error)
            if not isinstance(failure, DeviceMemoryError):
                logger.exception("a step failed")
        # Only now, when nothing holds the tensors of the step that failed.
        if failure is not None:
            self._fail_pool(pool, failure)
            return
        seconds = time.perf_counter() - before
        self.throughput.record_step(moved, seconds)
        if self._on_step is not None:
            self._on_step(seconds)
        for cohort, chunk in list(pool.chunks.items()):
            if cohort not in pool.chunks:
                continue
            last = cohort.ledger.history[-1]
            chunk.run.notify(chunk.run.listener.stepped, last, chunk.run.done_samples)
            if cohort.failure is not None:
                self.abort(chunk.run, cohort.failure)
        ended = [cohort for cohort in pool.chunks if not cohort.active_flows]
        if ended:
            self._finish(pool, ended)

    def _fail_pool(self, pool: _Pool, failure: EnergyFlowError) -> None:
        """Split everything in the pool for want of memory, or end its runs."""
        if isinstance(failure, DeviceMemoryError):
            self._split(pool, [])
            return
        # The state of the pool is unknown, so no results are read from it.
        for chunk in self._clear(pool):
            self.abort(chunk.run, failure)

    def _finish(self, pool: _Pool, ended: list[Cohort]) -> None:
        """Remove cohorts that have ended, and deliver their results."""
        asked = {cohort: pool.chunks[cohort].run.request.outputs for cohort in ended}
        held: Mapping[Cohort, CohortOutputs] = {}
        failure: EnergyFlowError | None = None
        try:
            held = pool.processor.cohort_outputs(pool.state, asked)
        except Exception as error:
            failure = self._failure_of(error)
            if not isinstance(failure, DeviceMemoryError):
                logger.exception("the results of a step cannot be read")
        if failure is not None:
            self._fail_pool(pool, failure)
            return
        done: list[tuple[Chunk, SimulationResult]] = []
        failed: list[tuple[Chunk, EnergyFlowError]] = []
        # Results are delivered after all of them are summed up: other threads start to process
        # what is delivered, and would slow this one down before its next step.
        for cohort in ended:
            chunk = pool.chunks.pop(cohort)
            try:
                with lines_of(chunk.run.request.run_id):
                    result = pool.processor.build_result(pool.state, cohort, held[cohort])
            except Exception as error:
                failed.append((chunk, self._failure_of(error)))
            else:
                done.append((chunk, result))
        pool.state = pool.state.without_cohorts(ended)
        self._count_memory()
        for chunk, result in done:
            self._deliver(chunk, result)
        for chunk, failure in failed:
            chunk.run.in_flight -= 1
            self.abort(chunk.run, failure)

    def _deliver(self, chunk: Chunk, result: SimulationResult) -> None:
        """Pass the results of samples that have ended to the listener."""
        run = chunk.run
        run.in_flight -= 1
        run.flow_steps += result.metrics.counters.flow_steps
        run.done_samples += chunk.samples
        run.deliver(chunk.start, result)
        if not run.has_pending_samples and not run.in_flight:
            self.throughput.record_run(run)
            run.end(None)

    def _split(self, pool: _Pool, entering: list[Chunk]) -> None:
        """Restart everything in the pool as exclusive halves: the device ran out of memory."""
        self.throughput.splits += 1
        chunks = [*self._clear(pool), *entering]
        # Tensors in cycles of references.
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        for chunk in entering:
            chunk.run.in_flight -= 1
        for chunk in chunks:
            if chunk.exclusive:
                self.abort(
                    chunk.run,
                    DeviceMemoryError(
                        f"samples {chunk.start} to {chunk.stop - 1} do not fit in the device's "
                        "memory, even without other samples; lower max_active_flows or the "
                        "lattice, or use a device with more memory"
                    ),
                )
            else:
                chunk.run.retry_chunks += chunk.halves()

    def _clear(self, pool: _Pool) -> list[Chunk]:
        """Discard the samples of a pool, and return their chunks."""
        chunks = list(pool.chunks.values())
        pool.chunks.clear()
        for chunk in chunks:
            chunk.run.in_flight -= 1
        pool.state = pool.processor.empty(chunks[0].run.request.config if chunks else None)
        return chunks


def _key_of(chunk: Chunk) -> PoolKey:
    request = chunk.run.request
    config = request.config
    return model_key(request.model, config), config.precision, config.batch_invariant


def _by_pool(entering: list[_Entering]) -> list[list[_Entering]]:
    groups: dict[PoolKey, list[_Entering]] = {}
    for one in entering:
        groups.setdefault(_key_of(one[0]), []).append(one)
    return list(groups.values())


def _cohort_request(chunk: Chunk, embeddings: NDArray[np.float32]) -> CohortRequest:
    request = chunk.run.request
    first = request.first_row
    keys = request.sample_keys[chunk.start - first : chunk.stop - first]
    return CohortRequest(embeddings, request.config, request.seed, keys, chunk.start)
