"""Which samples enter the pool next: first come first served, large runs split.

Nothing here touches the device; the engine's thread alone calls it, except for ``_Run.cancelled``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
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
from energy_flow.simulation.tally.result import SimulationResult

logger = logging.getLogger(__name__)

P = ParamSpec("P")

POOL_FLOWS = {"cpu": 32_768, "cuda": 1_048_576}
"""Initial flows that a pool takes in at once."""
CHUNKS_OF_POOL = 4
"""Into how many chunks a run that would fill the pool is split."""


def pool_flows(device: str) -> int:
    """Initial flows that the pools of a device take in at once."""
    return POOL_FLOWS.get(device, POOL_FLOWS["cpu"])


def chunk_samples(config: FlowConfig, device: str, limit_bytes: int | None) -> int:
    """Samples of one chunk of a large run: at least one, and no more than fit in memory."""
    samples = pool_flows(device) // CHUNKS_OF_POOL // config.surface_cells
    if limit_bytes is not None:
        one = footprint(config, 1)
        shared = one.weights + one.workspace
        samples = min(samples, (limit_bytes - shared) // (one.state + one.trace))
    return max(1, samples)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples of a run that enter the pool together.

    Attributes:
        alone: set on the second try after the device ran out of memory; such a chunk gets the
            pool to itself.
    """

    run: Run
    start: int
    stop: int
    alone: bool = False

    @property
    def samples(self) -> int:
        """How many there are."""
        return self.stop - self.start

    @property
    def flows(self) -> int:
        """Initial flows."""
        return self.samples * self.run.request.config.surface_cells

    @property
    def bytes(self) -> int:
        """Predicted bytes in the pool, weights not included."""
        predicted = footprint(self.run.request.config, self.samples)
        return predicted.state + predicted.trace + predicted.spilled

    def halves(self) -> list[Chunk]:
        """The chunk for its second try: in two, where it has more than one sample."""
        middle = (self.start + self.stop) // 2
        bounds = sorted({self.start, middle, self.stop})
        return [Chunk(self.run, start, stop, alone=True) for start, stop in pairwise(bounds)]


