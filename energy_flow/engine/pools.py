"""The pools on the device: samples enter, take steps and leave, on the engine's thread alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow.config.flow_config import Precision
from energy_flow.engine.loaded_models import ModelKey, model_key
from energy_flow.engine.schedule import Chunk, Room, Run, candidates
from energy_flow.errors import DeviceMemoryError, EnergyFlowError
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.pool import Cohort, Entrant, FlowState
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.logs import lines_of

logger = logging.getLogger(__name__)

PoolKey = tuple[ModelKey, Precision, bool]
_Entering = tuple[Chunk, NDArray[np.float32]]
SMOOTHING = 0.2
"""Weight of the newest measurement in a running mean."""


@dataclass(slots=True)
class _Pool:
    processor: FlowProcessor
    state: FlowState
    chunks: dict[Cohort, Chunk]

    @property
    def flows(self) -> int:
        return self.state.active_flows


@dataclass(slots=True)
class Progress:
    """What has been done and what it tells of what is to come.

    Attributes:
        flow_steps: done. rate: flow-steps a second, running mean; none before a step.
        bound_ratio: running mean of flow-steps done over their upper bound.
        splits: times that the device ran out of memory and the work was split.
    """

    flow_steps: int = 0
    rate: float | None = None
    bound_ratio: float = 1.0
    splits: int = 0

    def stepped(self, flow_steps: int, seconds: float) -> None:
        """Enters a step."""
        rate = flow_steps / max(seconds, 1e-9)
        self.flow_steps += flow_steps
        self.rate = rate if self.rate is None else self.rate + SMOOTHING * (rate - self.rate)

    def ended(self, run: Run) -> None:
        """Enters a run that went to its end."""
        self.bound_ratio += SMOOTHING * (run.flow_steps / run.bound - self.bound_ratio)


class Pools:
    """The pools of a device, one for each model and precision in use.

    Args:
        memory_limit_bytes: what they may hold by prediction, with the weights; no limit if none.
        readers: where embeddings are read that are not in memory.
        on_step: told the seconds of every step of a pool.
    """

    def __init__(
        self,
        device: torch.device,
        memory_limit_bytes: int | None,
        readers: Executor,
        on_step: Callable[[float], None] | None,
    ) -> None:
        self.progress = Progress()
        self._device = device
        self._memory_limit_bytes = memory_limit_bytes
        self._readers = readers
        self._on_step = on_step
        self._pools: dict[PoolKey, _Pool] = {}

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """What is in the pools."""
        return tuple(chunk for pool in self._pools.values() for chunk in pool.chunks.values())

    @property
    def flows(self) -> int:
        """Active flows in the pools."""
        return sum(pool.flows for pool in self._pools.values())

    def clear(self) -> None:
        """Forgets everything, when the engine stops."""
        self._pools.clear()

    def admit(self, runs: list[Run], only: Callable[[Run], bool]) -> bool:
        """Lets samples enter while there is room; says whether any entered.

        Args:
            runs: those that have not ended. only: which of them may send samples.
        """
        entered = False
        while entering := self._choose(runs, only):
            entered = True
            for group in _by_pool(entering):
                self._enter(group)
        return entered

    def step(self) -> bool:
        """Moves all flows once; says whether there were any. Samples that end leave."""
        busy = [pool for pool in self._pools.values() if pool.chunks]
        for pool in busy:
            self._step(pool)
        self._pools = {key: pool for key, pool in self._pools.items() if pool.chunks}
        return bool(busy)

    def break_off(self, run: Run, error: EnergyFlowError) -> None:
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

    def _choose(self, runs: list[Run], only: Callable[[Run], bool]) -> list[_Entering]:
        """What enters next, together: a chunk of each run that may send one now."""
        entering: list[_Entering] = []
        waiting = candidates(runs)
        if not waiting:
            return entering
        room = Room.beside(self.chunks, self.flows, self._device.type, self._memory_limit_bytes)
        for run in waiting:
            if not only(run) or not run.listener.accepts():
                continue
            chunk = run.next_chunk(self._device.type, self._memory_limit_bytes)
            if not room.takes(chunk):
                # First come first served: nobody passes a run for which there is no room, except
                # one that has samples in the pool already and so has had its turn.
                if run.in_flight:
                    continue
                break
            try:
                embeddings = run.embeddings(chunk, self._readers)
            except Exception as error:
                self.break_off(run, as_energy_flow_error(error))
                continue
            if embeddings is not None:
                run.taken(chunk)
                room.hold(chunk, chunk.flows)
                entering.append((chunk, embeddings))
        return entering

    def _enter(self, group: list[_Entering]) -> None:
        """Lets chunks for one pool in."""
        chunks = [chunk for chunk, _ in group]
        began = time.perf_counter()
        try:
            pool = self._pool_of(chunks[0])
            try:
                pool.state = pool.processor.enter_all(pool.state, [_entrant(*one) for one in group])
            except Exception as error:
                if not _is_out_of_memory(error):
                    raise
                self._split(pool, chunks)
                return
        except Exception as error:
            if len(group) > 1:
                # One by one, whose fault it is costs nobody else.
                for one in group:
                    self._enter([one])
                return
            chunks[0].run.in_flight -= 1
            self.break_off(chunks[0].run, as_energy_flow_error(error))
            return
        for cohort, chunk in zip(pool.state.cohorts[-len(chunks) :], chunks, strict=True):
            cohort.memory.limit_bytes = self._memory_limit_bytes
            pool.chunks[cohort] = chunk
            run = chunk.run
            if not run.started:
                run.started = True
                run.tell(run.listener.started, time.perf_counter() - began)

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
                self.break_off(chunk.run, as_energy_flow_error(error))
            return
        seconds = time.perf_counter() - before
        self.progress.stepped(moved, seconds)
        if self._on_step is not None:
            self._on_step(seconds)
        for cohort, chunk in list(pool.chunks.items()):
            if cohort not in pool.chunks:
                continue
            last = cohort.ledger.history[-1]
            chunk.run.tell(chunk.run.listener.stepped, last, chunk.run.done_samples)
            if cohort.failure is not None:
                self.break_off(chunk.run, cohort.failure)
        ended = [cohort for cohort in pool.chunks if not cohort.active_flows]
        if ended:
            self._finish(pool, ended)

    def _finish(self, pool: _Pool, ended: list[Cohort]) -> None:
        """Lets cohorts leave, and hands their results over."""
        asked = {cohort: pool.chunks[cohort].run.request.outputs for cohort in ended}
        held = pool.processor.left_behind(pool.state, asked)
        done: list[tuple[Chunk, SimulationResult]] = []
        failed: list[tuple[Chunk, EnergyFlowError]] = []
        # Nothing is handed over before all are summed up: other threads set to work on what they
        # are given, and this one would wait for them with the next step still to be taken.
        for cohort in ended:
            chunk = pool.chunks.pop(cohort)
            try:
                with lines_of(chunk.run.request.run_id):
                    result = pool.processor.sum_up(pool.state, cohort, held[cohort])
            except EnergyFlowError as error:
                failed.append((chunk, error))
            else:
                done.append((chunk, result))
        pool.state = pool.state.left(ended)
        for chunk, result in done:
            self._hand_over(chunk, result)
        for chunk, why in failed:
            chunk.run.in_flight -= 1
            self.break_off(chunk.run, why)

    def _hand_over(self, chunk: Chunk, result: SimulationResult) -> None:
        """Gives the listener the results of samples that went to their end."""
        run = chunk.run
        run.in_flight -= 1
        run.flow_steps += result.metrics.counters.flow_steps
        run.done_samples += chunk.samples
        run.deliver(chunk.start, result)
        if not run.left and not run.in_flight:
            self.progress.ended(run)
            run.end(None)

    def _split(self, pool: _Pool, entering: list[Chunk]) -> None:
        """The device ran out of memory: everything in the pool starts again, in halves, alone."""
        self.progress.splits += 1
        chunks = [*self._emptied(pool), *entering]
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        for chunk in entering:
            chunk.run.in_flight -= 1
        for chunk in chunks:
            if chunk.alone:
                self.break_off(
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


def _key_of(chunk: Chunk) -> PoolKey:
    request = chunk.run.request
    config = request.config
    return model_key(request.model, config), config.precision, config.batch_invariant


def _by_pool(entering: list[_Entering]) -> list[list[_Entering]]:
    groups: dict[PoolKey, list[_Entering]] = {}
    for one in entering:
        groups.setdefault(_key_of(one[0]), []).append(one)
    return list(groups.values())


def _entrant(chunk: Chunk, embeddings: NDArray[np.float32]) -> Entrant:
    request = chunk.run.request
    keys = request.sample_keys[chunk.start : chunk.stop]
    return Entrant(embeddings, request.config, request.seed, keys, chunk.start)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def as_energy_flow_error(error: Exception) -> EnergyFlowError:
    """The error itself where it is one of ours, else one that wraps it."""
    if isinstance(error, EnergyFlowError):
        return error
    wrapped = EnergyFlowError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
