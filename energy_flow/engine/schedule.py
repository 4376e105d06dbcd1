"""``Run`` and ``Chunk``: the samples of a request that have still to enter a pool, and their order.

Nothing here touches the device. The engine's thread alone calls it; other threads may set
``Run.cancelled`` and ``Run.paused``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ParamSpec

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.request import RunListener, RunRequest
from energy_flow.errors import DeadlineExceeded, EnergyFlowError, RunCancelled, RunPaused
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.model_footprint import packed_bytes, packing_bytes
from energy_flow.simulation.tally.result import SimulationResult

logger = logging.getLogger(__name__)

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples of a run that enter the pool together.

    Attributes:
        run: the run that they belong to.
        start: first sample.
        stop: sample after the last.
        exclusive: whether the chunk needs the pool for itself: it is tried for the second time,
            after the device ran out of memory.
    """

    run: Run
    start: int
    stop: int
    exclusive: bool = False

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.stop - self.start

    @property
    def is_partial(self) -> bool:
        """Whether the run has other samples than these."""
        return self.samples < self.run.samples

    @property
    def flows(self) -> int:
        """Number of initial flows."""
        return self.samples * self.run.request.config.surface_cells

    @property
    def bytes(self) -> int:
        """Predicted bytes in the pool, without the weights."""
        device = self.run.processor.device
        return footprint(self.run.request.config, self.samples, device=device).samples

    @property
    def host_bytes(self) -> int:
        """Predicted bytes on the host, where its memory is another one than the device's."""
        device = self.run.processor.device
        return footprint(self.run.request.config, self.samples, device=device).host

    def halves(self) -> list[Chunk]:
        """Return the exclusive chunks that replace this one: two, or one for a single sample."""
        middle = (self.start + self.stop) // 2
        bounds = sorted({self.start, middle, self.stop})
        return [Chunk(self.run, start, stop, exclusive=True) for start, stop in pairwise(bounds)]