@dataclass(eq=False, slots=True)
class Run:
    """A run that the engine has taken on.

    Attributes:
        processor: the model of the request.
        next_sample: first sample that has not entered a pool. delivered: first sample whose
            results the listener has not had. flow_steps: done so far.
        cancelled, paused: set by any thread.
    """

    request: RunRequest
    processor: FlowProcessor
    listener: RunListener
    bound: int
    submitted: float = field(default_factory=time.monotonic)
    next_sample: int = 0
    delivered: int = 0
    done_samples: int = 0
    flow_steps: int = 0
    in_flight: int = 0
    started: bool = False
    cancelled: bool = False
    paused: bool = False
    ended: bool = False
    waiting: dict[int, SimulationResult] = field(default_factory=dict)
    again: list[Chunk] = field(default_factory=list)
    _read: Future[NDArray[np.float32]] | None = None
    _read_range: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.next_sample = self.delivered = self.done_samples = self.request.first_sample

    @property
    def samples(self) -> int:
        """B."""
        return len(self.request.sample_keys)

    @property
    def left(self) -> bool:
        """Whether samples have still to enter a pool."""
        return self.next_sample < self.samples or bool(self.again)

    def verdict(self) -> EnergyFlowError | None:
        """Why the run must not go on, if so."""
        if self.cancelled:
            return RunCancelled(f"run {self.request.run_id} was cancelled")
        deadline = self.request.deadline
        if deadline is not None and time.monotonic() >= deadline:
            return DeadlineExceeded(f"run {self.request.run_id} passed its deadline")
        if self.paused and not self.in_flight:
            return RunPaused(f"run {self.request.run_id} was paused")
        return None

    def next_chunk(self, device: str, limit_bytes: int | None) -> Chunk:
        """The samples that should enter next; they stay until :meth:`taken`."""
        if self.again:
            return self.again[0]
        size = chunk_samples(self.request.config, device, limit_bytes)
        if self.request.chunk_samples is not None:
            size = min(size, self.request.chunk_samples)
        return Chunk(self, self.next_sample, min(self.next_sample + size, self.samples))

    def taken(self, chunk: Chunk) -> None:
        """Marks a chunk as entered."""
        if self.again and self.again[0] == chunk:
            self.again.pop(0)
        else:
            self.next_sample = chunk.stop
        self.in_flight += 1

    def embeddings(self, chunk: Chunk, readers: Executor) -> NDArray[np.float32] | None:
        """The chunk's embeddings, or nothing while they are still being read.

        Raises:
            Exception: whatever reading them raised, or they are not as many as there must be.
        """
        embeddings = self._rows(chunk, readers)
        expected = (chunk.samples, self.request.config.embedding_dim)
        # They are about to stand beside those of other runs.
        if embeddings is not None and embeddings.shape != expected:
            raise ValueError(f"embeddings {expected} were to come, not {embeddings.shape}")
        return embeddings

    def _rows(self, chunk: Chunk, readers: Executor) -> NDArray[np.float32] | None:
        source = self.request.embeddings
        if isinstance(source, np.ndarray):
            return source[chunk.start : chunk.stop]
        wanted = (chunk.start, chunk.stop)
        if self._read is None or self._read_range != wanted:
            self._read = readers.submit(source.read, *wanted)
            self._read_range = wanted
        if not self._read.done():
            return None
        embeddings = self._read.result()
        self._read = None
        return embeddings

    def deliver(self, first_sample: int, result: SimulationResult) -> None:
        """Hands results to the listener, in the order of samples."""
        self.waiting[first_sample] = result
        while self.delivered in self.waiting:
            ready = self.waiting.pop(self.delivered)
            first, self.delivered = self.delivered, self.delivered + len(ready.samples)
            self.tell(self.listener.chunk, first, ready)

    def tell(self, method: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls the listener; one that breaks costs its own run, never the engine."""
        try:
            method(*args, **kwargs)
        except Exception:
            logger.exception("the listener of run %s broke; cancelling", self.request.run_id)
            self.cancelled = True

    def end(self, error: EnergyFlowError | None) -> None:
        """Tells the listener, once; what a broken run still holds back is handed over first."""
        if self.ended:
            return
        self.ended = True
        for first in sorted(self.waiting):
            self.tell(self.listener.chunk, first, self.waiting[first])
        self.waiting.clear()
        self.tell(self.listener.ended, error)


@dataclass(slots=True)
class Room:
    """What the pools of a device hold, and whether more may enter.

    Attributes:
        most_flows: active flows that are taken in at once. limit_bytes: what there may be in
            memory by prediction, with the weights; no limit if none.
        alone: whether a chunk that has the pool to itself is among what they hold.
    """

    most_flows: int
    limit_bytes: int | None
    flows: int = 0
    bytes: int = 0
    alone: bool = False

    @classmethod
    def beside(
        cls, held: Sequence[Chunk], flows: int, device: str, limit_bytes: int | None
    ) -> Room:
        """What is left beside chunks that have so many flows by now."""
        room = cls(pool_flows(device), limit_bytes)
        for chunk in held:
            room.hold(chunk, 0)
        room.flows = flows
        return room

    def takes(self, chunk: Chunk) -> bool:
        """Whether a chunk may enter."""
        if self.alone:
            return False
        if not self.flows:
            return True
        if chunk.alone:
            return False
        if self.limit_bytes is not None:
            weights = footprint(chunk.run.request.config, 0).total
            if self.bytes + chunk.bytes + weights > self.limit_bytes:
                return False
        most = self.most_flows
        if chunk.run.samples > chunk.samples:
            # A large run leaves room for those that come while it is under way.
            most = most * (CHUNKS_OF_POOL - 1) // CHUNKS_OF_POOL
        return self.flows + chunk.flows <= most

    def hold(self, chunk: Chunk, flows: int) -> None:
        """Enters a chunk, with so many flows, in the books."""
        self.flows += flows
        self.bytes += chunk.bytes
        self.alone = self.alone or chunk.alone


def candidates(queue: list[Run]) -> list[Run]:
    """Runs in the order in which they may send samples: those with fewer chunks in the pool first.

    First come first served among equals, so that a small run passes a large one that has its share.
    """
    waiting = [run for run in queue if run.left and not run.ended]
    return sorted(waiting, key=lambda run: run.in_flight)