@dataclass(eq=False, slots=True)
class Run:
    """A run that the engine has accepted.

    Attributes:
        request: what to simulate.
        processor: model of the request.
        listener: whom to notify.
        bound: largest number of flow-steps that the run can need.
        next_sample: first sample that has not entered a pool.
        delivered: first sample whose results the listener has not received.
        done_samples: number of samples that have ended.
        flow_steps: number of flow-steps done.
        in_flight: number of chunks in the pools.
        started: whether a chunk has entered a pool.
        cancelled: set by any thread to end the run.
        discarded: whether nobody waits for the results of a cancelled run.
        paused: set by any thread to end the run after the chunks in the pools.
        ended: whether the listener has been notified of the end.
        undelivered: results by first sample that wait for the results of earlier samples.
        retry_chunks: chunks that the device had no memory for, which enter before any other.
        workspace_bytes: predicted memory of the temporary blocks of its pool.
        packed_bytes: predicted memory of weights that are packed for another precision than that
            of the model.
        sample_bytes: predicted memory of one sample in the pools, without the model.
    """

    request: RunRequest
    processor: FlowProcessor
    listener: RunListener
    bound: int
    next_sample: int = 0
    delivered: int = 0
    done_samples: int = 0
    flow_steps: int = 0
    in_flight: int = 0
    started: bool = False
    cancelled: bool = False
    discarded: bool = False
    paused: bool = False
    ended: bool = False
    undelivered: dict[int, SimulationResult] = field(default_factory=dict)
    retry_chunks: list[Chunk] = field(default_factory=list)
    workspace_bytes: int = field(init=False)
    packed_bytes: int = field(init=False)
    sample_bytes: int = field(init=False)
    _reading: Future[NDArray[np.float32]] | None = None
    _reading_range: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.next_sample = self.delivered = self.done_samples = self.request.first_sample
        one = footprint(self.request.config, 1, device=self.processor.device)
        self.workspace_bytes = one.workspace
        self.packed_bytes = packed_for_run(self.processor.config, self.request.config)
        self.sample_bytes = one.samples + one.workspace + self.packed_bytes

    @property
    def samples(self) -> int:
        """Sample after the last one of the request."""
        return self.request.first_row + len(self.request.sample_keys)

    @property
    def has_pending_samples(self) -> bool:
        """Whether samples have still to enter a pool."""
        return self.next_sample < self.samples or bool(self.retry_chunks)

    def stop_reason(self) -> EnergyFlowError | None:
        """Return why the run must stop now, or none."""
        if self.cancelled:
            return RunCancelled(f"run {self.request.run_id} was cancelled")
        deadline = self.request.deadline
        if deadline is not None and time.monotonic() >= deadline:
            return DeadlineExceeded(f"run {self.request.run_id} passed its deadline")
        if self.paused and not self.in_flight:
            return RunPaused(f"run {self.request.run_id} was paused")
        return None

    def next_chunk(self, max_samples: int) -> Chunk:
        """Return the samples that should enter next, without marking them as entered.

        Args:
            max_samples: most samples of a chunk that is not a retry; at least 1. The request may
                state fewer.
        """
        if self.retry_chunks:
            return self.retry_chunks[0]
        if self.request.chunk_samples is not None:
            max_samples = min(max_samples, self.request.chunk_samples)
        return Chunk(self, self.next_sample, min(self.next_sample + max_samples, self.samples))

    def mark_entered(self, chunk: Chunk) -> None:
        """Count a chunk of :meth:`next_chunk` as one of those in the pools."""
        if self.retry_chunks and self.retry_chunks[0] == chunk:
            self.retry_chunks.pop(0)
        else:
            self.next_sample = chunk.stop
        self.in_flight += 1

    def embeddings(self, chunk: Chunk, readers: Executor) -> NDArray[np.float32] | None:
        """Return the embeddings of a chunk, or none while they are being read.

        Args:
            chunk: samples of this run.
            readers: reads embeddings that are not in memory.

        Returns:
            float32 [B, E].

        Raises:
            Exception: what reading raised, or ``ValueError`` for embeddings of another shape.
        """
        embeddings = self._read(chunk, readers)
        expected = (chunk.samples, self.request.config.embedding_dim)
        # A wrong shape would also fail the runs that enter together with this one.
        if embeddings is not None and embeddings.shape != expected:
            raise ValueError(
                f"embeddings of the shape {expected} were expected, not {embeddings.shape}"
            )
        return embeddings

    def _read(self, chunk: Chunk, readers: Executor) -> NDArray[np.float32] | None:
        source, first = self.request.embeddings, self.request.first_row
        wanted = (chunk.start - first, chunk.stop - first)
        if isinstance(source, np.ndarray):
            return source[wanted[0] : wanted[1]]
        if self._reading is None or self._reading_range != wanted:
            self._reading = readers.submit(source.read, *wanted)
            self._reading_range = wanted
        if not self._reading.done():
            return None
        embeddings = self._reading.result()
        self._reading = None
        return embeddings

    def deliver(self, first_sample: int, result: SimulationResult) -> None:
        """Pass results to the listener, in the order of samples.

        Args:
            first_sample: first sample of the results.
            result: results of consecutive samples; kept until all earlier ones are delivered.
        """
        self.undelivered[first_sample] = result
        while self.delivered in self.undelivered:
            ready = self.undelivered.pop(self.delivered)
            first, self.delivered = self.delivered, self.delivered + len(ready.samples)
            self.notify(self.listener.chunk, first, ready)

    def notify(self, method: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a method of the listener; an exception of the listener cancels this run alone.

        Args:
            method: method to call.
            args: its arguments.
            kwargs: its keyword arguments.
        """
        try:
            method(*args, **kwargs)
        except BaseException:
            # An exit of the thread, too: other runs depend on it.
            logger.exception("the listener of run %s failed; cancelling", self.request.run_id)
            self.cancelled = True

    def accepts(self) -> bool:
        """Return whether the listener accepts another chunk; if it fails, the run is cancelled."""
        try:
            return self.listener.accepts()
        except BaseException:
            logger.exception("the listener of run %s failed; cancelling", self.request.run_id)
            self.cancelled = True
            return False

    def end(self, error: EnergyFlowError | None) -> None:
        """Notify the listener of the end, once, after all results that are still undelivered.

        Args:
            error: why the run ended; none after its last sample.
        """
        if self.ended:
            return
        self.ended = True
        for first in sorted(self.undelivered):
            self.notify(self.listener.chunk, first, self.undelivered[first])
        self.undelivered.clear()
        self.notify(self.listener.ended, error)


def packed_for_run(model: FlowConfig, run: FlowConfig) -> int:
    """Return the predicted bytes of packing a model again, for a run of another precision.

    Args:
        model: config of the model.
        run: config of the run.
    """
    if model.precision is run.precision:
        return 0
    return packed_bytes(run) + packing_bytes(run)


def waiting_runs(queue: list[Run]) -> list[Run]:
    """Return the runs that have samples to send, those of one client in their order.

    Runs with fewer chunks in the pools come first; among equals, those submitted first. So a small
    run passes a large one that has chunks in the pools.

    Args:
        queue: runs in the order of submission.
    """
    waiting = [run for run in queue if run.has_pending_samples and not run.ended]
    return sorted(waiting, key=lambda run: run.in_flight)
